"""Reads whole chunks of a cache's dataset past HDF5, whose one lock would make threads wait for each other.

The bytes are read and their checksum is computed without Python's lock either.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5z
from numpy.typing import NDArray

from kptool import _core
from kptool.base.errors import CacheError

_CHECKSUM_BYTES = 4
_MODULUS = 65535


class Chunks:
    """The chunks of an uncompressed dataset of an opened cache, `rows` samples in each.

    Any number of threads may read. Raises CacheError if the dataset is not stored as kptool stores it.
    """

    def __init__(self, path: Path, file: RawFile, dataset: h5py.Dataset) -> None:
        self.rows = int(dataset.chunks[0])
        self.shape, self.dtype = tuple(dataset.shape), dataset.dtype
        self._path, self._file, self._name = path, file, dataset.name
        filters = dataset.id.get_create_plist()
        self._checked = any(filters.get_filter(i)[0] == h5z.FILTER_FLETCHER32 for i in range(filters.get_nfilters()))
        self.nbytes: int = math.prod(dataset.chunks) * self.dtype.itemsize
        """memory that a chunk takes, in bytes"""
        self._stored = self.nbytes + (_CHECKSUM_BYTES if self._checked else 0)
        count, last = math.ceil(len(dataset) / self.rows), file.size - self._stored
        self._offsets: dict[int, int] = {}

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            number, offset = chunk.chunk_offset[0] // self.rows, chunk.byte_offset
            whole = chunk.filter_mask == 0 and chunk.size == self._stored
            if whole and number < count and offset is not None and 0 <= offset <= last:
                self._offsets[number] = offset

        dataset.id.chunk_iter(note)
        if len(self._offsets) != count:
            raise CacheError(
                f"{path}: {self._name} is not stored as kptool stores it; make it again with `kptool extract --force`"
            )

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, chunk: int) -> NDArray[Any]:
        """The samples of a chunk, (n, ...), fewer than `rows` in the last one. Raises CacheError if it is damaged."""
        count = min(self.rows, self.shape[0] - chunk * self.rows)
        stored: NDArray[np.uint8] = np.empty(self._stored, np.uint8)
        complete = self._file.read_into(stored.data, self._offsets[chunk])
        values, end = stored[: self.nbytes], stored[self.nbytes :]
        if not complete or (self._checked and _core.fletcher32(values.data) != _stored_sum(end)):
            first = chunk * self.rows
            raise CacheError(
                f"{self._path}: {self._name} is damaged in chunk {chunk} (samples {first} to {first + count - 1});"
                " make it again with `kptool extract --force`"
            )
        samples: NDArray[Any] = values.view(self.dtype).reshape(-1, *self.shape[1:])[:count]
        return samples

    def take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """The samples at ascending `index` (n,)."""
        taken = np.empty((len(index), *self.shape[1:]), self.dtype)
        begin = 0
        for part in np.split(index, np.flatnonzero(np.diff(index // self.rows)) + 1) if len(index) else ():
            chunk = int(part[0]) // self.rows
            taken[begin : begin + len(part)] = self.read(chunk)[part - chunk * self.rows]
            begin += len(part)
        return taken


class RawFile:
    """The bytes of a file that HDF5 has opened, whatever has become of its name since; any number of threads may read."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self._lock = threading.Lock()
        # Windows has no positioned reads, and no opened file is replaced there.
        self._own = path.open("rb", buffering=0) if sys.platform == "win32" else os.fdopen(_duplicate(file), "rb", 0)
        self.size = os.fstat(self._own.fileno()).st_size

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        """Fill the buffer with what begins at `offset`; False if the file ends before, or cannot be read there."""
        try:
            while len(buffer):
                if sys.platform == "win32":
                    with self._lock:
                        self._own.seek(offset)
                        count = self._own.readinto(buffer)
                else:
                    count = os.preadv(self._own.fileno(), [buffer], offset)
                if not count:
                    return False
                buffer, offset = buffer[count:], offset + count
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        self._own.close()


def _duplicate(file: h5py.File) -> int:
    """A descriptor of the file that HDF5 has opened."""
    return os.dup(file.id.get_vfd_handle())


def _stored_sum(stored: NDArray[np.uint8]) -> int:
    """A checksum as HDF5 stores it, little-endian, with both sums modulo 65535."""
    second, first = divmod(int.from_bytes(stored.tobytes(), "little"), 1 << 16)
    return (second % _MODULUS) << 16 | (first % _MODULUS)
