"""A csv with a picture's name in each row. Wide: two columns for each keypoint; long: a row for each keypoint.

Wide columns are ``NAME_x`` and ``NAME_y``, with ``NAME_visibility`` (0, 1, 2) where there is one, or plain numbers that
alternate x and y. Long columns are a picture, a keypoint's name, x and y, and may be visibility. Either may have
``box_x``, ``box_y``, ``box_width``, ``box_height``, measured like the points; without the last two, ``box`` is a keypoint
like others. An empty cell is no label. An integer is a pixel's centre.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kptool.annotations import UNLABELLED, VISIBLE, Dataset, LabelFile, Labelled, bounded
from kptool.errors import DataError
from kptool.reading import first_line

_PICTURE = ("image", "image_name", "image_path", "filename", "file_name", "file", "path", "img", "name", "picture")
_KEYPOINT = ("keypoint", "bodypart", "landmark", "label", "point", "part", "name")
_BOX = ("box_x", "box_y", "box_width", "box_height")
_MOST_BYTES = 1 << 30
_RAGGED = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")
_EXPECTED = (
    "expected one called image or filename, with their names, or the column Image of Kaggle's, with their pixels"
)


def matches(path: Path) -> bool:
    """Whether `path` is a csv that is neither Kaggle's, whose pixels are in it, nor DeepLabCut's."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    header = first_line(path)
    return "Image" not in header.replace('"', "").strip().split(",") and not header.startswith("scorer")


def read(path: Path, category: str | None = None) -> LabelFile:
    """Every row of a wide table, or every picture of a long one. Raises DataError, naming the column or the row."""
    table = _cells(path)
    picture = _find(table, _PICTURE) or table.columns[0]
    if not PurePath(table[picture].iloc[0].strip()).suffix:
        raise DataError(f"{path}: no column has the names of pictures; {_EXPECTED}")
    keypoint = next((c for c in table.columns if c.lower() in _KEYPOINT and c != picture), None)
    lower = {column.lower(): column for column in table.columns}
    if keypoint and "x" in lower and "y" in lower:
        return _long(path, table, picture, keypoint, lower)
    return _wide(path, table, picture)


