"""Reading untrusted text, JSON, YAML and csv files: bounded in size, with a DataError for anything unexpected."""

from __future__ import annotations

import codecs
import csv
import errno
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError

_MAX_FIELD, _START = 1 << 26, 1 << 16
"""Limit for a cell of a csv in characters, and how much of a file is examined to tell its kind, in bytes."""
_MAX_NESTING = 100
"""Depth of lists and mappings in a YAML file."""
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATOR_LINE = re.compile('"?sep=(.?)"?', re.IGNORECASE)
"""A first line of a csv that states its separator, as Excel understands it."""


def read_text(path: Path, most_bytes: int) -> str:
    """The contents of a text file in UTF-8, or in UTF-16 or UTF-32 if it begins with a byte order mark.

    Raises DataError if it cannot be read, is larger than `most_bytes`, or is not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > most_bytes:
        most = f"{most_bytes >> 20} MiB" if most_bytes >= 1 << 20 else f"{most_bytes >> 10} KiB"
        raise DataError(f"{path} is larger than {most}; kptool reads smaller ones")
    mark, encoding = _encoding(data)
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: len(mark) + error.start].count("\n".encode(encoding)) + 1
        name = encoding.removesuffix("-le").removesuffix("-be").upper()
        raise DataError(
            f"{path}, line {line}: not text in {name}; save it as UTF-8, which Excel calls 'CSV UTF-8'"
        ) from None
    if "\0" in text[:_START]:
        raise DataError(
            f"{path} has zero bytes in it, as text in UTF-16 without a byte order mark has; save it as UTF-8"
        )
    return text


def _encoding(data: bytes) -> tuple[bytes, str]:
    """The byte order mark that `data` begins with and the encoding that it indicates; no mark means UTF-8."""
    return next(((mark, name) for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), (b"", "utf-8"))


def read_json(path: Path, most_bytes: int = 1 << 29) -> Any:
    """The contents of a JSON file. Raises DataError if it is unreadable, larger than `most_bytes`, or invalid."""
    try:
        return json.loads(read_text(path, most_bytes))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid json ({error}); it may be cut off, so export it again") from error


def read_yaml(path: Path, most_bytes: int = 1 << 18) -> Any:
    """The contents of a YAML file. Aliases are refused, because a few nested ones can expand beyond any memory.

    Raises DataError if it is unreadable, larger than `most_bytes`, or invalid.
    """
    import yaml  # slow to import

    text = read_text(path, most_bytes)
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise yaml.YAMLError("it refers to other parts of itself by *name")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_NESTING:  # parsing takes time quadratic in the depth
                raise yaml.YAMLError(f"its lists and mappings are nested more than {_MAX_NESTING} deep")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(f"{path} is not valid yaml ({' '.join(str(error).split())[:120]}); correct it") from None


def strict_json(text: str) -> Any:
    """Parse JSON as kptool writes it. Raises ValueError for invalid JSON, deep nesting and numbers that are not finite."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def csv_rows(path: Path, lines: Iterable[str]) -> Iterator[list[str]]:
    """The cells of each row of `lines`, which come from the csv at `path`. Raises DataError for invalid csv."""
    return (cells for _, cells in _parse(path, lines, ","))


