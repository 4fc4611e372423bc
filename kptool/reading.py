"""Reading text files of other people: bounded in size, and with one sentence where they are not what was expected."""

from __future__ import annotations

import csv
import errno
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from kptool.errors import DataError

_LONGEST_FIELD = 1 << 26


def read_text(path: Path, most_bytes: int) -> str:
    """A text file in UTF-8. Raises DataError where it cannot be read, is larger than `most_bytes`, or is no text."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise DataError(f"{path} is larger than {most_bytes >> 20} MiB; kptool reads smaller ones")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; export it again") from None


def read_json(path: Path, most_bytes: int = 1 << 29) -> Any:
    """What a json file holds. Raises DataError where it cannot be read, is larger than `most_bytes`, or is no json."""
    try:
        return json.loads(read_text(path, most_bytes))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid json ({error}); it may be cut off, so export it again") from error


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
    csv.field_size_limit(_LONGEST_FIELD)  # of the process; the usual 128 KiB are less than a large picture's pixels
    reader = csv.reader(lines)
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: not a csv that can be read ({error}); export it again"
        ) from None


def first_line(path: Path) -> str:
    """The first line of a text file, at most 64 KiB of it; empty where there is none, or no text."""
    try:
        with path.open("rb") as file:
            return file.readline(1 << 16).decode("utf-8-sig", "replace").strip()
    except OSError:
        return ""


def looks_like(path: Path, start: bytes) -> bool:
    """Whether a file's first character, blanks aside, is `start`."""
    try:
        with path.open("rb") as file:
            return file.read(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(start)
    except OSError:
        return False


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
