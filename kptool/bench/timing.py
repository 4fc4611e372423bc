"""Alternating timing: clock speeds and load drift, so implementations are compared by runs taken in turns."""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """kptool against a peer or floor at one task, in milliseconds or another unit of which less is better.

    ratio: the peer's figure over kptool's; above 1, kptool is better.
    """

    group: str
    task: str
    peer: str
    ours: float
    theirs: float
    note: str = ""
    unit: str = "ms"

    @property
    def ratio(self) -> float:
        """theirs / ours."""
        return self.theirs / self.ours

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "ratio": self.ratio}


def medians(works: Mapping[str, Work], *, seconds: float = 1.0, least: int = 3) -> dict[str, float]:
    """The median milliseconds of each of `works`, run in turns for `seconds` each, and at least `least` times."""
    for work in works.values():
        work()  # warm-up of caches, allocators and compilers
    times: dict[str, list[float]] = {name: [] for name in works}
    spent = dict.fromkeys(works, 0.0)
    while any(len(times[name]) < least or (spent[name] < seconds and len(times[name]) < 200) for name in works):
        for name, work in works.items():
            if len(times[name]) >= least and spent[name] >= seconds:
                continue
            start = time.perf_counter()
            work()
            took = time.perf_counter() - start
            times[name].append(1e3 * took)
            spent[name] += took
    return {name: statistics.median(each) for name, each in times.items()}


def machine() -> dict[str, Any]:
    """The machine and the date of the measurement."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = f"{names[0]}, {len(names)} processors" if names else cpu
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return {"cpu": cpu, "system": platform.system(), "python": platform.python_version(), "date": date}


def markdown(command: str, rows: Sequence[Row]) -> str:
    """The rows as Markdown tables, one per group, below the command, machine and date."""
    facts = machine()
    lines = [
        "# Measured",
        "",
        f"Written by `{command}` on {facts['date']}: {facts['cpu']}, {facts['system']}, Python {facts['python']}.",
        "Ratio: how many times as fast (or exact) kptool is as the peer or floor, both measured in this run.",
    ]
    for group in dict.fromkeys(row.group for row in rows):
        unit = next(row.unit for row in rows if row.group == group)
        lines += ["", f"## {group}", "", f"| task | {unit} | peer or floor | {unit} | ratio | |"]
        lines += ["|---|---:|---|---:|---:|---|"]
        for row in rows:
            if row.group == group:
                times = f"{row.ours:.3g} | {row.peer} | {row.theirs:.3g}"
                lines.append(f"| {row.task} | {times} | {row.ratio:.2f} | {row.note} |")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch with one thread inside the block, as kptool is measured."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
