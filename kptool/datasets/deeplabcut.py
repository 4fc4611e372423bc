"""DeepLabCut's CollectedData csv: header rows scorer, (individuals,) bodyparts, coords; then a picture in each row.

An integer is a pixel's centre. The picture's name takes one column, or three whose parts make its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from kptool.annotations import VISIBLE, Dataset, LabelFile, Labelled, bounded
from kptool.errors import DataError
from kptool.reading import csv_rows, first_line, read_text

_HEADS = ("scorer", "individuals", "bodyparts", "coords")
_MOST_BYTES = 1 << 28


def matches(path: Path) -> bool:
    """Whether `path` is a csv whose first row says scorer."""
    return path.suffix.lower() == ".csv" and first_line(path).startswith("scorer")


def read(path: Path, category: str | None = None) -> LabelFile:
    """A thing for each picture and individual; `category` is an individual's name. Raises DataError with the line."""
    rows = list(csv_rows(path, read_text(path, _MOST_BYTES).splitlines()))
    heads = {row[0]: row for row in rows[: len(_HEADS)] if row and row[0] in _HEADS}
    if not {"bodyparts", "coords"} <= set(heads):
        raise DataError(f"{path}: expected DeepLabCut's header rows scorer, bodyparts and coords")
    coords = heads["coords"]
    first = next((i for i, cell in enumerate(coords) if cell in ("x", "y")), 0)
    parts = heads["bodyparts"][first:]
    who = heads.get("individuals", [""] * (first + len(parts)))[first:]
    if first == 0 or len(parts) != len(coords) - first or len(who) != len(parts):
        raise DataError(f"{path}: its header rows differ in length; export it again")
    columns = list(zip(who, parts, coords[first:], strict=True))
    names = tuple(dict.fromkeys(part for _, part, _ in columns))
    bounded(path, names, len(rows) * len(set(who)))
    things = []
    for line, row in enumerate(rows[len(heads) :], start=len(heads) + 1):
        if len(row) != len(coords):
            raise DataError(f"{path}, line {line}: {len(row)} of {len(coords)} columns; the file may be cut off")
        picture = "/".join(cell for cell in row[:first] if cell)
        things += list(_things(f"{path}, line {line}", picture, row[first:], columns, names, category))
    return LabelFile(names, things, None, (path,))


def _things(
    where: str,
    picture: str,
    cells: list[str],
    columns: list[tuple[str, str, str]],
    names: tuple[str, ...],
    category: str | None,
) -> Iterator[Labelled]:
    """The individuals of one row that have a label."""
    cellsof = groupby(zip(columns, cells, strict=True), key=lambda pair: pair[0][0])
    for individual, group in cellsof:
        points = np.full((len(names), 2), np.nan)
        for (_, part, axis), cell in group:
            if axis in ("x", "y") and cell.strip().lower() not in ("", "nan"):
                try:
                    points[names.index(part), "xy".index(axis)] = float(cell)
                except ValueError:
                    raise DataError(
                        f"{where}: {part} {axis} is {cell[:40]!r}, expected a number or nothing; correct it, or empty the cell"
                    ) from None
        known = ~np.isnan(points)
        if (known[:, 0] != known[:, 1]).any():
            raise DataError(f"{where}: a body part has one coordinate; give both, or none")
        wanted = category in (None, individual)
        if wanted and (known.any() or not individual):
            yield Labelled(picture, points, np.where(known[:, 0], VISIBLE, 0).astype(np.uint8))


DATASET = Dataset("DeepLabCut's CollectedData csv", matches, read=read)
