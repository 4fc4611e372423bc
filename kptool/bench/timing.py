"""Alternating timing: clock speeds and load drift, so implementations are compared by runs taken in turns."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kptool.bench.machine import machine

Work = Callable[[], object]


@dataclass(frozen=True)
class Time:
    """Milliseconds of a run: the median by the clock, half the interquartile range as a share of it, and the median of the
    processor time of all threads, which other programs hardly change."""

    median: float
    spread: float
    processor: float

    @classmethod
    def of(cls, clock: Sequence[float], processor: Sequence[float]) -> Time:
        """From the times of all runs."""
        median = statistics.median(clock)
        first, _, third = statistics.quantiles(clock, n=4) if len(clock) > 1 else (median, median, median)
        return cls(median, (third - first) / 2 / median if median else 0.0, statistics.median(processor))

    def per(self, count: int) -> Time:
        """The time of one of `count` equal parts."""
        return Time(self.median / count, self.spread, self.processor / count)


@dataclass(frozen=True)
class Row:
    """kptool against a peer or floor at one task, in milliseconds or another unit of which less is better.

    ratio: the peer's figure over kptool's; above 1, kptool is better. spread: of both, half the interquartile range as a share
    of the median; processor: both figures in processor time; None where neither was timed.
    """

    group: str
    task: str
    peer: str
    ours: float
    theirs: float
    note: str = ""
    unit: str = "ms"
    spread: tuple[float, float] | None = None
    processor: tuple[float, float] | None = None

    @classmethod
    def timed(cls, group: str, task: str, peer: str, ours: Time, theirs: Time, note: str = "") -> Row:
        """Of two times; notes what the ratio is in processor time, if other programs took processors from either."""
        busy = any(each.processor < _ALONE * each.median for each in (ours, theirs))
        if busy:
            by = f"{theirs.processor / max(ours.processor, 1e-9):.2f} in processor time"
            note = f"{note}; {by}" if note else by
        both = (ours.spread, theirs.spread), (ours.processor, theirs.processor)
        return cls(group, task, peer, ours.median, theirs.median, note, "ms", *both)

    @property
    def key(self) -> tuple[str, str, str]:
        """What is compared."""
        return self.group, self.task, self.peer

    @property
    def ratio(self) -> float:
        """theirs / ours."""
        return self.theirs / self.ours

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "ratio": self.ratio}


_ALONE = 0.85
"""Share of the clock's time below which a run on one thread was interrupted by other programs."""


def measure(works: Mapping[str, Work], *, seconds: float = 1.0, least: int = 5) -> dict[str, Time]:
    """The time of each of `works`, run in turns for `seconds` each, and at least `least` times."""
    for work in works.values():
        work()  # warm-up of caches, allocators and compilers
    clock: dict[str, list[float]] = {name: [] for name in works}
    processor: dict[str, list[float]] = {name: [] for name in works}
    spent = dict.fromkeys(works, 0.0)
    while any(len(clock[name]) < least or (spent[name] < seconds and len(clock[name]) < 200) for name in works):
        for name, work in works.items():
            if len(clock[name]) >= least and spent[name] >= seconds:
                continue
            start, before = time.perf_counter(), time.process_time()
            work()
            took = time.perf_counter() - start
            processor[name].append(1e3 * (time.process_time() - before))
            clock[name].append(1e3 * took)
            spent[name] += took
    return {name: Time.of(clock[name], processor[name]) for name in works}


def markdown(command: str, rows: Sequence[Row]) -> str:
    """The rows as Markdown tables, one per group, below the command, machine and date."""
    facts = machine()
    lines = [
        "# Measured",
        "",
        f"Written by `{command}` on {facts['date']}: {facts['cpu']}, {facts['system']}, Python {facts['python']}.",
        f"Caches: {facts['caches'] or 'unknown'}. Instruction sets: {', '.join(facts['instructions']) or 'unknown'}.",
        "Ratio: how many times as fast (or exact) kptool is as the peer or floor, both measured in this run. ± is half the",
        "interquartile range.",
    ]
    for group in dict.fromkeys(row.group for row in rows):
        unit = next(row.unit for row in rows if row.group == group)
        lines += ["", f"## {group}", "", f"| task | {unit} | peer or floor | {unit} | ratio | |"]
        lines += ["|---|---:|---|---:|---:|---|"]
        for row in rows:
            if row.group == group:
                ours, theirs = (None, None) if row.spread is None else row.spread
                figures = f"{_figure(row.ours, ours)} | {row.peer} | {_figure(row.theirs, theirs)}"
                lines.append(f"| {row.task} | {figures} | {row.ratio:.2f} | {row.note} |")
    return "\n".join(lines) + "\n"


def _figure(value: float, spread: float | None) -> str:
    return f"{value:.3g}" + ("" if spread is None else f" ± {spread:.0%}")


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
