"""Kaggle's Facial Keypoints Detection: training.csv, training.zip, or the competition's whole zip.

A row holds 2K coordinates (``NAME_x``, ``NAME_y``; empty if unlabelled) and ``Image``, the pixels of a square grey image
as text. Files are streamed: the C++ core parses the complete lines in a buffer of a few megabytes at a time.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from kptool import _core
from kptool.base.errors import DataError
from kptool.base.geometry import to_edges
from kptool.base.skeleton import MAX_KEYPOINTS, Skeleton
from kptool.data import flips
from kptool.data.annotations import Dataset, Samples, Source
from kptool.data.formats.columns import flags_of, not_used
from kptool.data.formats.visibility import from_columns
from kptool.system.archives import UNREADABLE, is_zip, open_text
from kptool.system.text import csv_rows, first_line

_BUFFER = 4 << 20
"""Bytes that are read at once."""
_MAX_LINE = 24 << 20
_MAX_ROWS, _MAX_BLOCK_PIXELS = 256, 1 << 26
"""Limits for a block of rows."""
_MAX_SIDE, _MAX_COLUMNS = 2048, 3 * MAX_KEYPOINTS
_TOLERANCE = 1.0
"""How far a point may be outside of the image, in pixels: some of Kaggle's labels touch the border."""
_RowBlock = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]]
"""Row numbers (n,), the numeric cells of all columns (n, columns), NaN if empty, and images (n, S, S)."""


@dataclass(frozen=True)
class Table:
    """The layout of a csv: its columns, the index of the one with pixels, and the number of pixels."""

    columns: tuple[str, ...]
    pixel_column: int
    pixels: int

    @property
    def side(self) -> int:
        """Height and width of the square images."""
        return math.isqrt(self.pixels)


def open_training(path: Path) -> Source:
    """The labelled faces in `path`. Raises DataError, naming the row, for invalid input (partly while streaming)."""
    table = _read_table(path, "training.csv")
    names = tuple(c.removesuffix("_x") for c in table.columns if c.endswith("_x"))
    missing = [f"{n}_y" for n in names if f"{n}_y" not in table.columns]
    if not names or missing:
        fault = f"{missing[0]} is missing" if missing else "there are none"
        raise DataError(f"{path}: expected columns NAME_x and NAME_y for every keypoint, and Image; {fault}")
    flags, unused = _flags(table, names)
    flag_columns = [table.columns[k] for places in flags.values() for k in places.values()]
    flips = _flips(path, table, names)
    return Source(
        label=str(path),
        skeleton=Skeleton(names, flips.pairs, flips.mirror),
        size=(table.side, table.side),
        channels=1,
        blocks=partial(_training_blocks, path, table, names),
        files=(path,),
        flip_note=flips.why,
        notes=(*_flag_notes(flag_columns), *not_used(unused)),
    )


def _flags(table: Table, names: tuple[str, ...]) -> tuple[dict[str, dict[int, int]], tuple[str, ...]]:
    """The columns with visibility flags, as kind -> keypoint index -> column index, and unrecognised columns."""
    places = {f"{name}_{axis}" for name in names for axis in "xy"}
    rest = [column for column in table.columns if column not in places and column not in ("Image", "ImageId", "")]
    found, unused = flags_of(names, rest)
    index = table.columns.index
    return {kind: {k: index(column) for k, column in each.items()} for kind, each in found.items()}, unused


def _flag_notes(columns: Sequence[str]) -> tuple[str, ...]:
    """A note on columns with visibility flags, if there are any."""
    if not columns:
        return ()
    return (f"visibility is also read from {', '.join(columns[:5])}{', ...' * (len(columns) > 5)}",)


def _flips(path: Path, table: Table, names: tuple[str, ...]) -> flips.FlipPairs:
    """The flip pairs, from the keypoints' names and their coordinates in the first block of faces."""
    try:
        first = next(_training_blocks(path, table, names), None)
    except DataError:  # raised again when the blocks are read
        first = None
    return flips.infer(names) if first is None else flips.infer(names, first.keypoints, first.visibility)


