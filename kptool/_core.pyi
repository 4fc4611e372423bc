"""The C++ core. It checks what would crash it and nothing else: use `kptool.heatmaps` and `kptool.datasets`.

All arrays are C-contiguous, of exactly the stated dtype, and never converted.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

METHODS: tuple[str, ...]

def render(
    centers: NDArray[np.float64],
    sigma: NDArray[np.float64],
    visibility: NDArray[np.uint8] | None,
    window: float,
    out: NDArray[Any],
    threads: int,
) -> None: ...

class Canvas:
    """Redraws `out`, an array of zeros, and remembers what to erase."""

    def __init__(self, out: NDArray[Any]) -> None: ...
    def draw(
        self,
        centers: NDArray[np.float64],
        sigma: NDArray[np.float64],
        visibility: NDArray[np.uint8] | None,
        window: float,
        threads: int,
    ) -> None: ...

def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Like numpy.empty, from memory that is used again where it is large."""

def clear_pool() -> None: ...
def decode(heatmaps: NDArray[Any], method: str, threads: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
def find_peaks(
    heatmaps: NDArray[Any], threshold: float, distance: int, most: int, method: str, threads: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]: ...
def parse_rows(
    data: Buffer,
    columns: int,
    pixel_column: int,
    pixels: int,
    floats: NDArray[np.float64],
    images: NDArray[np.uint8],
    final: bool,
) -> tuple[int, int, tuple[int, int, str, int] | None]:
    """Parse whole lines of `columns` comma-separated fields, each optionally double-quoted.

    floats (rows, columns) gets the numbers, NaN for an empty field and in `pixel_column`; images (rows,
    pixels) gets the integers 0 to 255 of that column, -1 for none. A last line without its end is left unless
    `final`, and so is what the arrays have no room for. Returns the number of rows, the bytes they take, and
    None or the error (row, column, code, detail) of the row after them. Code is one of too-few-columns,
    too-many-columns, not-a-number, too-few-pixels, too-many-pixels, pixel-out-of-range, pixel-not-a-number;
    detail is how many columns or pixels were read before it.
    """

def fletcher32(data: Buffer) -> int:
    """The Fletcher-32 checksum of bytes as in HDF5, but both sums modulo 65535: the second is the upper half."""
