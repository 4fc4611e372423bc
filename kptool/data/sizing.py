"""The size of a data set's images where none is stated: as large as instances are in their pictures, within limits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Size
from kptool.data.scenes import Extent

DEFAULT: Size = (128, 128)
"""The size where that of the pictures is unknown."""
LEAST, MOST, MOST_OF_FEW, FEW = 128, 256, 384, 500
"""Limits of the longer side in pixels: the least, the most, and the most for fewer instances than `FEW`."""
_LEAST_KEPT, _STEP = 8, 16
"""Smallest side of pictures that are kept as they are, and what the sides of other images are multiples of, pixels."""
_THINNEST = 0.5
"""Least ratio of a crop's sides: an object is rotated and moved in its image."""
_FITTING = 0.8
"""Share of the instances that fit with their longer side; others are scaled down further, to fit with the shorter one."""


def most(instances: int) -> int:
    """The longest side of images of a data set with this many instances, in pixels: few cost little time at any size."""
    return MOST_OF_FEW if instances < FEW else MOST


def of_pictures(extent: Extent | None, common: Size | None, instances: int) -> Size:
    """(H, W) for pictures that are taken whole. common: their size, if they all have the same, which is kept up to the most."""
    limit = most(instances)
    if common is not None and min(common) >= _LEAST_KEPT and max(common) <= limit:
        return common
    if extent is None:
        return DEFAULT
    return _rounded(min(max(extent.longest, LEAST), limit), extent.aspect)


def of_boxes(edges: NDArray[np.float64], margin: float) -> Size:
    """(H, W) for crops to boxes (n, 4), of which NaN are unknown, with a `margin`: the usual box at the pictures' resolution,
    in a shape that most boxes fit."""
    sides = edges[np.isfinite(edges).all(1), 2:]
    if not len(sides):
        return DEFAULT
    longest = float(np.median(sides.max(1))) * (1 + 2 * margin)
    ratio = sides[:, 1] / sides[:, 0]
    wide = float(np.median(ratio)) <= 1
    most_square = max(_THINNEST, float(np.quantile(ratio if wide else 1 / ratio, _FITTING)))
    aspect = min(1.0, most_square) if wide else max(1.0, 1 / most_square)
    return _rounded(min(max(longest, LEAST), most(len(edges))), aspect)


def _rounded(longest: float, aspect: float) -> Size:
    """(H, W) of the longer side `longest` and of height over width `aspect`, both multiples of 16."""
    height, width = longest * min(1.0, aspect), longest * min(1.0, 1 / aspect)
    tall, wide = (max(2 * _STEP, _STEP * math.ceil(side / _STEP - 0.25)) for side in (height, width))
    return tall, wide
