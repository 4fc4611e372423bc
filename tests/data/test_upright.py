"""Objects at any angle: the shape onto which they are turned, and the maps that turn them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool.base.geometry import apply_affine
from kptool.data import upright

SHAPE = np.array([[0.0, -20], [-8, 10], [8, 10], [0, 24]])
PAIRS = ((1, 2),)


def turned(degrees: float, scale: float = 1.0) -> NDArray[np.float64]:
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return scale * SHAPE @ rotation + [50, 60]


def objects(count: int = 30) -> NDArray[np.float64]:
    rng = np.random.default_rng(1)
    return np.stack([turned(rng.uniform(-180, 180), rng.uniform(0.6, 1.5)) for _ in range(count)])


def test_the_shape_is_upright_by_its_axis_and_fills_the_image() -> None:
    points, labelled = objects(), np.ones((30, 4), bool)
    shape = upright.shape_of(points, labelled, (96, 128), PAIRS)
    assert shape is not None
    assert np.ptp(shape[:, 1]) == pytest.approx(upright.FILLS * 96)
    assert shape[[0, 3], 0] == pytest.approx([63.5, 63.5], abs=0.1)
    assert shape[1, 1] == pytest.approx(shape[2, 1], abs=0.1)
    assert (shape.min(0) + shape.max(0)) / 2 == pytest.approx([63.5, 47.5])


def test_without_pairs_it_has_the_usual_angle() -> None:
    rng = np.random.default_rng(2)
    points = np.stack([turned(30 + rng.normal(0, 8)) for _ in range(40)])
    shape = upright.shape_of(points, np.ones((40, 4), bool), (128, 128), ())
    assert shape is not None
    x, y = shape[3] - shape[0]
    assert np.degrees(np.arctan2(-x, y)) == pytest.approx(30, abs=4)


def test_the_maps_bring_every_object_onto_the_shape() -> None:
    points, labelled = objects(), np.ones((30, 4), bool)
    labelled[3, 1], labelled[4, :2] = False, False  # 4 has too few to be turned
    shape = upright.shape_of(points, labelled, (96, 96), PAIRS)
    assert shape is not None
    maps = upright.maps_onto(np.where(labelled[..., None], points, 0), labelled, shape)
    moved = apply_affine(maps.astype(float), points)
    others = np.arange(30) != 4
    assert np.abs(moved - shape)[others].max() < 0.01
    assert np.isnan(maps[4]).all()
    assert np.isfinite(maps[others]).all()
    small = upright.maps_onto(points / 20, labelled, shape)
    assert np.isnan(small[0]).all()  # enlarged 20 times, it would be a blur
    same = upright.maps_onto(shape[None] + [3, 4], labelled[:1], shape)
    assert same[0] == pytest.approx(np.array([[1, 0, -3], [0, 1, -4]]), abs=1e-4)


def test_too_few_labels_give_no_shape() -> None:
    points = objects()
    labelled = np.ones((30, 4), bool)
    labelled[:, 2:] = False
    assert upright.shape_of(points, labelled, (96, 96), PAIRS) is None
    labelled[:, :3], labelled[:, 3] = True, False
    shape = upright.shape_of(points, labelled, (96, 96), PAIRS)
    assert shape is not None
    assert np.isnan(shape[3]).all()
    assert np.isfinite(shape[:3]).all()
