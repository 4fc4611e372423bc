"""Recognises the columns of a label table by their names: keypoint coordinates, visibility flags, boxes; and the rest."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.skeleton import numbered_names
from kptool.data.formats.visibility import flag_kind

_SEPARATORS = ("_", ".", ":", " ", "-")
_BOX_PREFIXES = ("box_", "bbox_", "bounding_box_", "boundingbox_", "")
_EDGES = (
    ("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"), ("left", "top", "w", "h"),
    ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"), ("xtl", "ytl", "xbr", "ybr"),
    ("cx", "cy", "width", "height"), ("cx", "cy", "w", "h"), ("center_x", "center_y", "width", "height"),
)  # fmt: skip
_SIZES = ("width", "height", "w", "h")


@dataclass(frozen=True)
class BoxColumns:
    """The four columns of a box, and their style: "size" (left, top, width, height), "corners", or "centre"."""

    columns: tuple[str, ...]
    style: str

    def boxes(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Left, top, width, height (N, 4) from the columns' values (N, 4); NaN where a row has no valid box."""
        first, second = values[:, :2], values[:, 2:]
        if self.style == "corners":
            first, second = np.minimum(first, second), np.abs(second - first)
        elif self.style == "centre":
            first = first - second / 2
        empty = ~((second > 0).all(1) & ~np.isnan(first).any(1))
        result = np.concatenate([first, second], 1)
        result[empty] = np.nan
        return result


def box(columns: Sequence[str], long: bool) -> BoxColumns | None:
    """The columns of a box, or None unless all four are there; in a `long` table plain x and y are the keypoint's."""
    known = {re.sub("[.: -]", "_", column.casefold()): column for column in columns}
    for prefix in (*_BOX_PREFIXES, *_object_prefixes(known)):
        for edges in _EDGES:
            names = [prefix + edge for edge in edges]
            plain = not prefix and (edges[0] == "x1" or (long and edges[0] == "x"))
            if not plain and known.keys() >= set(names):
                style = "size" if edges[2] in _SIZES else "corners"
                style = "centre" if edges[0] in ("cx", "center_x") else style
                return BoxColumns(tuple(known[name] for name in names), style)
    return None


def _object_prefixes(names: Collection[str]) -> list[str]:
    """The prefix of a box named after its object, such as face_x, face_y, face_w, face_h; none if there are several."""
    starts = [name[:-1] for name in names if name.endswith("_x") and name[:-1] + "y" in names]
    sizes = (("width", "height"), ("w", "h"))
    found = [start for start in starts if any({start + a, start + b} <= set(names) for a, b in sizes)]
    return found if len(found) == 1 else []


@dataclass(frozen=True)
class Wide:
    """The columns of a wide table.

    names: keypoints. places: their x and y columns. flags: for each kind of visibility column (see
    `kptool.data.formats.visibility`) the column of each keypoint, by index. box: as `box` returns it. unused: the rest.
    """

    names: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    flags: dict[str, dict[int, str]]
    box: BoxColumns | None
    unused: tuple[str, ...]


def wide(where: str, columns: Sequence[str], numbered: int = 2) -> Wide:
    """The columns NAME_x, NAME_y and NAME_flag of a table with these `columns`.

    If there are none, columns named by plain numbers are x, y (and visibility, if `numbered` is 3) of each keypoint in
    turn. Raises DataError, beginning with `where`, if the counterpart of a column is missing.
    """
    found = box(columns, long=False)
    free = [column for column in columns if not found or column not in found.columns]
    partial = [
        column
        for column in free
        if column.casefold() in {prefix + size for prefix in _BOX_PREFIXES[:-1] for size in _SIZES}
    ]
    if partial and not found:
        raise DataError(
            f"{where}: {partial[0]} belongs to a box, and a box has the columns box_x, box_y, box_width, box_height;"
            " add those that are missing, or remove the others"
        )
    pairs = dict(_pairs(where, free))
    if pairs:
        taken = {column for pair in pairs.values() for column in pair}
        flags, spare = flags_of(tuple(pairs), [column for column in free if column not in taken])
        return Wide(tuple(pairs), tuple(pairs.values()), flags, found, spare)
    numbers = [column for column in free if column.isdigit()]
    if len(numbers) % numbered:
        raise DataError(
            f"{where}: {len(numbers)} columns have numbers as names; expected x and y of each keypoint in turn"
        )
    places = tuple(zip(numbers[::numbered], numbers[1::numbered], strict=True))
    flags = {"visibility": dict(enumerate(numbers[2::3]))} if numbered == 3 else {}
    names = numbered_names(len(places))
    return Wide(names, places, flags, found, tuple(column for column in free if column not in numbers))


def _pairs(where: str, columns: Sequence[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each keypoint's name with its x and y columns, in the order of the x columns."""
    for column in columns:
        if len(column) < 3 or column[-2] not in _SEPARATORS or column[-1] not in "xyXY":
            continue
        other = column[:-1] + column[-1].translate(str.maketrans("xyXY", "yxYX"))
        if other in columns:
            if column[-1] in "xX":
                yield column[:-2], (column, other)
        elif column[-2] == "_":
            raise DataError(f"{where} has a column {column} and none called {other}; add it, or rename {column}")


def flags_of(names: tuple[str, ...], columns: Sequence[str]) -> tuple[dict[str, dict[int, str]], tuple[str, ...]]:
    """The visibility columns of keypoints called `names`, by kind and keypoint index, and the remaining columns."""
    index = {name.casefold(): k for k, name in enumerate(names)}
    flags: dict[str, dict[int, str]] = {}
    spare = []
    for column in columns:
        for match in re.finditer("[_.: -]", column):  # keypoint names may contain separators
            k, what = index.get(column[: match.start()].casefold()), flag_kind(column[match.end() :])
            if k is not None and what and k not in flags.get(what, {}):
                flags.setdefault(what, {})[k] = column
                break
        else:
            spare.append(column)
    return flags, tuple(spare)


def not_used(columns: Sequence[str]) -> tuple[str, ...]:
    """A note on unused columns; none if there are none."""
    if not columns:
        return ()
    if len(columns) == 1:
        return (f"the column {columns[0][:60]} is not used",)
    more = f" and {len(columns) - 8} more" if len(columns) > 8 else ""
    return (f"{len(columns)} columns are not used: {', '.join(column[:60] for column in columns[:8])}{more}",)