def _parse(path: Path, lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, with the number, from 1, of the line it ends in."""
    csv.field_size_limit(
        _MAX_FIELD
    )  # process-wide; the default of 128 KiB is too small for the pixels of a large image
    reader = csv.reader(lines, delimiter=separator)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a valid csv ({error}); export it again") from None


def read_rows(path: Path, most_bytes: int) -> tuple[list[tuple[int, list[str]]], str]:
    """The rows of a csv that are not empty, each with its line number, and the separator: ``,`` ``;`` or tab.

    Cells are stripped of surrounding whitespace. The separator is the one that a first line ``sep=;`` states (Excel), else
    the most frequent one in the first line. Raises DataError as `read_text` does, and for invalid csv.
    """
    text = read_text(path, most_bytes)
    stated = _SEPARATOR_LINE.fullmatch(re.split("[\r\n]", text[:9], maxsplit=1)[0])
    separator = stated[1] if stated and stated[1] else max(",;\t", key=_first_line(text[:_START]).count)
    rows = []
    for line, cells in _parse(path, io.StringIO(text, newline=""), separator):
        stripped = [cell.strip() for cell in cells]
        if any(stripped) and not (stated and line == 1):
            rows.append((line, stripped))
    complete = not text or text[-1] in "\r\n"
    if len(rows) > 1 and not complete and len(rows[-1][1]) < len(rows[-2][1]):
        raise DataError(
            f"{path}, line {rows[-1][0]}: {len(rows[-1][1])} of {len(rows[-2][1])} columns and no end of line; the"
            " file may be cut off, so export it again"
        )
    return rows, separator


def pad_rows(path: Path, rows: Sequence[tuple[int, list[str]]], width: int) -> tuple[list[list[str]], tuple[str, ...]]:
    """The cells of each row, padded with empty ones to `width`, and a note on the rows that were short.

    Raises DataError for a row with non-empty cells beyond `width`.
    """
    cells, short = [], []
    for line, row in rows:
        if any(row[width:]):
            raise DataError(
                f"{path}, line {line}: {len(row)} cells, but the header has {width}; quote cells that contain a"
                " separator, or remove the extra ones"
            )
        if len(row) < width:
            short.append(line)
        cells.append(row[:width] + [""] * (width - len(row)))
    if not short:
        return cells, ()
    which = f"rows end early, the first in line {short[0]}" if len(short) > 1 else f"row ends early, in line {short[0]}"
    return cells, (f"{len(short)} {which}; missing cells are read as empty",)


def numbers(texts: NDArray[np.object_], comma: bool = False) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`texts` as numbers, NaN for empty ones, and a mask of those that are not finite numbers; both of the same shape.

    `comma`: the comma is not the cells' separator, so it is read as the decimal sign unless a cell contains a point.
    """
    import pandas as pd  # slow to import

    flat = pd.Series(texts.ravel(), dtype=object).str.strip()
    empty = flat.str.lower().isin(["", "nan", "na", "n/a", "#n/a", "none", "null", "<na>"]).to_numpy()
    values = pd.to_numeric(flat, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if comma and not flat.str.contains(".", regex=False).any():
        values = pd.to_numeric(flat.str.replace(",", ".", n=1, regex=False), errors="coerce").to_numpy(np.float64)
    return values.reshape(texts.shape), (~np.isfinite(values) & ~empty).reshape(texts.shape)


def first_line(path: Path) -> str:
    """The first line in the first 64 KiB of a file that is neither blank nor ``sep=;``; empty if there is none."""
    return _first_line(beginning(path))


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and not _SEPARATOR_LINE.fullmatch(line)), "")


def starts_with(path: Path, prefix: str) -> bool:
    """Whether the text of a file, after leading whitespace, begins with `prefix`."""
    return beginning(path).lstrip().startswith(prefix)


def beginning(path: Path) -> str:
    """The first 64 KiB of a text file, decoded according to its byte order mark; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_START)
    except OSError:
        return ""
    mark, encoding = _encoding(data)
    return data[len(mark) :].decode(encoding, "replace")


def exists(path: Path) -> bool:
    """`path.exists()`, but False for a name that no file can have: label files may contain anything."""
    return _false_if_invalid(path.exists)


def is_file(path: Path) -> bool:
    """`path.is_file()`, but False for a name that no file can have."""
    return _false_if_invalid(path.is_file)


def _false_if_invalid(test: Callable[[], bool]) -> bool:
    """The result of `test`, or False if the name has a zero byte (ValueError) or is too long."""
    try:
        return test()
    except ValueError:
        return False
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
