"""Keypoints of labels and model: matched by name, or by the features of a face that 68 points surround."""

from __future__ import annotations

import numpy as np
import pytest
from whole_pictures import picture

from kptool.base.errors import DataError
from kptool.base.face68 import PARTS
from kptool.base.skeleton import FACE15, numbered_names
from kptool.evaluation.shared_keypoints import shared


def test_names_in_another_order() -> None:
    same = shared(("head", "fin", "tail"), ("tail", "eye", "head"))
    assert same.names == ("tail", "head")
    labels = same.labels(picture([[[1, 1], [2, 2], [3, 3]]], visibility=[[0, 1, 2]]))
    assert labels.points.tolist() == [[[3, 3], [1, 1]]]
    assert labels.visibility.tolist() == [[2, 0]]
    assert same.predicted(np.array([[[7.0, 7], [8, 8], [9, 9]]])).tolist() == [[[7, 7], [9, 9]]]
    assert same.notes == (
        "the labels' fin is not compared, as the model has none of that name",
        "the model's eye is not compared, as the labels have none of that name",
    )


def test_the_same_names_need_no_note() -> None:
    assert shared(FACE15.names, FACE15.names).notes == ()
    assert shared(numbered_names(68), numbered_names(68)).names == numbered_names(68)


def test_a_face_of_68_points_has_the_15_features() -> None:
    same = shared(numbered_names(68), FACE15.names)
    assert same.names == FACE15.names
    points = np.arange(136, dtype=float).reshape(1, 68, 2)
    seen = np.full((1, 68), 2)
    seen[0, 42] = 0
    labels = same.labels(picture(points.tolist(), visibility=seen.tolist()))
    right = FACE15.names.index("right_eye_center")
    assert labels.points[0, right].tolist() == points[0, list(PARTS["right_eye_center"])].mean(0).tolist()
    assert labels.visibility[0, right] == 2
    assert labels.visibility[0, FACE15.names.index("left_eye_center")] == 0  # one of its points has no label
    assert "44 more are not compared" in same.notes[0]


def test_a_model_of_68_points_on_labels_of_15() -> None:
    same = shared(FACE15.names, numbered_names(68))
    assert same.names == FACE15.names
    assert same.model[FACE15.names.index("nose_tip")] == (30,)


def test_nothing_in_common() -> None:
    with pytest.raises(
        DataError, match=r"the labels have keypoints head and tail, and the model left_eye_center, .* none is"
    ):
        shared(("head", "tail"), FACE15.names)
