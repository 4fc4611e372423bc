"""Reading text files of other people: bounded in size, and with one sentence where they are not what was expected."""

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

_LONGEST_FIELD, _LOOKED_AT = 1 << 26, 1 << 16
_MOST_NESTED = 100
"""Lists and mappings in each other in a yaml."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with UTF-16's mark, so stands before it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATOR_LINE = re.compile('"?sep=(.?)"?', re.IGNORECASE)
"""What Excel takes, as the first line of a csv, for its separator."""


def read_text(path: Path, most_bytes: int) -> str:
    """A text file in UTF-8, or in UTF-16 or UTF-32 where a byte order mark says so.

    Raises DataError where it cannot be read, is larger than `most_bytes`, or is no text.
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
    if "\0" in text[:_LOOKED_AT]:
        raise DataError(
            f"{path} has zero bytes in it, as text in UTF-16 without a byte order mark has; save it as UTF-8"
        )
    return text


def _encoding(data: bytes) -> tuple[bytes, str]:
    """The byte order mark that `data` begins with, and the encoding that it tells; UTF-8 where there is none."""
    return next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))


def read_json(path: Path, most_bytes: int = 1 << 29) -> Any:
    """What a json file holds. Raises DataError where it cannot be read, is larger than `most_bytes`, or is no json."""
    try:
        return json.loads(read_text(path, most_bytes))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid json ({error}); it may be cut off, so export it again") from error


def read_yaml(path: Path, most_bytes: int = 1 << 18) -> Any:
    """What a yaml file holds, without aliases: a few nested ones stand for more text than any memory holds.

    Raises DataError where it cannot be read, is larger than `most_bytes`, or is no such yaml.
    """
    import yaml  # takes longer to import than most files to read

    text = read_text(path, most_bytes)
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise yaml.YAMLError("it refers to other parts of itself by *name")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_NESTED:  # the time taken grows with the square of the depth
                raise yaml.YAMLError(f"it has lists or mappings in each other, more than {_MOST_NESTED} deep")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(f"{path} is not valid yaml ({' '.join(str(error).split())[:120]}); correct it") from None


def strict_json(text: str) -> Any:
    """What a text in JSON holds that kptool wrote. Raises ValueError for what is none, or has numbers that are not finite."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def csv_rows(path: Path, lines: Iterable[str]) -> Iterator[list[str]]:
    """The cells of each of `lines`, which are of the csv at `path`. Raises DataError where they are no csv."""
    return (cells for _, cells in _parsed(path, lines, ","))


def _parsed(path: Path, lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The number, from 1, of the line that each row ends in, and its cells."""
    csv.field_size_limit(_LONGEST_FIELD)  # of the process; the usual 128 KiB are less than a large picture's pixels
    reader = csv.reader(lines, delimiter=separator)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: not a csv that can be read ({error}); export it again"
        ) from None


def read_rows(path: Path, most_bytes: int) -> tuple[list[tuple[int, list[str]]], str]:
    """The rows of a csv in which something stands, each with its line's number, and the separator: ``,`` ``;`` or tab.

    Cells are without blanks around them. Which separator it is, the first line says: by ``sep=;`` as Excel has it, else
    by what it has most of. Raises DataError as `read_text`, and where the text is no csv.
    """
    text = read_text(path, most_bytes)
    stated = _SEPARATOR_LINE.fullmatch(re.split("[\r\n]", text[:9], maxsplit=1)[0])
    separator = stated[1] if stated and stated[1] else max(",;\t", key=_first_line(text[:_LOOKED_AT]).count)
    rows = []
    for line, cells in _parsed(path, io.StringIO(text, newline=""), separator):
        stripped = [cell.strip() for cell in cells]
        if any(stripped) and not (stated and line == 1):
            rows.append((line, stripped))
    whole = not text or text[-1] in "\r\n"
    if len(rows) > 1 and not whole and len(rows[-1][1]) < len(rows[-2][1]):
        raise DataError(
            f"{path}, line {rows[-1][0]}: {len(rows[-1][1])} of {len(rows[-2][1])} columns, and no end of the line; the"
            " file may be cut off, so export it again"
        )
    return rows, separator


def squared(path: Path, rows: Sequence[tuple[int, list[str]]], width: int) -> tuple[list[list[str]], tuple[str, ...]]:
    """The cells of rows, `width` each, and a note on those that end early: what they lack is empty.

    Raises DataError for a row in which something stands beyond.
    """
    cells, short = [], []
    for line, row in rows:
        if any(row[width:]):
            raise DataError(
                f"{path}, line {line}: {len(row)} cells, and the header has {width}; quote what has a separator in it,"
                " or remove what is too much"
            )
        if len(row) < width:
            short.append(line)
        cells.append(row[:width] + [""] * (width - len(row)))
    if not short:
        return cells, ()
    which = f"rows end early, the first in line {short[0]}" if len(short) > 1 else f"row ends early, in line {short[0]}"
    return cells, (f"{len(short)} {which}; what is missing there is taken as empty",)


def numbers(texts: NDArray[np.object_], comma: bool = False) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Texts as numbers, NaN where empty, and which of them are none.

    `comma`: the comma separates no cells, so it may be the decimal sign, where no point is.
    """
    import pandas as pd  # takes longer to import than most tables to read

    flat = pd.Series(texts.ravel(), dtype=object).str.strip()
    empty = flat.str.lower().isin(["", "nan", "na", "n/a", "#n/a", "none", "null", "<na>"]).to_numpy()
    values = pd.to_numeric(flat, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if comma and not flat.str.contains(".", regex=False).any():
        values = pd.to_numeric(flat.str.replace(",", ".", n=1, regex=False), errors="coerce").to_numpy(np.float64)
    return values.reshape(texts.shape), (~np.isfinite(values) & ~empty).reshape(texts.shape)


def first_line(path: Path) -> str:
    """The first line of a text file in which something stands, of its first 64 KiB; empty where there is none."""
    return _first_line(_start(path))


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and not _SEPARATOR_LINE.fullmatch(line)), "")


def looks_like(path: Path, start: bytes) -> bool:
    """Whether a file's first character, blanks aside, is `start`."""
    return _start(path).lstrip().startswith(start.decode())


def _start(path: Path) -> str:
    """The first 64 KiB of a text file, in the encoding that its byte order mark tells; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_LOOKED_AT)
    except OSError:
        return ""
    mark, encoding = _encoding(data)
    return data[len(mark) :].decode(encoding, "replace")


def exists(place: Path) -> bool:
    """Whether something is there; a name that nothing can have, as label files may hold, is no error."""
    return _asked(place.exists)


def is_file(place: Path) -> bool:
    """Whether there is a file; likewise."""
    return _asked(place.is_file)


def _asked(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except ValueError:
        return False
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
