"""Slow float64 reference implementation of `kptool.heatmaps.find_peaks`."""

from __future__ import annotations

import numpy as np
from reference import Map, Point, located, middle_pixel


def find_peaks(one: Map, threshold: float, distance: int, method: str) -> list[tuple[Point, float]]:
    """`kptool.heatmaps.find_peaks` for one map (h, w), whose values are fractions of 1: points and scores, all of them."""
    if not np.isfinite(one).all() or one.min() == one.max():
        return []
    height, width = one.shape
    seen = np.zeros(one.shape, bool)
    found: list[tuple[float, tuple[int, int]]] = []
    for y, x in np.ndindex(height, width):
        if seen[y, x] or one[y, x] < threshold:
            continue
        top = _equal_area(one, y, x)
        seen[tuple(np.transpose(top))] = True
        if all(_around(one, row, column, distance).max() == one[y, x] for row, column in top):
            found.append((float(one[y, x]), (y, x)))
    kept: list[tuple[tuple[int, int], tuple[int, int], float]] = []
    for score, first in sorted(found, key=lambda each: (-each[0], each[1])):
        centre = middle_pixel(one, first[1], first[0])
        if not any(other == score and max(np.abs(np.subtract(c, centre))) <= distance for _, c, other in kept):
            kept.append((first, centre, score))
    return [(located(one, first[1], first[0], method), score) for first, _, score in kept]


def _equal_area(one: Map, y: int, x: int) -> list[tuple[int, int]]:
    """The pixels, 4-connected, that are as high as (y, x), as (row, column)."""
    area, pending = {(y, x)}, [(y, x)]
    while pending:
        row, column = pending.pop()
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            inside = 0 <= near[0] < one.shape[0] and 0 <= near[1] < one.shape[1]
            if inside and near not in area and one[near] == one[y, x]:
                area.add(near)
                pending.append(near)
    return sorted(area)


def _around(one: Map, y: int, x: int, distance: int) -> Map:
    window: Map = one[max(y - distance, 0) : y + distance + 1, max(x - distance, 0) : x + distance + 1]
    return window
