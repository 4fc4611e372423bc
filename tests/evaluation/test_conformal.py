"""Conformal radii have the coverage that they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kptool import heatmaps
from kptool.evaluation.conformal import calibrate, coverage, reason
from kptool.network.keypoint_model import heatmap_std


def errors(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances and spreads (count, 3): the second keypoint is harder, and spread reflects each image's difficulty."""
    wide = rng.uniform(0.5, 4, (count, 3))
    distances = np.abs(rng.standard_cauchy((count, 3))) * wide * [1, 5, 1]
    return distances, wide, rng.random((count, 3)) < 0.9


def test_nine_in_ten_lie_within() -> None:
    """Over many calibrations on 60 images, new points are covered 90 % of the time and not much more."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        factors = calibrate(*errors(rng, 60))
        distances, wide, labelled = errors(rng, 200)
        assert None not in factors
        shares.append([coverage(distances[:, [k]], factors[k] * wide[:, [k]], labelled[:, [k]]) for k in range(3)])
    assert np.abs(np.mean(shares, 0) - 0.91).max() < 0.01


def test_too_few_images_give_no_radius() -> None:
    """With 8 images, even the largest error may be below the 90 % quantile."""
    distances, wide = np.ones((9, 2)), np.ones((9, 2))
    labelled = np.ones((9, 2), bool)
    labelled[0, 1] = False
    assert calibrate(distances, wide, labelled) == [1.0, None]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([0.5, 0.8, 0.9]))
def test_the_factor_is_the_least_that_holds_enough(seed: int, count: int, level: float) -> None:
    """The smallest ratio that covers (n + 1) * level of the n ratios; none if even the largest is not enough."""
    distances, wide, labelled = errors(np.random.default_rng(seed), count)
    for k, found in enumerate(calibrate(distances, wide, labelled, level)):
        ratios = [d / s for d, s, seen in zip(distances[:, k], wide[:, k], labelled[:, k], strict=True) if seen]
        enough = math.ceil((len(ratios) + 1) * level)
        expected = [r for r in ratios if sum(other <= r for other in ratios) >= enough]
        assert found == min(expected, default=None)
        if found is None:
            continue
        inside = [d <= found * s for d, s in zip(distances[labelled[:, k], k], wide[labelled[:, k], k], strict=True)]
        share = coverage(distances[:, [k]], found * wide[:, [k]], labelled[:, [k]])
        assert share == pytest.approx(sum(inside) / len(inside), abs=1e-12)


def test_why_there_is_no_radius_is_said() -> None:
    assert reason([1.0, 2.0], ("a", "b"), held_out=True) is None
    assert reason([1.0, None], ("a", "b"), held_out=True) == (
        "a 90 % radius takes 9 validation images in which the keypoint is labelled; there are fewer of b"
    )
    assert "fewer of every keypoint" in str(reason([None, None], ("a", "b"), held_out=True))
    assert reason([1.0, 2.0], ("a", "b"), held_out=False) == (
        "there were no validation images to measure a 90 % radius on"
    )
    assert math.isnan(coverage(np.ones((2, 1)), np.ones((2, 1)), np.zeros((2, 1), bool)))


@pytest.mark.parametrize("sigma", [1.0, 2.5])
def test_the_spread_of_a_gaussian_is_its_sigma(sigma: float) -> None:
    """A squared Gaussian is narrower by sqrt(2), and two axes add up to the original; background hardly counts."""
    maps = torch.from_numpy(heatmaps.render(np.full((1, 1, 2), 30.3), (64, 64), sigma))
    assert heatmap_std(maps).item() == pytest.approx(sigma, rel=1e-3)
    assert heatmap_std(maps + 0.0005).item() < 1.3 * sigma
    assert heatmap_std(torch.zeros(1, 1, 8, 8)).item() == 0.5
