"""The machine of a measurement: its processor, caches and instruction sets."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_CPU_INFO, _CACHES = Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu/cpu0/cache")
_INSTRUCTIONS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "asimd",
    "sve",
)
"""Names in the kernel's list, of x86 and ARM."""


def machine() -> dict[str, Any]:
    """The processor, its caches and instruction sets as far as the system tells, and the date of the measurement."""
    cpu, flags = platform.processor() or platform.machine(), ""
    if _CPU_INFO.is_file():
        lines = _CPU_INFO.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = f"{names[0]}, {len(names)} processors" if names else cpu
        flags = next((line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features"))), "")
    known = set(flags.split())
    return {
        "cpu": cpu,
        "caches": _caches(),
        "instructions": [name for name in _INSTRUCTIONS if name in known],
        "system": platform.system(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _caches() -> str:
    """The data caches of the first processor, such as "L1 32K, L2 512K, L3 32768K"."""
    found = []
    for folder in sorted(_CACHES.glob("index*")):
        try:
            kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found)


def file_name() -> str:
    """The name of this machine's results: RESULTS-amd-epyc-2-processors.md."""
    return f"RESULTS-{re.sub(r'[^a-z0-9]+', '-', machine()['cpu'].lower()).strip('-')}.md"
