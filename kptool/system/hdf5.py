"""HDF5 files written onto disks that may be full or broken.

libhdf5 crashes as the program ends if ever a write failed under it. So it never hears of one: a file is written through
Python, which remembers the first error, stops writing, and raises it where Python can. For the same reason signals wait:
an exception of theirs, raised while libhdf5 writes, would be lost, and a part of the file with it.
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
    """An HDF5 file to write, in place of what is at `path`. All that is done with it belongs into `writing`."""

    def __init__(self, path: Path, **options: Any) -> None:
        self._disk = _Disk(path)
        with deferred(wait=True):
            super().__init__(self._disk, "w", **options)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Signals wait until the block ends, which then raises Stopped, or the OSError of the first write that failed."""
        with deferred(wait=True):
            yield
        if self._disk.error is not None:
            raise self._disk.error

    def close(self) -> None:
        """Close the file. Raises as `writing` does."""
        with self.writing():
            try:
                super().close()
            finally:
                self._disk.close()


class _Disk:
    """What h5py wants of a file. Once a write has failed, `error` says how, and nothing more is written."""

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
        """What was written, then zeros."""
        size = 0
        while size < len(buffer) and (more := self._file.readinto(buffer[size:])):
            size += more
        buffer[size:] = bytes(len(buffer) - size)
        return len(buffer)

    def flush(self) -> None:
        """Nothing waits in a buffer."""