def read_test(path: Path) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Blocks of ImageId (n,) and images (n, S, S) of test.csv, test.zip or the competition's whole zip.

    Raises DataError for invalid input and for a repeated ImageId.
    """
    table = _read_table(path, "test.csv")
    if "ImageId" not in table.columns:
        raise DataError(f"{path}: the column ImageId is missing; expected Kaggle's test.csv")
    column = table.columns.index("ImageId")
    seen: dict[int, int] = {}
    for rows, floats, images in _blocks(path, "test.csv", table):
        ids = floats[:, column]
        bad = np.flatnonzero(~(np.isfinite(ids) & (ids == np.floor(ids)) & (np.abs(ids) < 2**53)))
        if len(bad):
            raise DataError(f"{_place(path, rows[bad[0]])}: ImageId must be a whole number; correct the row")
        for row, number in zip(rows.tolist(), ids.astype(np.int64).tolist(), strict=True):
            if number in seen:
                first = _place(path, seen[number])
                raise DataError(
                    f"{_place(path, row)}: ImageId {number} is also that of {first}; give each picture its own"
                )
            seen[number] = row
        yield ids.astype(np.int64), images


def _training_blocks(path: Path, table: Table, names: tuple[str, ...]) -> Iterator[Samples]:
    """The samples, block by block. Raises DataError, naming the row."""
    order = [table.columns.index(f"{name}_{axis}") for name in names for axis in "xy"]
    flags, _ = _flags(table, names)
    for rows, floats, images in _blocks(path, "training.csv", table):
        points = floats[:, order].reshape(len(rows), -1, 2)
        _check_points(path, table.side, names, rows, points)
        stated = {kind: _flag_texts(floats, places, len(names)) for kind, places in flags.items()}
        visibility, _ = from_columns(lambda row: _place(path, int(rows[row])), points, stated)  # noqa: B023
        yield Samples(images, np.where(visibility[..., None] > 0, points, 0).astype(np.float32), visibility, rows)


def _flag_texts(floats: NDArray[np.float64], places: dict[int, int], count: int) -> NDArray[np.object_]:
    """The flags of `count` keypoints as text (rows, count), empty if not stated. places: keypoint -> column."""
    texts = np.full((len(floats), count), "", object)
    for k, column in places.items():
        texts[:, k] = ["" if np.isnan(value) else repr(value) for value in floats[:, column].tolist()]
    return texts


def _check_points(
    path: Path, side: int, names: tuple[str, ...], rows: NDArray[np.int64], points: NDArray[np.float64]
) -> None:
    """Raise DataError for the first keypoint (of (n, K, 2)) with only one coordinate, or outside of its image."""
    empty = np.isnan(points)
    incomplete = empty[..., 0] != empty[..., 1]
    edge = to_edges(points)
    outside = (~empty & ~((edge >= -_TOLERANCE) & (edge <= side + _TOLERANCE))).any(-1)
    for wrong, what in (
        (incomplete, "has one coordinate and lacks the other"),
        (outside, f"is outside of its {side}x{side} image"),
    ):
        if wrong.any():
            row, k = np.argwhere(wrong)[0]
            x, y = points[row, k]
            raise DataError(
                f"{_place(path, rows[row])}: {names[k]} ({x:g}, {y:g}) {what}; correct it, or empty both cells"
            )


def _blocks(path: Path, member: str, table: Table) -> Iterator[_RowBlock]:
    """The rows of the csv `member`, in order. Raises DataError, naming row and column, where it cannot be parsed."""
    count, pending = 0, b""
    most = max(1, min(_MAX_ROWS, _MAX_BLOCK_PIXELS // table.pixels))
    with open_text(path, member) as file:
        _read_line(path, file)
        final = False
        while not final:
            data = _read(path, file)
            final = not data
            pending += data
            while pending:
                floats = np.empty((most, len(table.columns)))
                images = np.empty((most, table.pixels), dtype=np.uint8)
                done, used, error = _core.parse_rows(
                    pending, len(table.columns), table.pixel_column, table.pixels, floats, images, final
                )
                if done:
                    yield (
                        np.arange(count, count + done),
                        floats[:done],
                        images[:done].reshape(done, table.side, table.side),
                    )
                if error is not None:
                    raise DataError(_explain(path, table, count, error))
                count, pending = count + done, pending[used:]
                if not used or (not final and len(pending) < _BUFFER // 2):
                    break
            if len(pending) > _MAX_LINE:
                raise DataError(
                    f"{_place(path, count)}: the line is longer than {_MAX_LINE >> 20} MiB; this is not Kaggle's csv"
                )
    if not count:
        raise DataError(f"{path}: there is no row below the header; download the file again")


def _explain(path: Path, table: Table, count: int, error: tuple[int, int, str, int]) -> str:
    """The message for a parser's error (row in the block, column, code, detail), after `count` earlier rows."""
    row, column, code, detail = error
    where = _place(path, count + row)
    name = table.columns[column] if 0 <= column < len(table.columns) else "?"
    pixels = f"{table.pixels} whole numbers from 0 to 255, with spaces between"
    sentences = {
        "too-few-columns": f"{detail} of {len(table.columns)} columns; the row, or the whole file, may be cut off",
        "too-many-columns": f"more than {len(table.columns)} columns; remove the extra ones",
        "not-a-number": f"{name} is not a finite number; correct it or leave the cell empty",
        "too-few-pixels": f"{name} has {detail} pixels, expected {pixels}; the row may be cut off",
        "too-many-pixels": f"{name} has more pixels than {table.pixels}, expected {pixels}",
        "pixel-out-of-range": f"{name} has a pixel above 255, expected {pixels}",
        "pixel-not-a-number": f"{name} has a pixel that is not a number, expected {pixels}",
    }
    return f"{where}: {sentences.get(code, code)}"


