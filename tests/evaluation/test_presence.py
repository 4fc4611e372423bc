"""Calibrated scores: the fit recovers known curves, and what is measured of it equals its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kptool.evaluation import presence
from kptool.evaluation.presence import Reliability, auc, calibrate, counted_labels, fit, held_out, reason
from kptool.network.presence import FLOOR, Presence


def drawn(count: int, scale: float, shift: list[float], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights (count, K), what is there, drawn with the probabilities of that map, and these."""
    rng = np.random.default_rng(seed)
    heights = rng.uniform(0.02, 1, (count, len(shift))).astype(np.float32)
    odds = scale * np.log(heights) + np.array(shift)
    chance = 1 / (1 + np.exp(-odds))
    return heights, rng.random(heights.shape) < chance, chance


def test_the_fit_recovers_the_curve_of_each_keypoint() -> None:
    heights, there, chance = drawn(4000, 2.0, [1.5, -0.5, 3.0])
    fitted = fit(heights, there, np.ones_like(there))
    assert fitted.scale == pytest.approx(2.0, abs=0.1)
    assert np.allclose(fitted.shift, [1.5, -0.5, 3.0], atol=0.15)
    assert np.abs(fitted.apply(heights) - chance).max() < 0.03


def test_a_keypoint_with_few_labels_takes_the_common_curve() -> None:
    heights, there, _ = drawn(500, 2.0, [1.0, 1.0, 1.0])
    counted = np.ones_like(there)
    counted[3:, 2] = False
    there[:3, 2], heights[:3, 2] = True, 0.9
    fitted = fit(heights, there, counted)
    assert abs(fitted.shift[2] - fitted.shift[:2].mean()) < 1  # three labels alone would give infinity
    counted[:, 2] = False
    assert math.isnan(fit(heights, there, counted).shift[2])


def test_heights_that_say_nothing_give_each_keypoints_own_rate() -> None:
    rng = np.random.default_rng(1)
    there = rng.random((2000, 2)) < [0.3, 0.8]
    for heights in (np.ones((2000, 2)), np.where(there, 0.2, 0.9)):  # constant, and lower where it is there
        fitted = fit(heights, there, np.ones_like(there))
        assert fitted.scale == pytest.approx(0, abs=1e-6)
        assert np.allclose(fitted.apply(heights).mean(0), there.mean(0), atol=0.01)


def test_separable_heights_give_a_finite_curve() -> None:
    there = np.arange(40)[:, None] % 2 == 0
    fitted = fit(np.where(there, 0.8, 0.1), there, np.ones_like(there))
    assert fitted.apply(np.array([[0.8], [0.1]])).ravel() == pytest.approx(
        [21 / 22, 1 / 22], abs=2e-3
    )  # Platt's targets


def test_reliability_is_what_it_is_defined_as() -> None:
    scores, there = np.array([0.1, 0.3, 0.35, 0.8, 1.0]), np.array([False, True, False, True, True])
    found = Reliability.of(scores, there)
    assert found.brier == pytest.approx((0.01 + 0.49 + 0.1225 + 0.04 + 0) / 5)
    assert found.auc == pytest.approx(5 / 6)
    assert found.bins == (
        (1, 0.1, 0.0),
        (2, pytest.approx(0.325), 0.5),
        (0, None, None),
        (0, None, None),
        (2, 0.9, 1.0),
    )
    assert auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert math.isnan(auc(scores, np.ones(5, bool)))


def test_a_calibration_is_better_than_the_heights_on_images_that_it_has_not_seen() -> None:
    heights, there, _ = drawn(200, 3.0, [2.0, 0.0, 4.0, 1.0])
    stored = calibrate(heights, there, np.ones_like(there))
    assert stored is not None
    assert (stored["images"], stored["there"] + stored["absent"]) == (200, 800)
    assert stored["brier"] < 0.9 * stored["height_brier"]
    assert stored["auc"] > stored["height_auc"]
    read = Presence.of({"presence": stored}, 4)
    assert read is not None
    fitted = fit(heights, there, np.ones_like(there))
    assert np.allclose(read.apply(heights), fitted.apply(heights), atol=1e-5)
    fresh, there_too, _ = drawn(4000, 3.0, [2.0, 0.0, 4.0, 1.0], seed=9)
    for count, mean, share in Reliability.of(read.apply(fresh).ravel(), there_too.ravel()).bins:
        assert count > 100
        assert mean == pytest.approx(share, abs=0.06)


def test_held_out_scores_do_not_use_their_own_images() -> None:
    heights, there, _ = drawn(50, 2.0, [1.0, 1.0])
    counted = np.ones_like(there)
    before = held_out(heights, there, counted)
    changed = there.copy()
    changed[:10] = ~changed[:10]  # the first of five parts
    after = held_out(heights, changed, counted)
    assert np.array_equal(before[:10], after[:10])
    assert not np.array_equal(before[10:], after[10:])


def test_too_few_points_give_no_calibration_and_a_reason() -> None:
    heights = np.full((20, 2), 0.5)
    there = np.ones((20, 2), bool)
    there[:9, 0] = False
    everything = np.ones_like(there)
    assert calibrate(heights, there, everything) is None
    assert reason(there, everything, heatmaps=True, held_out=True) == (
        "scores are not calibrated: that takes 10 keypoints with a label and 10 without one in the validation images, and"
        " there are 31 and 9 that count"
    )
    assert "no validation images" in str(reason(there, everything, heatmaps=True, held_out=False))
    assert "predicts coordinates" in str(reason(there, everything, heatmaps=False, held_out=True))
    assert reason(everything, everything, heatmaps=True, held_out=True) is None
    there[9, 0] = False
    assert calibrate(heights, there, everything) is not None


def test_labels_outside_the_image_do_not_count() -> None:
    points = np.array([[[-0.6, 5.0], [4.0, 5.0]], [[0.0, 0.0], [9.6, 2.0]], [[0.0, 0.0], [9.5, 7.5]]])
    labelled = np.array([[True, True], [False, True], [True, True]])
    assert counted_labels(points, labelled, (8, 10), np.array([True, True])).tolist() == [
        [False, True],
        [True, False],  # an unlabelled point counts, wherever the array says it is
        [True, True],
    ]
    assert not counted_labels(points, labelled, (8, 10), np.array([False, False])).any()


@pytest.mark.parametrize(
    "stored",
    [
        None,
        {"scale": 1.0, "shift": [0.0]},
        {"scale": -1.0, "shift": [0.0, 0.0]},
        {"scale": float("nan"), "shift": [0.0, 0.0]},
        {"scale": 1.0, "shift": [None, None]},
        {"scale": 1.0, "shift": ["a", 0.0]},
        {"scale": True, "shift": [0.0, 0.0]},
        {"shift": [0.0, 0.0]},
    ],
)
def test_a_card_with_anything_else_has_no_calibration(stored: object) -> None:
    assert Presence.of({"presence": stored}, 2) is None


def test_applying_the_map() -> None:
    known = Presence(2.0, np.array([math.log(9), math.nan]))
    scores = known.apply(np.array([[1.0, 0.4], [1 / 3, 0.7], [0.0, 0.0]]))
    assert scores[:2].ravel() == pytest.approx([0.9, 0.4, 0.5, 0.7])  # 9 to 1; the second keypoint keeps its height
    assert scores[2].tolist() == pytest.approx([9 * FLOOR**2, 0.0], rel=1e-4)
    assert scores.dtype == np.float32
    assert presence.LEAST == 10
