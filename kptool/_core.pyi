from typing import Any

import numpy as np
from numpy.typing import NDArray

class Patches:
    def __init__(self) -> None: ...
    def redraw_into(
        self,
        centres: NDArray[np.float64],
        visible: NDArray[np.uint8],
        sigma: NDArray[np.float64],
        window: float,
        out: NDArray[Any],
        threads: int,
    ) -> None: ...

def render_into(
    centres: NDArray[np.float64],
    visible: NDArray[np.uint8],
    sigma: NDArray[np.float64],
    window: float,
    out: NDArray[Any],
    threads: int,
) -> None: ...
def decode(maps: NDArray[Any], method: str, threads: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
def parse_rows(
    data: bytes,
    columns: int,
    pixel_column: int,
    pixels: int,
    floats: NDArray[np.float64],
    images: NDArray[np.uint8],
    final: bool,
) -> tuple[int, int, tuple[int, int, str, int] | None]: ...
