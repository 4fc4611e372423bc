"""Confidence intervals of the RMSE: they cover the truth as often as they say, and know of groups."""

from __future__ import annotations

import numpy as np
import pytest

from kptool.evaluation import bootstrap
from kptool.evaluation.bootstrap import rmse_intervals

NAMES = ("a", "b")


def test_an_interval_is_that_of_the_mean_square() -> None:
    """For many independent errors, the root mean square is normal with a variance known in closed form."""
    errors = np.random.default_rng(1).normal(0, 2, (400, 2, 2))
    found = rmse_intervals(errors, np.ones((400, 2), bool), np.full(400, -1), NAMES)
    rms = np.sqrt(np.mean(errors**2))
    by_image = np.sqrt((errors**2).mean((1, 2)))
    half = 1.96 * np.std(by_image**2) / np.sqrt(400) / (2 * rms)
    assert found.rmse == pytest.approx((rms - half, rms + half), rel=0.01)
    assert (found.groups, found.grouped) == (400, False)
    assert found == rmse_intervals(errors, np.ones((400, 2), bool), np.full(400, -1), NAMES)
    assert "bootstrap over 400 images, 2000 draws, seed 0" in found.words()


def test_copies_in_a_group_do_not_narrow_the_interval() -> None:
    errors = np.random.default_rng(2).normal(0, 1, (30, 2, 2))
    once = rmse_intervals(errors, np.ones((30, 2), bool), np.arange(30), NAMES)
    copied = rmse_intervals(np.repeat(errors, 9, 0), np.ones((270, 2), bool), np.repeat(np.arange(30), 9), NAMES)
    assert once.rmse is not None
    assert copied.rmse == pytest.approx(once.rmse)
    assert copied.grouped
    assert "over 30 groups of images" in copied.words()


def test_what_is_not_known_has_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = np.ones((6, 2, 2))
    labelled = np.ones((6, 2), bool)
    labelled[:, 1] = False
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 7)
    found = rmse_intervals(errors, labelled, np.full(6, -1), NAMES)
    assert found.rmse == (1, 1)
    assert found.per_keypoint == {"a": (1, 1), "b": None}
    few = rmse_intervals(errors, labelled, np.array([0, 0, 1, 1, 2, 2]), NAMES)
    assert few.rmse is None
    assert few.words() == "No confidence intervals: there are only 3 groups of images."
