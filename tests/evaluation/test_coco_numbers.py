"""COCO's numbers and matches, computed by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from whole_pictures import found, picture

from kptool.base.errors import ConfigError
from kptool.evaluation import coco

SIGMA = np.array([0.1])


def test_an_error_of_two_pixels_reaches_three_of_ten_thresholds() -> None:
    """With sigma 0.1 and area 100, OKS = exp(-d² / (2 (2 · 0.1)² · 100)) = exp(-d² / 8): exp(-0.5) = 0.607 for d = 2."""
    scores = coco.evaluate([picture([[[5, 5]]])], [found([[[5, 7]]], [0.9])], SIGMA)
    assert [scores.ap["all"], scores.ar["all"]] == pytest.approx([0.3, 0.3])
    assert [scores.ap50, scores.ap75, scores.ar50, scores.ar75] == pytest.approx([1, 0, 1, 0])
    assert scores.ap["medium"] is scores.ar["large"] is None  # the area is below 32²
    assert scores.matches[0].truth.tolist() == [0]


def test_a_wrong_prediction_before_a_right_one_halves_precision() -> None:
    scores = coco.evaluate([picture([[[5, 5]]])], [found([[[50, 50]], [[5, 5]]], [0.9, 0.8])], SIGMA)
    assert scores.ap50 == pytest.approx(0.5)
    assert scores.ar50 == 1
    assert scores.matches[0].truth.tolist() == [-1, 0]


def test_any_threshold_of_matches_leaves_the_numbers_as_they_are() -> None:
    """exp(-1 / 8) = 0.88 for a distance of 1."""
    truth, predicted = [picture([[[5, 5]]])], [found([[[5, 6]]], [0.9])]
    every = {oks: coco.evaluate(truth, predicted, SIGMA, oks) for oks in (0.2, 0.5, 0.88, 0.89)}
    assert {oks: each.matches[0].truth.tolist() for oks, each in every.items()} == {
        0.2: [0],
        0.5: [0],
        0.88: [0],
        0.89: [-1],
    }
    assert {each.ap["all"] for each in every.values()} == {every[0.5].ap["all"]}


def test_crowds_and_instances_without_labels_count_neither_way() -> None:
    """Three predictions lie in the crowd, one at the instance that has a box only, and one where nothing is."""
    truth = picture(
        [[[5, 5]], [[100, 100]], [[200, 200]]], visibility=[[2], [0], [0]], crowd=[False, True, False], side=20
    )
    places = [[[5, 5]], [[100, 100]], [[101, 101]], [[99, 99]], [[200, 200]], [[300, 300]]]
    scores = coco.evaluate([truth], [found(places, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])], SIGMA)
    assert scores.matches[0].counts.tolist() == [True, False, False, False, False, True]
    assert scores.matches[0].truth.tolist() == [0, 1, 1, 1, 2, -1]
    assert scores.ap["all"] == pytest.approx(1)


def test_no_prediction_at_all() -> None:
    scores = coco.evaluate([picture([[[5, 5]]])], [found([], [])], SIGMA)
    assert (scores.ap["all"], scores.ar["all"]) == (0, 0)
    assert scores.matches[0].truth.tolist() == []


def test_a_picture_with_more_instances_than_coco_counts_raises_the_limit() -> None:
    places = [[[20.0 * i, 0.0]] for i in range(23)]
    both = [picture(places)], [found(places, np.linspace(0.9, 0.1, 23).tolist())]
    assert coco.evaluate(*both, SIGMA).ar["all"] == 1
    assert coco.evaluate(*both, SIGMA).most == 23
    assert coco.evaluate([picture(places[:3])], [found([], [])], SIGMA).most == coco.MOST


def test_beyond_the_limit_predictions_do_not_count_in_coco_but_are_matched() -> None:
    """Twenty wrong ones with better scores."""
    wrong = [[[1000.0 + 20 * i, 0.0]] for i in range(20)]
    scores = coco.evaluate(
        [picture([[[5, 5]]])], [found([*wrong, [[5, 5]]], np.linspace(0.9, 0.1, 21).tolist())], SIGMA
    )
    assert scores.ar["all"] == 0
    assert scores.matches[0].truth.tolist() == [-1] * 20 + [0]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", None)
    with pytest.raises(ConfigError, match=r"needs pycocotools: pip install 'keypoint-toolkit\[coco\]'"):
        coco.require()
