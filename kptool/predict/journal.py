"""A line of JSON per picture, written as soon as it is predicted, so that a run that ends early goes on later.

The first line says by what the predictions were made. Each of several processes writes a file of its own, which the first
one appends to the journal at the end.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from kptool.base.errors import DataError
from kptool.base.geometry import Box
from kptool.base.version import __version__
from kptool.network.finder_config import finder_beside
from kptool.predict.backends import weights_hash
from kptool.predict.output import CONVENTION, PicturePrediction
from kptool.predict.predictor import Predictor
from kptool.system.files import lock, sync
from kptool.system.printable import printable, printable_all
from kptool.system.text import strict_json
from kptool.system.workers import Workers

_PART = "part"
_MAY_DIFFER = ("kptool", "model")
"""What the first line says and a continuation need not repeat: the weights decide, not their name."""


class Journal:
    """Predictions in the file `path`, which is continued if it exists: `done` holds the names of the pictures in it, but for
    those that could not be read, which are tried again.

    head: what the predictions depend on, as JSON holds it. names, key: as in `PicturePrediction.describe`. Raises DataError for
    a file that is no journal, one with another head, and where it cannot be written, and ConfigError if another run writes it.
    """

    def __init__(
        self, path: Path, head: Mapping[str, Any], names: Sequence[str], key: str, workers: Workers | None = None
    ) -> None:
        self._path, self._head, self._names, self._key = path, dict(head), names, key
        workers = workers or Workers()
        self.done: set[str] = set()
        own = path if workers.world == 1 else path.with_name(f"{path.name}.{_PART}{workers.rank}")
        with self._writing(), ExitStack() as stack:
            path.parent.mkdir(parents=True, exist_ok=True)
            if workers.rank == 0:  # for as long as the run takes, also where the processes write files of their own
                self._lock = stack.enter_context(path.open("ab"))
                lock(self._lock.fileno(), path, "--jsonl")
            for file in (path, *_parts(path)):
                self.done |= {entry["file"] for _, entry in self._entries(file) if "error" not in entry}
            _cut_to_whole_lines(own)
            self._file = stack.enter_context(own.open("ab"))
            if not self._file.tell():
                self._file.write(_line(self._head))
                self._file.flush()
            self._opened = stack.pop_all()

    def left(self, pictures: Sequence[str]) -> list[str]:
        """Those pictures of which the journal has no predictions yet."""
        return [name for name in pictures if printable(name) not in self.done]

    def add(self, found: PicturePrediction) -> None:
        """Write the instances of a picture."""
        self._write(found.describe(self._names, self._key))

    def fail(self, name: str, error: str) -> None:
        """Write why a picture could not be read."""
        self._write({"file": name, "error": error})

    def flush(self) -> None:
        """Hand what was written to the system, after which only a crash of the machine can lose it."""
        with self._writing():
            self._file.flush()

    def finish(self) -> None:
        """Make sure that what was written is on the disk."""
        with self._writing():
            self._file.flush()
            os.fsync(self._file.fileno())

    def collect(self, wanted: Sequence[str]) -> str:
        """Append the files of all processes to the journal and remove them, on rank 0 after all have finished; returns how
        many of the `wanted` pictures it holds, in words. Raises DataError if it lacks one."""
        with self._writing():
            self._file.close()
            parts = _parts(self._path)
            if parts:
                _cut_to_whole_lines(self._path)
                with self._path.open("ab") as file:
                    if not file.tell():
                        file.write(_line(self._head))
                    file.writelines(line for part in parts for line, _ in self._entries(part))
                sync(self._path)
                for part in parts:
                    part.unlink()
            latest = {entry["file"]: "error" in entry for _, entry in self._entries(self._path)}
        lost = [name for name in map(printable, wanted) if name not in latest]
        if lost:
            raise DataError(
                f"{self._path} lacks {len(lost)} of {len(wanted)} pictures, such as {lost[0]}, which another process predicted;"
                " the processes must share its folder; run it again"
            )
        before = sum(name in self.done for name in map(printable, wanted))
        return f"the predictions for {len(wanted)} pictures" + (f" ({before} of them from before)" if before else "")

    def close(self) -> None:
        """Close the file, and let others write it."""
        with self._writing():
            self._opened.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self._writing():
            self._file.write(_line(entry))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise DataError where the file cannot be written."""
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be written: {error.strerror or error}; choose another place with --jsonl"
            ) from error

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
                if number == 1:
                    continue
                entry = _parsed(line)
                if entry is None or not isinstance(entry.get("file"), str):
                    raise DataError(f"{file}: line {number} is not one of kptool's predictions; choose another --jsonl")
                yield line, entry

    def _check(self, file: Path, head: dict[str, Any] | None) -> None:
        """Raise DataError if the first line is not this journal's."""
        if head is None or "weights" not in head:
            raise DataError(f"{file} is not a file of kptool's predictions; choose another --jsonl")
        now = json.loads(_line(self._head))
        other = [key for key in now if key not in _MAY_DIFFER and head.get(key) != now[key]]
        if other:
            was, is_ = (str(where.get(other[0]))[:80] for where in (head, now))
            raise DataError(
                f"{file} holds predictions with another {other[0]} ({was}, now {is_}); choose another --jsonl, or delete it"
            )

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def opened(
    path: Path, predictor: Predictor, boxes: Sequence[Box] | None, wanted: Sequence[str], workers: Workers
) -> Journal:
    """A journal of what `predictor` finds in the `wanted` pictures, which is continued only with the same weights and options,
    and in the same folder if names are relative to it."""
    finder = finder_beside(predictor.weights) if predictor.finder is not None else None
    head = {
        "kptool": __version__,
        "model": predictor.origin,
        "weights": weights_hash(predictor.weights),
        "finder": None if finder is None else weights_hash(finder),
        "folder": None if all(Path(name).is_absolute() for name in wanted) else str(Path.cwd()),
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