def _place(path: Path, row: int) -> str:
    return f"{path}, row {row} (line {row + 2})"


def _read_table(path: Path, member: str) -> Table:
    """The columns and the image size, from the first two lines. Raises DataError if they are not Kaggle's."""
    with open_text(path, member) as file:
        try:
            header = _read_line(path, file).decode("utf-8-sig").strip()
            first = _read_line(path, file).decode("ascii", "replace")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not text in UTF-8; save it as UTF-8, as Kaggle's {member} is, or download it again"
            ) from error
    if header.count(",") >= _MAX_COLUMNS:
        raise DataError(f"{path} has more than {_MAX_COLUMNS} columns; expected Kaggle's {member}")
    columns = tuple(next(csv_rows(path, [header]), []))
    if "Image" not in columns or len(set(columns)) != len(columns):
        raise DataError(
            f"{path}: expected a header with the column Image, as in Kaggle's {member}; got {header[:60]!r}"
        )
    cells = next(csv_rows(path, [first]), [])
    pixels = _count(cells[columns.index("Image")]) if len(cells) == len(columns) else 0
    if pixels == 0:
        raise DataError(
            f"{_place(path, 0)}: the column Image holds no pixels; expected Kaggle's {member}, or a"
            " column called image if it names picture files"
        )
    if math.isqrt(pixels) ** 2 != pixels or pixels > _MAX_SIDE**2:
        raise DataError(
            f"{_place(path, 0)}: Image has {pixels} pixels, which is not a square picture of at most {_MAX_SIDE}x{_MAX_SIDE}"
        )
    return Table(columns, columns.index("Image"), pixels)


def _count(cell: str) -> int:
    """The number of words in `cell`; counting stops once there are more than the largest image has pixels."""
    return sum(1 for _ in itertools.islice(re.finditer(r"\S+", cell), _MAX_SIDE**2 + 1))


def _read(path: Path, file: IO[bytes]) -> bytes:
    """The next `_BUFFER` bytes, or fewer at the end. Raises DataError if they cannot be read."""
    try:
        return file.read(_BUFFER)
    except UNREADABLE as error:
        raise DataError(f"{path} is damaged or cut off ({error}); download it again") from error


def _read_line(path: Path, file: IO[bytes]) -> bytes:
    """The next line. Raises DataError if it is too long."""
    line = file.readline(_MAX_LINE)
    if len(line) >= _MAX_LINE:
        raise DataError(f"{path} has a line longer than {_MAX_LINE >> 20} MiB; this is not Kaggle's csv")
    return line


def matches(path: Path) -> bool:
    """Whether `path` is a zip, or a csv with a column Image."""
    if path.suffix.lower() == ".csv":
        return "Image" in first_line(path).replace('"', "").split(",")
    return path.is_file() and (path.suffix.lower() == ".zip" or is_zip(path))


DATASET = Dataset(
    "Kaggle's Facial Keypoints Detection: training.csv, training.zip or the whole zip", matches, open_training
)