def _cells(path: Path) -> pd.DataFrame:
    """All cells as text, below the header's names, which differ. Raises DataError where rows are longer than it."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is larger than 1 GiB; split it")
        # With a header of its own, pandas renames what is there twice, and takes a column too many for row names.
        rows = pd.read_csv(path, sep=_separator(path), dtype=str, keep_default_na=False, header=None)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty; {_EXPECTED}") from None
    except (ValueError, pd.errors.ParserError) as error:
        ragged = _RAGGED.search(str(error))
        if ragged:
            raise DataError(
                f"{path}, line {ragged[2]}: {ragged[3]} cells, and the header has {ragged[1]}; quote what has a"
                " separator in it, or remove what is too much"
            ) from None
        raise DataError(f"{path} is not a csv that can be read ({error}); export it again") from error
    header = [str(cell).strip() for cell in rows.iloc[0]]
    twice = next((name for k, name in enumerate(header) if name and name in header[:k]), None)
    if twice:
        raise DataError(f"{path} has several columns {twice}; rename or remove all but one")
    table = rows.iloc[1:].reset_index(drop=True)
    table.columns = [name or f"unnamed {k}" for k, name in enumerate(header)]
    if not len(table) or table.shape[1] < 2:
        raise DataError(f"{path}: expected a header, and below it a row for each picture; there is none")
    return table


def _separator(path: Path) -> str:
    header = first_line(path)
    return max(",;\t", key=header.count)


def _find(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((column for name in names for column in table.columns if column.lower() == name), None)


def _wide(path: Path, table: pd.DataFrame, picture: str) -> LabelFile:
    columns = [column for column in table.columns if column != picture]
    names = _names(path, columns)
    if names:
        order = [f"{name}_{axis}" for name in names for axis in "xy"]
    else:
        order = [column for column in columns if column.isdigit()]
        if not order or len(order) % 2 or len(order) != len(columns):
            raise DataError(
                f"{path}: expected a column with the picture's name, and NAME_x and NAME_y for each keypoint;"
                f" got {', '.join(table.columns[:5])}"
            )
        names = tuple(f"p{k + 1:02d}" for k in range(len(order) // 2))
    bounded(path, names, len(table))
    points = _numbers(path, table, order).reshape(len(table), -1, 2)
    stated = np.full(points.shape[:2], np.nan)
    has = [k for k, name in enumerate(names) if f"{name}_visibility" in table.columns]
    if has:
        stated[:, has] = _numbers(path, table, [f"{names[k]}_visibility" for k in has])
    visibility = _visibility(path, points, stated)
    boxes = list(_boxes(path, table))
    things = [
        Labelled(name, points[i], visibility[i], boxes[i]) for i, name in enumerate(table[picture].str.strip().tolist())
    ]
    return LabelFile(names, things, None, (path,))


def _names(path: Path, columns: list[str]) -> tuple[str, ...]:
    """The keypoints that have columns, in order. Raises DataError where a column lacks the other that belongs to it."""
    known = set(columns)
    boxed = known.issuperset(_BOX)
    if not boxed and known.intersection(_BOX[2:]):
        raise DataError(
            f"{path}: a box has the columns {', '.join(_BOX)}; add those that are missing, or remove the others"
        )
    for column in columns:
        other = column[:-1] + {"x": "y", "y": "x"}.get(column[-1:], "")
        if column.endswith(("_x", "_y")) and other not in known:
            raise DataError(f"{path} has a column {column} and none called {other}; add it, or rename {column}")
    return tuple(c[:-2] for c in columns if c.endswith("_x") and not (boxed and c in _BOX))


def _long(path: Path, table: pd.DataFrame, picture: str, keypoint: str, lower: dict[str, str]) -> LabelFile:
    names = tuple(dict.fromkeys(table[keypoint].str.strip()))
    bounded(path, names, table[picture].nunique())
    index = {name: k for k, name in enumerate(names)}
    values = _numbers(path, table, [lower["x"], lower["y"]])
    stated = _numbers(path, table, [lower["visibility"]]) if "visibility" in lower else None
    seen = _visibility(path, values[:, None], stated)[:, 0]
    instance = table[lower["instance"]] if "instance" in lower else pd.Series([""] * len(table))
    boxes = list(_boxes(path, table))
    things: dict[tuple[str, str], Labelled] = {}
    given: set[tuple[str, str, int]] = set()
    rows = zip(table[picture].str.strip(), instance, table[keypoint].str.strip(), strict=True)
    for row, (name, which, part) in enumerate(rows):
        key, k = (name, which), index[part]
        if (name, which, k) in given:
            raise DataError(
                f"{path}, line {row + 2}: {part} of {name} is there twice; remove one, or number the instances"
            )
        given.add((name, which, k))
        if key not in things:
            empty = np.zeros(len(names), np.uint8)
            things[key] = Labelled(name, np.full((len(names), 2), np.nan), empty, boxes[row])
        things[key].keypoints[k], things[key].visibility[k] = values[row], seen[row]
    return LabelFile(names, list(things.values()), None, (path,))


def _numbers(path: Path, table: pd.DataFrame, columns: list[str]) -> NDArray[np.float64]:
    """Cells as numbers (rows, columns), NaN where empty."""
    text = table[columns].apply(lambda column: column.str.strip())
    values = text.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    empty = text.apply(lambda column: column.str.lower().isin(["", "nan", "na", "none", "null"])).to_numpy()
    bad = np.argwhere(~np.isfinite(values) & ~empty)
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{path}, line {row + 2}: {columns[column]} is {text.iat[row, column][:40]!r}, expected a number such as"
            " 12.5, or nothing; correct it, or empty the cell"
        )
    return np.asarray(values)


def _visibility(path: Path, points: NDArray[np.float64], stated: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """0, 1 or 2 for each keypoint of each row: as stated, else by whether there are coordinates."""
    empty = np.isnan(points)
    half = np.argwhere(empty[..., 0] != empty[..., 1])
    if len(half):
        raise DataError(f"{path}, line {half[0][0] + 2}: a keypoint has one coordinate; give both, or none")
    labelled = ~empty[..., 0]
    if stated is None:
        return np.where(labelled, VISIBLE, UNLABELLED).astype(np.uint8)
    wrong = np.argwhere(~np.isnan(stated) & ~np.isin(stated, (0, 1, 2)))
    if len(wrong):
        raise DataError(f"{path}, line {wrong[0][0] + 2}: visibility must be 0, 1 or 2; correct it")
    kept = np.where(np.isnan(stated), VISIBLE, stated)
    return np.where(labelled, kept, UNLABELLED).astype(np.uint8)


def _boxes(path: Path, table: pd.DataFrame) -> Iterator[tuple[float, float, float, float] | None]:
    if not set(_BOX) <= set(table.columns):
        yield from [None] * len(table)
        return
    for x, y, width, height in _numbers(path, table, list(_BOX)).tolist():
        yield (x, y, width, height) if width > 0 and height > 0 else None


DATASET = Dataset("a csv with pictures' names and x, y columns, wide or long", matches, read=read)
