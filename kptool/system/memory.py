"""How much memory this process may take, and sizes of memory as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kptool.base.errors import ConfigError

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_CGROUP = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")


def parse_size(text: str | int) -> int:
    """Bytes of a text such as "8G", "500M" or "1.5 GiB"; a number is bytes. Raises ConfigError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?)(?:i?b)?\s*", str(text), re.IGNORECASE)
    if match is None or not 0 < (size := float(match[1]) * _UNITS[match[2].lower()]) < 2**60:
        raise ConfigError(f"a size of memory is a number of bytes, or one with K, M, G or T such as 8G; got {text!r}")
    return int(size)


def as_text(size: float) -> str:
    """Bytes as people read them: "20.1 GB"."""
    for unit, each in (("GB", 1e9), ("MB", 1e6)):
        if size >= each:
            return f"{size / each:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


def available() -> int | None:
    """Bytes that could be taken without swapping, within the limit of the process's control group; None if unknown.

    Divided among the processes that torchrun started on this machine.
    """
    found = [size for size in (_from_meminfo(), _from_cgroup()) if size is not None]
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS: all there is
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    local = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return min(found) // max(1, int(local) if local.isdigit() else 1) if found else None


def _from_meminfo() -> int | None:
    try:
        match = re.search(r"^MemAvailable:\s*(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if match is None else int(match[1]) << 10


def _from_cgroup() -> int | None:
    """What the control group, of version 2, has left."""
    try:
        group = _PROCESS.read_text().rpartition("::/")[2].strip()
        folder = _CGROUP / group
        limit, taken = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return max(0, int(limit) - int(taken)) if limit.isdigit() and taken.isdigit() else None
