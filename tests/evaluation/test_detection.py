"""Overlaps, suppression, matching and the threshold of found boxes."""

from __future__ import annotations

import numpy as np
import pytest

from kptool.evaluation.detection import Detections, best_threshold, distinct, match, overlaps

BOXES = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [40, 40, 4, 2]], np.float64)


def test_overlap_is_intersection_over_union() -> None:
    expected = [[1, 50 / 150, 0], [50 / 150, 1, 0], [0, 0, 1]]
    assert overlaps(BOXES, BOXES) == pytest.approx(np.array(expected))
    assert overlaps(BOXES, BOXES[:0]).shape == (3, 0)


def test_of_boxes_that_overlap_much_the_best_is_kept() -> None:
    nearly = np.array([*BOXES, [0.5, 0, 10, 10]])
    assert distinct(nearly, np.array([0.5, 0.4, 0.3, 0.9])).tolist() == [3, 1, 2]
    assert distinct(nearly[:0], np.zeros(0)).tolist() == []


def test_each_label_is_found_once_and_crowds_do_not_count() -> None:
    labelled = np.array([[0, 0, 10, 10], [100, 100, 50, 50]], np.float64)
    found = np.array([[0, 0, 10, 9], [3, 0, 10, 9], [105, 105, 10, 10], [300, 300, 10, 10]], np.float64)
    matched = match(found, np.array([0.9, 0.8, 0.7, 0.6]), labelled, np.array([True, False]))
    assert matched.scores.tolist() == [0.9, 0.8, 0.6]  # the third lies in the crowd
    assert matched.right.tolist() == [True, False, False]
    assert matched.labelled == 1
    nothing = match(found[:0], np.zeros(0), labelled, np.array([True, True]))
    assert (nothing.labelled, len(nothing.scores)) == (2, 0)


def test_the_threshold_separates_right_from_wrong() -> None:
    right = Detections(np.array([0.9, 0.5]), np.array([True, True]), 3)
    wrong = Detections(np.array([0.3, 0.2]), np.array([False, False]), 0)
    threshold, measured = best_threshold([right, wrong])
    assert threshold == pytest.approx(0.4)
    assert measured == {"instances": 3, "recall": 2 / 3, "precision": 1.0}
    assert best_threshold([Detections(np.zeros(0), np.zeros(0, bool), 2)])[0] == pytest.approx(0.3)


def test_slivers_are_compared_as_wider_boxes() -> None:
    labelled = np.array([[14.0, 217, 54, 11]])
    found = np.array([[14.0, 208, 55, 35], [90, 40, 54, 11]])
    assert overlaps(found, labelled)[0, 0] < 0.35
    matched = match(found, np.array([0.5, 0.4]), labelled, np.array([True]))
    assert matched.right.tolist() == [True, False]
    small = np.array([[14.0, 208, 20, 10]])
    assert not match(small, np.array([0.5]), labelled, np.array([True])).right.any()
    assert match(np.zeros((0, 4)), np.zeros(0), labelled, np.array([True])).labelled == 1
