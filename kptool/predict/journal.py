"""A line of JSON per picture, written as soon as it is predicted, so that a run that ends early goes on later.

The first line says by what the predictions were made. Each of several processes writes a file of its own, which the first
one appends to the journal at the end.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from kptool.base.errors import DataError
from kptool.base.geometry import Box
from kptool.base.version import __version__
from kptool.predict.backends import weights_hash
from kptool.predict.output import CONVENTION, PicturePrediction
from kptool.predict.predictor import Predictor
from kptool.system.files import sync
from kptool.system.printable import printable, printable_all
from kptool.system.text import strict_json
from kptool.system.workers import Workers

_PART = "part"


class Journal:
    """Predictions in the file `path`, which is continued if it exists: `done` holds the names of its pictures.

    head: what the predictions depend on, as JSON holds it. names, key: as in `PicturePrediction.describe`. Raises DataError for
    a file that is no journal, one with another head, and where it cannot be written.
    """

    def __init__(
        self, path: Path, head: Mapping[str, Any], names: Sequence[str], key: str, workers: Workers | None = None
    ) -> None:
        self._path, self._head, self._names, self._key = path, dict(head), names, key
        self._workers = workers or Workers()
        self.done = {name for file in (path, *_parts(path)) for name in self._names_in(file)}
        self.added = 0
        world, rank = self._workers.world, self._workers.rank
        own = path if world == 1 else path.with_name(f"{path.name}.{_PART}{rank}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut_to_whole_lines(own)
            self._file = own.open("ab")
        except OSError as error:
            raise self._unwritable(error) from error
        if not self._file.tell():
            self._write(self._head)

    def summary(self) -> str:
        """How many pictures it holds, on rank 0 after `collect`."""
        total = sum(1 for _ in self._names_in(self._path))
        before = f" ({len(self.done)} of them from before)" if self.done else ""
        return f"the predictions for {total} pictures{before}"

    def left(self, pictures: Sequence[str]) -> list[str]:
        """Those pictures of which the journal has nothing yet."""
        return [name for name in pictures if printable(name) not in self.done]

    def add(self, found: PicturePrediction) -> None:
        """Write the instances of a picture."""
        self._write(found.describe(self._names, self._key))
        self.added += 1

    def fail(self, name: str, error: str) -> None:
        """Write why a picture could not be read."""
        self._write({"file": name, "error": error})
        self.added += 1

    def flush(self) -> None:
        """Hand what was written to the system, after which only a crash of the machine can lose it."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def collect(self) -> None:
        """Append the files of all processes to the journal and remove them; call it on rank 0 after all have closed theirs."""
        parts = _parts(self._path)
        if not parts:
            return
        _cut_to_whole_lines(self._path)
        known = set(self._names_in(self._path))
        with self._path.open("ab") as file:
            if not file.tell():
                file.write(_line(self._head))
            for part in parts:
                for line, entry in self._entries(part):
                    if entry.get("file") not in known:
                        known.add(str(entry.get("file")))
                        file.write(line)
        sync(self._path)
        for part in parts:
            part.unlink()

    def close(self) -> None:
        """Make sure that all is on the disk."""
        if self._file.closed:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _write(self, entry: Mapping[str, Any]) -> None:
        try:
            self._file.write(_line(entry))
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"{self._path} cannot be written: {error.strerror or error}; choose another place with --jsonl"
        )

    def _names_in(self, file: Path) -> Iterator[str]:
        return (str(entry.get("file")) for _, entry in self._entries(file))

    def _entries(self, file: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The whole lines of a journal after its first, and what they hold. Raises DataError if they are not of this one."""
        if not file.is_file() or not file.stat().st_size:
            return
        with file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                short = not line.endswith(b"\n")  # a write that was cut short
                if number == 1:
                    self._check(file, self._head if short and _line(self._head).startswith(line) else _parsed(line))
                if short:
                    return
                entry = _parsed(line)
                if number == 1:
                    continue
                if entry is None or "file" not in entry:
                    raise DataError(f"{file}: line {number} is not one of kptool's predictions; choose another --jsonl")
                yield line, entry

    def _check(self, file: Path, head: dict[str, Any] | None) -> None:
        """Raise DataError if the first line is not this journal's."""
        if head is None or "model" not in head:
            raise DataError(f"{file} is not a file of kptool's predictions; choose another --jsonl")
        other = [key for key in self._head if key != "kptool" and head.get(key) != json.loads(_line(self._head))[key]]
        if other:
            was, now = (str(where.get(other[0]))[:80] for where in (head, self._head))
            raise DataError(
                f"{file} holds predictions with another {other[0]} ({was}, now {now}); choose another --jsonl, or delete it"
            )

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def opened(path: Path, predictor: Predictor, boxes: Sequence[Box] | None, workers: Workers) -> Journal:
    """A journal of what `predictor` finds, which is continued only by one with the same weights and options."""
    head = {
        "kptool": __version__,
        "model": predictor.origin,
        "weights": weights_hash(predictor.weights),
        "points": predictor.points,
        "coordinates": CONVENTION,
        "detect": predictor.detect,
        "boxes": None if boxes is None else [list(box) for box in boxes],
        "flip": predictor.flip,
        "min_score": predictor.min_score,
        "find_score": None if predictor.finder is None else predictor.finder.threshold,
    }
    return Journal(path, head, predictor.names, predictor.thing.key, workers)


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(printable_all(entry), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The object that a line holds, None if it holds none."""
    try:
        entry = strict_json(line.decode("utf-8"))
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _parts(path: Path) -> list[Path]:
    """The files of processes beside a journal."""
    pattern = re.compile(re.escape(f"{path.name}.{_PART}") + r"\d+")
    if not path.parent.is_dir():
        return []
    return sorted(each for each in path.parent.iterdir() if pattern.fullmatch(each.name))


def _cut_to_whole_lines(path: Path) -> None:
    """Remove a last line without its end, which a killed process left."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
