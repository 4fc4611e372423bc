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
