"""Writing PNG files in background threads, because most of their time is spent waiting for the disk."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.data.png import encode_png

_MAX_PENDING = 8
"""Blocks of images that may wait in memory."""
_WRITERS = 4
"""Threads: each waits for the disk after each image, which then takes those of the others along."""


class ImageWriter:
    """Writes PNG files below `folder`. Leaving the context waits for all of them, and raises the first error."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._pool = folder, ThreadPoolExecutor(_WRITERS)
        self._pending: deque[Future[None]] = deque()

    def write(self, names: list[str], images: NDArray[np.uint8]) -> None:
        """Schedule images (n, H, W) or (n, 3, H, W) to be written as `names`; waits while too many are pending.

        Raises the OSError of an earlier image that could not be written.
        """
        self._pending.append(self._pool.submit(_write_images, self._folder, names, images))
        while len(self._pending) > _MAX_PENDING:
            self._pending.popleft().result()

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for future in self._pending:
                future.result()


def _write_images(folder: Path, names: list[str], images: NDArray[np.uint8]) -> None:
    for name, image in zip(names, images, strict=True):
        with (folder / name).open("wb") as file:
            file.write(encode_png(image if image.ndim == 2 else np.moveaxis(image, 0, -1)))
            file.flush()
            os.fsync(file.fileno())
