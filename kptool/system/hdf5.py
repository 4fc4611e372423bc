"""Writing HDF5 files to disks that may be full or failing.

libhdf5 crashes when the program exits if one of its writes has failed. Files are therefore written through a Python file
object that never reports an error to libhdf5: it remembers the first one, stops writing, and `NewFile` raises it later.
Signals are deferred during writes, because libhdf5 would swallow the exception and leave the file incomplete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from kptool.system.signals import deferred


class NewFile(h5py.File):  # type: ignore[misc]
    """A new HDF5 file that replaces the one at `path`. Use it only inside a `writing` block."""

    def __init__(self, path: Path, **options: Any) -> None:
        self._disk = _Disk(path)
        with deferred(wait=True):
            super().__init__(self._disk, "w", **options)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Defer signals until the block ends; then raise Stopped if one arrived, or the OSError of the first failed write."""
        with deferred(wait=True):
            yield
        if self._disk.error is not None:
            raise self._disk.error

    def close(self) -> None:
        """Close the file. Raises what `writing` raises."""
        with self.writing():
            try:
                super().close()
            finally:
                self._disk.close()


class _Disk:
    """The file object that h5py writes to. After the first failed write it keeps the `error` and writes nothing more."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self.error: OSError | None = None
        self.read, self.seek, self.tell = self._file.read, self._file.seek, self._file.tell
        self.close = self._file.close

    def write(self, data: memoryview) -> int:
        size = len(data)
        try:
            while len(data) and self.error is None:
                data = data[os.write(self._file.fileno(), data) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int) -> int:
        try:
            if self.error is None:
                self._file.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from the file, with zeros past its end: where writes failed, the file is shorter than HDF5 assumes."""
        size = 0
        while size < len(buffer) and (more := self._file.readinto(buffer[size:])):
            size += more
        buffer[size:] = bytes(len(buffer) - size)
        return len(buffer)

    def flush(self) -> None:
        """Do nothing: the file is unbuffered."""
