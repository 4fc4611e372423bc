"""Reads whole chunks of a cache's dataset past HDF5, whose one lock would make threads wait for each other.

The bytes are read, verified and unpacked without Python's lock either.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5z
from isal import isal_zlib
from numpy.typing import NDArray

from kptool import _core
from kptool.base.errors import CacheError
from kptool.system.processors import READERS

_CHECKSUM_BYTES = 4
_MODULUS = 65535


class Chunks:
    """The chunks of a dataset of an opened cache, `rows` samples in each: with a checksum, compressed, or neither.

    Any number of threads may read. Raises CacheError if the dataset is not stored as kptool stores it.
    """

    def __init__(self, path: Path, file: RawFile, dataset: h5py.Dataset) -> None:
        self.rows = int(dataset.chunks[0])
        self.shape, self.dtype = tuple(dataset.shape), dataset.dtype
        self._path, self._file, self._name = path, file, dataset.name
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        self._packed, self._checked = filters == [h5z.FILTER_DEFLATE], filters == [h5z.FILTER_FLETCHER32]
        self.nbytes: int = math.prod(dataset.chunks) * self.dtype.itemsize
        """memory that a chunk takes, in bytes"""
        stored = self.nbytes + (_CHECKSUM_BYTES if self._checked else 0)
        count = math.ceil(len(dataset) / self.rows)
        self._places: dict[int, tuple[int, int]] = {}

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            number, offset, size = chunk.chunk_offset[0] // self.rows, chunk.byte_offset, chunk.size
            whole = chunk.filter_mask == 0 and (self._packed or size == stored)
            if whole and number < count and offset is not None and 0 <= offset <= file.size - size:
                self._places[number] = offset, size

        dataset.id.chunk_iter(note)
        if len(self._places) != count or not (self._packed or self._checked or not filters):
            raise CacheError(
                f"{path}: {self._name} is not stored as kptool stores it; make it again with `kptool extract --force`"
            )

    def __len__(self) -> int:
        return len(self._places)

    def read(self, chunk: int) -> NDArray[Any]:
        """The samples of a chunk, (n, ...), fewer than `rows` in the last one. Raises CacheError if it is damaged."""
        count = min(self.rows, self.shape[0] - chunk * self.rows)
        samples: NDArray[Any] = np.empty((self.rows, *self.shape[1:]), self.dtype)
        if not self._read_into(samples, chunk):
            first = chunk * self.rows
            raise CacheError(
                f"{self._path}: {self._name} is damaged in chunk {chunk} (samples {first} to {first + count - 1});"
                " make it again with `kptool extract --force`"
            )
        return samples[:count]

    def _read_into(self, samples: NDArray[Any], chunk: int) -> bool:
        """Fill (rows, ...) with a chunk; False if its checksum, or that of the compressed stream, says that it is damaged."""
        offset, size = self._places[chunk]
        values = samples.reshape(-1).view(np.uint8)
        if not self._packed:
            end = np.empty(size - self.nbytes, np.uint8)
            if not (self._file.read_into(values.data, offset) and self._file.read_into(end.data, offset + self.nbytes)):
                return False
            return not self._checked or _core.fletcher32(values.data) == _stored_sum(end)
        stored: NDArray[np.uint8] = np.empty(size, np.uint8)
        if not self._file.read_into(stored.data, offset):
            return False
        try:
            stream = isal_zlib.decompressobj()
            unpacked = stream.decompress(stored.data, self.nbytes + 1)
        except isal_zlib.error:  # type: ignore[misc]  # its stub calls it an instance
            return False
        if len(unpacked) != self.nbytes or not stream.eof:
            return False
        values[:] = np.frombuffer(unpacked, np.uint8)
        return True

    def take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """The samples at ascending `index` (n,), by several threads."""
        taken = np.empty((len(index), *self.shape[1:]), self.dtype)
        parts = np.split(index, np.flatnonzero(np.diff(index // self.rows)) + 1) if len(index) else []
        begins = np.cumsum([0, *map(len, parts)]).tolist()
        threads = min(READERS, len(parts))

        def fill(first: int) -> None:
            """Every `threads`-th part: a task for each would make threads wait for Python's lock between them."""
            for begin, part in zip(begins[first::threads], parts[first::threads], strict=False):
                chunk, target = int(part[0]) // self.rows, taken[begin : begin + len(part)]
                if len(part) != self.rows or not self._read_into(target, chunk):
                    target[:] = self.read(chunk)[part - chunk * self.rows]

        if threads > 1:
            with ThreadPoolExecutor(threads, "kptool-take") as pool:
                deque(pool.map(fill, range(threads)), maxlen=0)
        elif parts:
            fill(0)
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
