"""A csv with an image's name in each row: wide, with two columns for each keypoint, or long, with a row for each keypoint.

Wide columns are ``NAME_x`` and ``NAME_y``, or plain numbers that alternate x and y, and optionally flags such as
``NAME_visibility``, which `kptool.data.formats.visibility` interprets. Long columns are the image, the keypoint's name, x
and y, and optionally flags and the number of the instance. Both may have a box in the points' coordinates. Empty cells are
unlabelled. An integer is a pixel's centre. Columns that are not recognised are named in a note.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import Box
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import via_files
from kptool.data.formats.columns import BoxColumns, box, not_used, wide
from kptool.data.formats.visibility import flag_kind, from_columns
from kptool.data.notes import counted
from kptool.data.pictures import SUFFIXES
from kptool.data.splits import PARTS
from kptool.system.text import first_line, numbers, pad_rows, read_rows

_PICTURE = ("image", "image_name", "image_path", "filename", "file_name", "file", "path", "img", "name", "picture")
_KEYPOINT = ("keypoint", "bodypart", "landmark", "label", "point", "part", "name")
_INSTANCE = (
    "instance", "instance_id", "face", "object", "object_id", "individual", "animal", "person", "person_id", "track",
    "track_id", "detection",
)  # fmt: skip
_SPLIT = ("split", "subset", "partition")
_OWN = ({"score", "radius90"}, {"radius90", "frame", "time"}), ({"image", "row"}, {"row", "source"})
"""Columns by which a csv written by kptool (predict, extract) is recognised, and columns of it that hold no labels."""
_GROUPS = {"row", "group"}
"""The columns of a csv of groups, which may lie beside the labels."""
_FILE_NAME = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{0,7}", re.DOTALL)
_MAX_BYTES = 1 << 30
_EXPECTED = (
    "expected one called image or filename, with their names, or the column Image with their pixels, as Kaggle has it"
)


@dataclass(frozen=True)
class _Table:
    """The cells of a csv.

    columns: cells by column name. lines: line number of each row. comma: whether a comma may be the decimal sign.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: Sequence[int]
    comma: bool

    def where(self, row: int) -> str:
        """The file and line of a row, for messages."""
        return f"{self.path}, line {self.lines[row]}"

    def texts(self, names: Sequence[str]) -> NDArray[np.object_]:
        """The cells of some columns, (rows, columns)."""
        result = np.empty((len(self.lines), len(names)), object)
        for k, name in enumerate(names):
            result[:, k] = self.columns[name]
        return result

    def split(self) -> tuple[str | None, list[str]]:
        """The column that states each row's part of the data set, None if there is none; and the part of each row."""
        column = next((column for column in self.columns if column.casefold() in _SPLIT), None)
        cells = [cell.casefold() for cell in self.columns[column]] if column else []
        if not any(cells) or not {*PARTS, ""}.issuperset(cells):
            return None, [""] * len(self.lines)
        return column, [PARTS.get(cell, "") for cell in cells]

    def numbers(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The cells of some columns as numbers (rows, columns), NaN if empty. Raises DataError, naming line and column."""
        texts = self.texts(names)
        values, wrong = numbers(texts, self.comma)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{self.where(row)}: {names[column]} is {texts[row, column][:40]!r}, expected a number such as 12.5, or"
                " nothing; correct it, or empty the cell"
            )
        return values

    def boxes(self, found: BoxColumns | None) -> tuple[list[Box | None], tuple[str, ...]]:
        """The box of each row, None if it has none, and a note on boxes with an empty area."""
        if found is None:
            return [None] * len(self.lines), ()
        stated = self.numbers(found.columns)
        rows = found.boxes(stated)
        empty = int((np.isnan(rows[:, 0]) & ~np.isnan(stated).all(1)).sum())
        boxes = [None if np.isnan(x) else (x, y, width, height) for x, y, width, height in rows.tolist()]
        return boxes, counted(empty, "{n} box{es} {have} no size and {are} not used")


def matches(path: Path) -> bool:
    """Whether `path` is a csv or tsv, and not Kaggle's, which holds pixels, nor DeepLabCut's, SLEAP's or VIA's, nor one of
    groups for the split."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    header = first_line(path).replace('"', "")
    columns = set(header.split(","))
    if {"frame_idx", "instance.score"} <= columns or via_files.is_csv(header):
        return False
    if {column.casefold() for column in columns} == _GROUPS:
        return False
    return "Image" not in columns and not re.match("scorer[,;\t]", header)


def read(path: Path, category: str | None = None) -> LabelFile:
    """An instance for every row of a wide table, or for every image and instance number of a long one.

    Raises DataError, naming the line and column, for invalid cells.
    """
    if category is not None:
        raise DataError(f"{path}: a csv has no categories, so --category {category} has no meaning; leave it out")
    table, notes = _table(path)
    picture = _picture(table)
    lower = {column.casefold(): column for column in table.columns if column != picture}
    keypoint = next((lower[name] for name in _KEYPOINT if name in lower), None)
    file = _long(table, picture, keypoint, lower) if keypoint and {"x", "y"} <= set(lower) else _wide(table, picture)
    return LabelFile(file.names, file.things, None, (path,), (*notes, *file.notes))


def _table(path: Path) -> tuple[_Table, tuple[str, ...]]:
    """The csv's cells by column, and notes. Raises DataError if the header is missing or repeats a name."""
    rows, separator = read_rows(path, _MAX_BYTES)
    if not rows:
        raise DataError(f"{path} is empty; {_EXPECTED}")
    header = rows[0][1]
    if any(Path(name).suffix.lower() in SUFFIXES for name in header):
        raise DataError(
            f"{path} has no header, its first line is that of a picture; add one: image, and NAME_x,NAME_y for each keypoint"
        )
    twice = next((name for k, name in enumerate(header) if name and name in header[:k]), None)
    if twice:
        raise DataError(f"{path} has several columns {twice}; rename or remove all but one")
    cells, notes = pad_rows(path, rows[1:], len(header))
    if not cells or len(header) < 2:
        raise DataError(f"{path}: expected a header and a row for each picture below it; there is none")
    columns = {name or f"unnamed {k}": [row[k] for row in cells] for k, name in enumerate(header)}
    return _Table(path, columns, [line for line, _ in rows[1:]], separator != ","), notes


def _picture(table: _Table) -> str:
    """The column with the images' names: the first with a file name in its first filled cell, usual column names first."""
    usual = [column for name in _PICTURE for column in table.columns if column.casefold() == name]
    for column in (*usual, *table.columns):
        if _FILE_NAME.fullmatch(next(filter(None, table.columns[column]), "")):
            return column
    raise DataError(f"{table.path}: no column has the names of pictures; {_EXPECTED}")


def _wide(table: _Table, picture: str) -> LabelFile:
    """The instances of a wide table, one for each row. `picture` is the column with the images' names."""
    columns = [column for column in table.columns if column != picture]
    found = wide(str(table.path), columns, _numbered(table, columns))
    if not found.names:
        raise DataError(
            f"{table.path}: expected a column with the picture's name, and NAME_x and NAME_y for each keypoint;"
            f" got {', '.join(list(table.columns)[:5])}"
        )
    bounded(table.path, found.names, len(table.lines))
    shape = len(table.lines), len(found.names)
    points = table.numbers([column for pair in found.places for column in pair]).reshape(*shape, 2)
    stated = {}
    for what, places in found.flags.items():
        stated[what] = np.full(shape, "", object)
        stated[what][:, list(places)] = table.texts(list(places.values()))
    visibility, notes = from_columns(table.where, points, stated, table.comma)
    boxes, more = table.boxes(found.box)
    split, parts = table.split()
    instances = [
        Labelled(name, points[i], visibility[i], boxes[i], split=parts[i])
        for i, name in enumerate(table.columns[picture])
    ]
    return LabelFile(
        found.names,
        instances,
        None,
        (),
        (*notes, *more, *_unused_columns(table, [c for c in found.unused if c != split])),
    )


def _numbered(table: _Table, columns: Sequence[str]) -> int:
    """How many numbered columns a keypoint has: 3 if every third holds only 0, 1 or 2 and others exceed 2, else 2."""
    names = [column for column in columns if column.isdigit()]
    if not names or len(names) % 3:
        return 2
    values, _ = numbers(table.texts(names), table.comma)
    third, others = values[:, 2::3], np.delete(values, np.s_[2::3], axis=1)
    flags = np.isin(third[~np.isnan(third)], (0, 1, 2)).all() and not np.isnan(third).all()
    return 3 if flags and np.nanmax(others, initial=0) > 2 else 2


def _long(table: _Table, picture: str, keypoint: str, lower: dict[str, str]) -> LabelFile:
    """The instances of a long table, one for each image and instance number.

    `picture` and `keypoint` are columns; `lower` has the other columns by their names in lower case.
    """
    names = tuple(dict.fromkeys(table.columns[keypoint]))
    bounded(table.path, names, len(set(table.columns[picture])))
    points = table.numbers([lower["x"], lower["y"]])
    flags: dict[str, str] = {}
    for name, column in lower.items():
        if flag_kind(name) and column != keypoint:
            flags.setdefault(str(flag_kind(name)), column)
    stated = {what: table.texts([column]) for what, column in flags.items()}
    seen, notes = from_columns(table.where, points[:, None], stated, table.comma)
    instance = next((lower[name] for name in _INSTANCE if name in lower and lower[name] != keypoint), None)
    found = box(tuple(lower.values()), long=True)
    boxes, more = table.boxes(found)
    which = table.columns[instance] if instance else [""] * len(table.lines)
    split, parts = table.split()
    instances: dict[tuple[str, str], Labelled] = {}
    keys = list(zip(table.columns[picture], which, strict=True))
    for row, (k, key) in enumerate(_indices(table, names, keypoint, keys)):
        if key not in instances:
            empty = np.zeros(len(names), np.uint8)
            instances[key] = Labelled(key[0], np.full((len(names), 2), np.nan), empty, boxes[row], split=parts[row])
        instances[key].keypoints[k], instances[key].visibility[k] = points[row], seen[row, 0]
    used = {lower["x"], lower["y"], keypoint, instance, split, *flags.values(), *(found.columns if found else ())}
    rest = [column for column in lower.values() if column not in used]
    return LabelFile(names, list(instances.values()), None, (), (*notes, *more, *_unused_columns(table, rest)))


def _indices(
    table: _Table, names: tuple[str, ...], keypoint: str, keys: list[tuple[str, str]]
) -> Iterator[tuple[int, tuple[str, str]]]:
    """The keypoint's index and the instance's key of each row. Raises DataError if an instance has a keypoint twice."""
    index = {name: k for k, name in enumerate(names)}
    seen: set[tuple[int, tuple[str, str]]] = set()
    for row, (name, key) in enumerate(zip(table.columns[keypoint], keys, strict=True)):
        label = index[name], key
        if label in seen:
            raise DataError(
                f"{table.where(row)}: {name} of {key[0]} is there twice; remove one, or number the instances in a column"
                " called instance"
            )
        seen.add(label)
        yield label


def _unused_columns(table: _Table, columns: Sequence[str]) -> tuple[str, ...]:
    """A note on unused columns, except those that kptool itself writes and row indices."""
    known = {column.casefold() for column in table.columns}
    own = {column for signs, names in _OWN if signs <= known for column in names}
    return not_used([c for c in columns if c.casefold() not in own and not _is_index(table.columns[c], c)])


def _is_index(cells: list[str], name: str) -> bool:
    """Whether a column is empty, or a row index as pandas writes it: without a name, with rising whole numbers."""
    if not any(cells):
        return True
    nameless = re.fullmatch(r"(unnamed:? \d+|index|)", name.casefold())
    whole = nameless and all(re.fullmatch("[0-9]{1,15}", cell) for cell in cells)
    return bool(whole) and all(int(a) < int(b) for a, b in itertools.pairwise(cells))


DATASET = Dataset("a csv with pictures' names and x, y columns, wide or long", matches, read=read)
