"""An earlier run of the benchmarks, to compare with."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.bench.timing import Row
from kptool.system.text import read_json

Key = tuple[str, str, str]
"""A row's group, task and peer."""


def read(path: Path) -> dict[Key, float]:
    """The ratios of a run that ``kptool bench --json`` printed. Raises DataError for any other file."""
    document = read_json(path)
    rows = document.get("rows") if isinstance(document, dict) else None
    found: dict[Key, float] = {}
    for row in rows if isinstance(rows, list) else []:
        match row:
            case {"group": str(group), "task": str(task), "peer": str(peer), "ratio": int() | float() as ratio}:
                found[group, task, peer] = float(ratio)
            case _:
                raise DataError(f"{path} has a row that `kptool bench --json` does not print; measure again")
    if not found:
        raise DataError(f"{path} holds no run of `kptool bench --json`")
    return found


def described(row: Row, earlier: Mapping[Key, float]) -> dict[str, Any]:
    """What a row's JSON says of the earlier run; nothing if there is none."""
    return {"ratio_before": earlier.get(row.key)} if earlier else {}


def summary(rows: Sequence[Row], earlier: Mapping[Key, float]) -> str:
    """How the ratios differ from those of the earlier run, in a sentence."""
    changes = [row.ratio / earlier[row.key] for row in rows if earlier.get(row.key)]
    if not changes:
        return "the earlier run measured none of these"
    slower, faster = sum(change < 0.95 for change in changes), sum(change > 1.05 for change in changes)
    return (
        f"of {len(changes)} ratios that the earlier run has, {faster} are more than 5 % better and {slower} more than 5 %"
        f" worse; median change {statistics.median(changes) - 1:+.1%}"
    )
