"""Corrections of a data set in an editable csv, which `kptool extract --patch` applies.

Columns: row (of the source), action, keypoint, x, y (pixels of the source), reason. Actions: drop removes the sample; set
moves a keypoint; unlabel removes its label; swap exchanges left and right, in all pairs, or in the pair of the stated
keypoint.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import apply_affine, swap_order
from kptool.base.skeleton import UNLABELLED, VISIBLE
from kptool.data.annotations import Samples
from kptool.system.text import csv_rows, read_text

COLUMNS = ("row", "action", "keypoint", "x", "y", "reason")
ACTIONS = ("drop", "set", "unlabel", "swap")
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Change:
    """One line of a patch. keypoint: its index; x, y: pixels of the source; None if the action has none."""

    row: int
    action: str
    keypoint: int | None = None
    x: float | None = None
    y: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Patches:
    """The changes of a patch, by source row."""

    changes: dict[int, list[Change]]

    def apply(self, samples: Samples, flip_pairs: Sequence[tuple[int, int]]) -> Samples:
        """The corrected samples, without the dropped ones. Raises DataError for swaps that cannot be applied."""
        mine = [i for i, row in enumerate(samples.rows.tolist()) if row in self.changes]
        if not mine:
            return samples
        points, visibility = samples.keypoints.copy(), samples.visibility.copy()
        keep = np.ones(len(samples), bool)
        for i in mine:
            swapped: set[int] = set()
            for change in self.changes[int(samples.rows[i])]:
                if change.action == "drop":
                    keep[i] = False
                elif change.action == "swap":
                    order = _order(change, points.shape[1], flip_pairs, swapped)
                    points[i], visibility[i] = points[i, order], visibility[i, order]
                elif change.action == "unlabel":
                    points[i, change.keypoint], visibility[i, change.keypoint] = 0, UNLABELLED
                else:
                    place = np.array([[change.x, change.y]], np.float64)
                    moved = place if samples.affines is None else apply_affine(samples.affines[i], place)
                    points[i, change.keypoint], visibility[i, change.keypoint] = moved[0], VISIBLE
        return replace(samples, keypoints=points, visibility=visibility).select(keep)


def _order(change: Change, count: int, flip_pairs: Sequence[tuple[int, int]], swapped: set[int]) -> list[int]:
    """The permutation of `count` keypoints that a swap applies; adds its pair to `swapped`, the keypoints done already.

    Raises DataError if there is no pair to exchange, or if the swap would undo another.
    """
    if not flip_pairs:
        raise DataError(
            f"the patch swaps left and right of row {change.row}, and which keypoints these are is not known; say it with"
            " --flips, or remove the line"
        )
    if change.keypoint is None:
        return swap_order(count, flip_pairs)
    mine = [pair for pair in flip_pairs if change.keypoint in pair]
    if not mine or change.keypoint in swapped:
        what = "is there twice" if mine else f"names keypoint {change.keypoint}, which is in no pair of left and right"
        raise DataError(f"the patch's swap of row {change.row} {what}; remove the line")
    swapped.update(mine[0])
    return swap_order(count, mine)


def read(path: Path, names: Sequence[str]) -> Patches:
    """Read a patch file for keypoints called `names`. Raises DataError with the line and what is expected there."""
    rows = csv_rows(path, io.StringIO(read_text(path, _MOST_BYTES)))
    header = next(rows, [])
    if not {"row", "action"} <= set(header):
        raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}, as `kptool doctor --patch` writes them")
    changes: dict[int, list[Change]] = {}
    seen = set()
    for line, cells in enumerate(rows, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        change = _change(f"{path}, line {line}", dict(zip(header, map(str.strip, cells), strict=False)), names)
        key = (change.row, change.keypoint if change.keypoint is not None else change.action)
        if key in seen:
            raise DataError(f"{path}, line {line}: row {change.row} has this change already; remove one of them")
        seen.add(key)
        changes.setdefault(change.row, []).append(change)
    return Patches(changes)


def to_text(changes: Iterable[Change], names: Sequence[str]) -> str:
    """The csv text of a patch."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for change in changes:
        name = "" if change.keypoint is None else names[change.keypoint]
        place = ["" if v is None else f"{v:.6g}" for v in (change.x, change.y)]
        table.writerow([change.row, change.action, name, *place, change.reason])
    return text.getvalue()


def _change(where: str, cells: dict[str, str], names: Sequence[str]) -> Change:
    row, action = cells.get("row", ""), cells.get("action", "")
    if not (row.isascii() and row.isdigit() and len(row) < 19):
        raise DataError(f"{where}: row must be a whole number from 0; got {row!r}")
    if action not in ACTIONS:
        raise DataError(f"{where}: action must be one of {', '.join(ACTIONS)}; got {action!r}")
    reason = cells.get("reason", "")
    name = cells.get("keypoint", "")
    if action == "drop" or (action == "swap" and not name):
        return Change(int(row), action, reason=reason)
    if name not in names:
        raise DataError(f"{where}: there is no keypoint {name!r}; the names are {', '.join(list(names)[:20])}")
    if action in ("unlabel", "swap"):
        return Change(int(row), action, list(names).index(name), reason=reason)
    try:
        x, y = float(cells.get("x", "")), float(cells.get("y", ""))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) <= 1e6):
        raise DataError(f"{where}: set needs x and y in pixels of the source; correct them")
    return Change(int(row), action, list(names).index(name), x, y, reason)
