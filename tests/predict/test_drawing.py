"""Drawings: marks seen on any background, circles by radius and score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool.base.palette import LEFT, MIDDLE, RIGHT
from kptool.predict import drawing


@dataclass
class Face:
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    radius90: NDArray[np.float32]
    box: tuple[float, float, float, float] = (100.0, 100.0, 300.0, 300.0)


def one(x: float, y: float, score: float = 1.0, radius: float = 60.0) -> Face:
    return Face(np.array([[x, y]], np.float32), np.array([score], np.float32), np.array([radius], np.float32))


@pytest.mark.parametrize("tint", [LEFT, RIGHT, MIDDLE])
@pytest.mark.parametrize("grey", [0, 90, 255])
def test_a_mark_has_its_colour_inside_a_light_and_a_dark_outline(tint: str, grey: int) -> None:
    image = np.full((600, 600), grey, np.uint8)
    drawn = np.asarray(drawing.draw(image, [one(300.0, 300.0)], ["a"], tints=[tint])).astype(int)
    assert drawn[300, 300].tolist() == [int(tint[i : i + 2], 16) for i in (1, 3, 5)]
    around = drawn[285:316, 285:316].reshape(-1, 3)
    assert around.sum(1).min() < 3 * 50
    assert around.sum(1).max() > 3 * 205
    assert (drawn[270:280, 270:280] == grey).all()


def test_a_circle_is_as_wide_as_the_radius_and_fainter_for_a_low_score() -> None:
    image = np.zeros((600, 600), np.uint8)
    faces = {score: [one(250.0, 250.0, score)] for score in (0.1, 0.9)}
    low, high = (
        np.asarray(drawing.draw(image, face, ["a"], tints=[LEFT], circles=True)).astype(int) for face in faces.values()
    )
    plain = np.asarray(drawing.draw(image, faces[0.9], ["a"], tints=[LEFT])).astype(int)
    changed = np.flatnonzero((high != plain).any(-1)[250])
    assert changed.min() == pytest.approx(250 - 60, abs=1)
    assert changed.max() == pytest.approx(250 + 60, abs=1)
    assert 0 < low[250, 225].sum() < high[250, 225].sum()


def test_what_has_no_radius_or_no_position_has_no_circle() -> None:
    image = np.zeros((600, 600), np.uint8)
    for face in (one(250, 250, radius=np.nan), one(np.nan, 250), one(250, 250, radius=0)):
        plain, drawn = (np.asarray(drawing.draw(image, [face], ["a"], circles=each)) for each in (False, True))
        np.testing.assert_array_equal(plain, drawn)
    beyond = drawing.draw(image, [one(-500, 9000, radius=40)], ["a"], circles=True)
    assert beyond.size == (600, 600)
