"""Precision, recall, PCK and distances of instances, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from whole_pictures import found, picture

from kptool.evaluation import coco, instances
from kptool.evaluation.coco import FoundInstances, Matches

NAMES = ("head", "tail")


def pair() -> tuple[list, list, list]:
    """Two labelled fish and one without labels; the first is found 1 and 3 pixels off, the second is not; one prediction
    is of the third, one of nothing."""
    truth = picture(
        [[[5, 5], [15, 5]], [[50, 50], [60, 50]], [[90, 90], [90, 90]]], visibility=[[2, 2], [2, 1], [0, 0]], side=20
    )
    places = [[[5, 6], [18, 5]], [[90, 90], [91, 90]], [[200, 200], [210, 200]]]
    matches = Matches(np.array([0, 2, -1]), np.array([True, False, True]))
    return [truth], [found(places, [0.9, 0.8, 0.3], 2)], [matches]


def test_by_hand() -> None:
    """The larger side is 20, so PCK at 0.1 takes up to 2 pixels and at 0.2 up to 4; the missed fish has two labels."""
    measured = instances.measure(*pair(), NAMES)
    assert (measured.instances, measured.found, measured.missed, measured.extra, measured.ignored) == (2, 1, 1, 1, 1)
    assert (measured.precision, measured.recall) == (0.5, 0.5)
    assert measured.pck == {"0.1": 0.25, "0.2": 0.5}
    assert measured.pck_found == {"0.1": 0.5, "0.2": 1.0}
    assert measured.distance == 2
    head, tail = measured.keypoints["head"], measured.keypoints["tail"]
    assert (head.labelled, head.distance, head.pck) == (2, 1, {"0.1": 0.5, "0.2": 0.5})
    assert (tail.labelled, tail.distance, tail.pck) == (2, 3, {"0.1": 0.0, "0.2": 0.5})


def test_without_a_prediction() -> None:
    truth, _, _ = pair()
    matches = [Matches(np.empty(0, np.int64), np.empty(0, bool))]
    none = instances.measure(truth, [found([], [], 2)], matches, NAMES)
    assert (none.found, none.missed, none.extra) == (0, 2, 0)
    assert (none.precision, none.recall, none.distance) == (None, 0, None)
    assert none.pck == {"0.1": 0, "0.2": 0}
    assert none.pck_found == {"0.1": None, "0.2": None}


def test_distances_are_of_visible_labels_and_pck_of_all() -> None:
    truth = picture([[[5, 5], [15, 5]]], visibility=[[2, 1]], side=20)
    measured = instances.measure(
        [truth], [found([[[5, 6], [15, 8]]], [0.9], 2)], [Matches(np.array([0]), np.array([True]))], NAMES
    )
    assert (measured.distance, measured.keypoints["tail"].distance) == (1, None)
    assert measured.pck == {"0.1": 0.5, "0.2": 1.0}


def test_a_keypoint_without_a_position_is_wrong_and_has_no_distance() -> None:
    one = FoundInstances(np.array([[[5, 5], [np.nan, np.nan]]]), np.array([0.9]))
    measured = instances.measure(
        [picture([[[5, 5], [15, 5]]], side=20)], [one], [Matches(np.array([0]), np.array([True]))], NAMES
    )
    assert measured.pck == {"0.1": 0.5, "0.2": 0.5}
    assert (measured.distance, measured.keypoints["tail"].distance) == (0, None)


def test_errors_are_relative_to_the_root_of_the_area() -> None:
    truth = picture([[[5, 5], [15, 5]]], area=400, visibility=[[2, 0]])
    errors = instances.relative_errors(
        [truth], [found([[[5, 9], [0, 0]]], [0.9], 2)], [Matches(np.array([0]), np.array([True]))]
    )
    np.testing.assert_allclose(errors, [[0.2, np.nan]])


def test_precision_and_recall_follow_the_matches_of_coco() -> None:
    truth = [picture([[[5, 5]], [[50, 50]]]), picture([[[5, 5]]])]
    predicted = [found([[[5, 6]], [[5, 5]]], [0.9, 0.5]), found([[[40, 40]]], [0.7])]
    scores = coco.evaluate(truth, predicted, np.array([0.1]))
    measured = instances.measure(truth, predicted, scores.matches, ("head",))
    assert (measured.found, measured.missed, measured.extra) == (1, 2, 2)
    assert measured.recall == pytest.approx(scores.ar50 or 0)
