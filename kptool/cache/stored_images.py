"""Images that stay in the cache and are read where they are needed, ahead of their use, by threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.cache.chunks import Chunks

READERS = 2
"""Threads that read ahead."""
_WINDOW_BYTES = 256 << 20
LANES = 8
"""The numbers of processes that divide this read no chunk twice, see `kptool.training.order`."""


def window(chunk_bytes: int) -> int:
    """The number of chunks among which a training mixes its images: a multiple of LANES, of about 256 MiB."""
    return LANES * max(1, _WINDOW_BYTES // chunk_bytes // LANES)


@dataclass(frozen=True)
class StoredImages:
    """The images at `index` (N,), ascending, of a dataset's `chunks`: uint8 (N, H, W) or (N, C, H, W).

    Stands for an array of them: it has their length, and `blocks` and `take` read them. Methods raise CacheError for
    damaged chunks.
    """

    chunks: Chunks
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """Memory that all images would take, in bytes."""
        return len(self) * (self.chunks.nbytes // self.chunks.rows)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images at ascending `positions` (n,)."""
        taken: NDArray[np.uint8] = self.chunks.take(self.index[positions])
        return taken

    def all(self) -> NDArray[np.uint8]:
        """All of them, in memory."""
        return self.take(np.arange(len(self)))

    def blocks(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """The images in blocks of `size`, in order."""
        return self.read_ahead([np.arange(a, min(a + size, len(self))) for a in range(0, len(self), size)])

    def read_ahead(self, parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
        """The images at each of the `parts`, positions (n,) in any order; at most two windows of chunks are in memory.

        A chunk is read once as long as its uses are less than a window apart.
        """
        places = [self.index[part] for part in parts]
        needs = [np.unique(place // self.chunks.rows).tolist() for place in places]
        room = 2 * window(self.chunks.nbytes)
        loading: dict[int, Future[NDArray[Any]]] = {}
        last_use: dict[int, int] = {}
        ahead = 0
        with ThreadPoolExecutor(READERS, "kptool-read") as pool:
            try:
                for step, place in enumerate(places):
                    while ahead < len(needs) and (ahead <= step or len(loading) < room):
                        for chunk in needs[ahead]:
                            last_use[chunk] = ahead
                            if chunk not in loading:
                                loading[chunk] = pool.submit(self.chunks.read, chunk)
                        ahead += 1
                    yield np.stack(
                        [loading[p // self.chunks.rows].result()[p % self.chunks.rows] for p in place.tolist()]
                    )
                    for chunk in needs[step]:
                        if last_use[chunk] == step:
                            del loading[chunk], last_use[chunk]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def blocks(images: NDArray[np.uint8] | StoredImages, size: int) -> Iterator[NDArray[np.uint8]]:
    """Images, in memory or not, in blocks uint8 (n, C, H, W) of `size`, in order."""
    if isinstance(images, StoredImages):
        parts = images.blocks(size)
    else:
        parts = (images[start : start + size] for start in range(0, len(images), size))
    for part in parts:
        yield np.ascontiguousarray(part if part.ndim == 4 else part[:, None])
