"""How far instances are turned from their usual angle."""

from __future__ import annotations

import numpy as np
import pytest

from kptool.data import shapes

SHAPE = np.array([[0.0, -20], [-6, 10], [7, 12], [0, 4]])


def turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return SHAPE @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + [50, 60]


def test_angles_are_those_that_shapes_were_turned_by() -> None:
    by = np.array([-40.0, -10, 0, 5, 10, 35])
    points = np.stack([turned(each) for each in by])
    seen = np.ones(points.shape[:2], bool)
    assert shapes.turns(points, seen) == pytest.approx(np.abs(by - by.mean()), abs=0.5)
    seen[:, 3] = False
    assert shapes.turns(points, seen) == pytest.approx(np.abs(by - by.mean()), abs=0.5)


def test_a_mirrored_shape_is_not_turned() -> None:
    points = np.stack([turned(each) for each in (-2.0, 0, 1, 2)])
    points[::2, :, 0] = 200 - points[::2, :, 0]
    found = shapes.turns(points, np.ones((4, 4), bool))
    assert found is not None
    assert found.max() < 10
    assert shapes.turns(points, np.zeros((4, 4), bool)) is None


def test_crops_about_their_keypoints_are_told_from_others() -> None:
    rng = np.random.default_rng(3)
    shapes_ = rng.uniform(-1, 1, (40, 5, 2))
    low, high = shapes_.min(1, keepdims=True), shapes_.max(1, keepdims=True)
    scale = 0.7 / ((high - low) / [1, 1.5]).max(2, keepdims=True) * 64
    crops = (shapes_ - (low + high) / 2) * scale + [31.5, 47.5]  # of 64 pixels in width, 96 in height
    labelled = np.ones((40, 5), bool)
    assert shapes.fill(crops, labelled, (96, 64)) == pytest.approx(0.7)
    assert shapes.fill(crops + rng.normal(0, 5, (40, 1, 2)), labelled, (96, 64)) is None
    labelled[:5, 0] = False
    assert shapes.fill(crops, labelled, (96, 64)) is None
    assert shapes.fill(crops[:4], labelled[:4], (96, 64)) is None
