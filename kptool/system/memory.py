"""How much memory this process may take, and sizes of memory as people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from kptool.base.errors import ConfigError
from kptool.system import slurm

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_CGROUP = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")
_NAMES_1, _NAMES_2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")
"""A control group's files with its limit and what it has taken, in both versions."""


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
    """Bytes that could be taken without swapping, within the limits of the process's control groups; None if unknown.

    Divided among the processes that torchrun or `srun` started on this machine.
    """
    found = [size for size in (_from_meminfo(), *_from_cgroups()) if size is not None]
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS: all there is
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found) // slurm.local_world() if found else None


def _from_meminfo() -> int | None:
    try:
        match = re.search(r"^MemAvailable:\s*(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if match is None else int(match[1]) << 10


def _from_cgroups() -> Iterator[int | None]:
    """What the process's control group and those that contain it have left, of either version."""
    try:
        lines = _PROCESS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        first = "memory" in controllers.split(",")
        if not first and controllers:
            continue
        root, names = (_CGROUP / "memory", _NAMES_1) if first else (_CGROUP, _NAMES_2)
        folder = root / group.strip("/")
        while folder.is_relative_to(root):
            yield _left(folder, *names)
            folder = folder.parent


def _left(folder: Path, limit_name: str, used_name: str) -> int | None:
    """What one control group has left; pages of files that have not been used lately can be taken."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in (limit_name, used_name))
        statistics = (folder / "memory.stat").read_text()
    except OSError:
        return None
    if not limit.isdigit() or not used.isdigit():
        return None
    match = re.search(r"^(?:total_)?inactive_file (\d+)", statistics, re.MULTILINE)
    return max(0, int(limit) - int(used) + (0 if match is None else int(match[1])))
