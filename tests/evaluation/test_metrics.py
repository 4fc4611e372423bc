"""Metrics on examples with known values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from kptool.base.errors import DataError
from kptool.base.geometry import invert_affine
from kptool.base.skeleton import FACE15
from kptool.evaluation import metrics


def faces(n: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 70, (n, 15, 2))
    points[:, 3], points[:, 5] = (80.0, 40.0), (30.0, 40.0)  # outer corners 50 pixels apart
    return points


def test_a_constant_error() -> None:
    truth = faces()
    found = metrics.measure(truth + [3.0, 3.9], truth, np.full((4, 15), 2, np.uint8), FACE15.names)
    assert found.rmse == pytest.approx(np.sqrt((9 + 3.9**2) / 2))
    assert found.nme == pytest.approx(np.hypot(3, 3.9) / 50)
    assert found.failure_rate == 1.0
    assert found.auc == 0.0
    assert found.pck == {"0.05": 0.0, "0.1": 1.0, "0.2": 1.0}
    assert found.per_keypoint["nose_tip"] == pytest.approx(found.rmse)
    assert found.normaliser == "outer eye corners"


def test_the_68_points_of_300w_are_measured_by_their_outer_eye_corners() -> None:
    truth = np.random.default_rng(0).uniform(0, 100, (3, 68, 2))
    truth[:, 36], truth[:, 45] = (20.0, 40.0), (80.0, 40.0)
    for names in ([f"p{k:02d}" for k in range(1, 69)], [str(k) for k in range(68)]):
        found = metrics.measure(truth + [3.0, 4.0], truth, np.full((3, 68), 2, np.uint8), names)
        assert found.nme == pytest.approx(5 / 60)
        assert found.normaliser == "outer eye corners"
    assert (
        metrics.measure(truth, truth, np.full((3, 68), 2, np.uint8), [f"p{k}x" for k in range(68)]).normaliser
        == "bounding box"
    )


def test_unlabelled_keypoints_do_not_count() -> None:
    truth = faces()
    found = truth.copy()
    found[:, 10] += 1000.0
    visibility = np.full((4, 15), 2, np.uint8)
    visibility[:, 10] = 0
    measured = metrics.measure(found, truth, visibility, FACE15.names)
    assert measured.rmse == 0.0
    assert measured.nme == 0.0
    assert measured.auc == 1.0


def test_a_keypoint_that_nobody_labelled_has_no_number() -> None:
    truth = faces()
    visibility = np.full((4, 15), 2, np.uint8)
    visibility[:, 10] = 0
    measured = metrics.measure(truth + [1.0, 1.0], truth, visibility, FACE15.names)
    assert measured.per_keypoint.pop(FACE15.names[10]) is None
    assert list(measured.per_keypoint.values()) == pytest.approx([1.0] * 14)
    assert measured.rmse == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_is_no_number_counts_one_way(bad: float) -> None:
    """Infinitely far away: a miss and a failure with no contribution to the AUC; the RMSE is not computed from it."""
    truth = faces(2)
    found = truth.copy()
    found[1, 3, 0] = bad
    seen = np.full((2, 15), 2, np.uint8)
    apart = metrics.distances(found, truth)
    assert apart[1, 3] == math.inf
    assert apart.sum(where=np.isfinite(apart)) == 0
    nme = metrics.image_nme(apart, seen > 0, np.array([50.0, 50.0]))
    assert nme.tolist() == [0.0, math.inf]
    assert metrics.auc(nme) == 0.5
    assert metrics.cumulative_errors(nme)[1].tolist() == [0.5] * 201
    with pytest.raises(
        DataError, match=rf"1 of 30 predictions are not finite numbers \(the first: {FACE15.names[3]} of image 1"
    ):
        metrics.measure(found, truth, seen, FACE15.names)
    seen[1, 3] = 0
    assert metrics.measure(found, truth, seen, FACE15.names).rmse == 0.0


def test_the_mean_shape_is_measured_where_it_has_a_place() -> None:
    points = np.array([[[2.0, 4.0], [9.0, 9.0]], [[4.0, 8.0], [9.0, 9.0]]], np.float32)
    seen = np.array([[2, 0], [2, 2]], np.uint8)
    back = np.broadcast_to(np.eye(2, 3), (2, 2, 3)) * 2
    shape = np.array([[2.0, 4.0], [math.nan, math.nan]])
    truth = metrics.GroundTruth(points, seen, invert_affine(back))
    found = metrics.measure_mean_shape(shape, truth, ("a", "b"), (16, 16))
    assert found is not None
    assert found.rmse == pytest.approx(math.sqrt((0 + 0 + 16 + 64) / 4))
    assert found.per_keypoint == {"a": pytest.approx(found.rmse), "b": None}
    assert metrics.measure_mean_shape(shape * math.nan, truth, ("a", "b"), (16, 16)) is None


def test_images_without_any_label_are_left_out() -> None:
    truth = faces()
    visibility = np.full((4, 15), 2, np.uint8)
    visibility[2] = 0
    assert metrics.measure(truth, truth, visibility, FACE15.names).images == 3
    with pytest.raises(DataError, match="no image has a labelled keypoint"):
        metrics.measure(truth, truth, visibility * 0, FACE15.names)


def test_auc_is_the_area_under_the_curve() -> None:
    nme = np.array([0.0, 0.02, 0.04, 0.2])
    thresholds, share = metrics.cumulative_errors(nme, 20_000)
    assert metrics.auc(nme) == pytest.approx(np.trapezoid(share, thresholds) / metrics.FAILURE, abs=1e-3)
    assert metrics.auc(nme) == pytest.approx((1 + 0.75 + 0.5 + 0) / 4)


def test_other_skeletons_are_normalised_by_their_box() -> None:
    truth = np.array([[[0.0, 0.0], [30.0, 0.0], [0.0, 40.0]]])
    found = metrics.measure(truth + [1.0, 0.0], truth, np.full((1, 3), 2, np.uint8), ("a", "b", "c"))
    assert found.nme == pytest.approx(1 / np.sqrt(30 * 40))
    assert found.normaliser == "bounding box"


def test_a_face_without_eye_corners_falls_back_to_its_box() -> None:
    truth = faces(1)
    visibility = np.full((1, 15), 2, np.uint8)
    visibility[0, 3] = 0
    scale, _ = metrics.normaliser(truth, visibility > 0, FACE15.names)
    sides = np.ptp(np.delete(truth[0], 3, axis=0), axis=0)
    assert scale[0] == pytest.approx(np.sqrt(sides.prod()))


def test_the_outer_eye_corners_count_from_one_pixel_on() -> None:
    """Eye corners that are closer do not indicate a face's size; they may be the only keypoints."""
    names = ("right_eye_outer_corner", "left_eye_outer_corner")
    truth = np.array([[[3.0, 4.0], [4.0, 4.0]], [[3.0, 4.0], [3.9, 14.0]], [[3.0, 4.0], [3.9, 4.0]]], np.float32)
    scale, label = metrics.normaliser(truth, np.ones((3, 2), bool), names)
    assert label == "outer eye corners"
    assert scale.dtype == np.float64
    assert scale.tolist() == pytest.approx([1.0, np.hypot(0.9, 10), 1.0])
    more = np.concatenate([truth, np.full((3, 1, 2), 53.0, np.float32)], axis=1)
    scale, _ = metrics.normaliser(more, np.ones((3, 3), bool), (*names, "chin"))
    assert scale.tolist() == pytest.approx([1.0, np.hypot(0.9, 10), np.sqrt(50 * 49)])


def test_a_box_is_at_least_one_pixel_and_needs_three_labels() -> None:
    corners = [[[0.0, 0.0], [1.5, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.5, 1.0], [0.2, 0.9]]]
    truth = np.array([*corners, [[0.0, 0.0], [9.0, 9.0], [5.0, 5.0]], [[3.0, 3.0]] * 3], np.float32)
    labelled = np.array([[True] * 3, [True] * 3, [True, True, False], [False] * 3])
    scale, _ = metrics.normaliser(truth, labelled, ("a", "b", "c"), np.array([70.0, 71.0, 72.0, 73.0]))
    assert scale.dtype == np.float64
    assert scale.tolist() == pytest.approx([np.sqrt(1.5), 71.0, 72.0, 73.0])


def test_float32_is_added_up_in_float64() -> None:
    third = np.full((1, 3, 2), 1 / 3, np.float32)
    exact = float(third[0, 0, 0])
    labelled = np.ones((1, 3), bool)
    uneven = third * np.array([1.0, 0.1], np.float32)
    x, y = uneven[0, 0].tolist()
    assert metrics.rmse(uneven, labelled) == pytest.approx(math.sqrt((x * x + y * y) / 2), rel=1e-14)
    assert math.isnan(metrics.rmse(third, ~labelled))
    many = np.full((2, 10_000), np.float32(exact))
    nme = metrics.image_nme(many, np.array([[True], [False]]) & (many > 0), np.array([1.0, 1.0]))
    assert nme.dtype == np.float64
    assert nme.tolist() == pytest.approx([exact, math.nan], rel=1e-12, nan_ok=True)  # and without labels, no value
    shape = metrics.mean_shape(np.full((10_000, 1, 2), np.float32(exact)), np.ones((10_000, 1), np.uint8))
    assert shape.dtype == np.float64
    assert shape.tolist() == [pytest.approx([exact, exact], rel=1e-12)]


def test_what_lies_on_a_threshold_is_within() -> None:
    truth, seen = np.array([[[0.0, 0.0], [100.0, 100.0], [50.0, 40.0]]]), np.full((1, 3), 2, np.uint8)
    for distance, level in ((5, "0.05"), (10, "0.1"), (20, "0.2")):
        found = metrics.measure(truth + [distance, 0.0], truth, seen, ("a", "b", "c"))
        assert found.pck[level] == 1.0
    found = metrics.measure(truth + [8.0, 0.0], truth, seen, ("a", "b", "c"))
    assert found.nme == metrics.FAILURE
    assert (found.failure_rate, found.auc) == (0.0, 0.0)


def test_the_cumulative_curve_and_its_ends() -> None:
    thresholds, share = metrics.cumulative_errors(np.array([0.08, 0.0, 0.04]), 2)
    assert thresholds.tolist() == [0.0, 0.04, 0.08]
    assert share.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    thresholds, share = metrics.cumulative_errors(np.array([]))
    assert len(thresholds) == 201
    assert not share.any()
    assert metrics.cumulative_errors(np.array([0.01]))[1][-1] == 1.0
    assert metrics.auc(np.array([])) == 0.0


def test_metrics_are_plain_values_for_json() -> None:
    found = metrics.measure(faces(), faces(), np.full((4, 15), 2, np.uint8), FACE15.names)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict() == vars(found)


def test_mean_shape_is_the_mean_of_what_is_labelled() -> None:
    points = np.array([[[2.0, 4.0]], [[4.0, 8.0]], [[99.0, 99.0]]])
    assert metrics.mean_shape(points, np.array([[2], [1], [0]], np.uint8)).tolist() == [[3.0, 6.0]]
    assert metrics.mean_shape(points, np.array([[0], [0], [1]], np.uint8)).tolist() == [[99.0, 99.0]]
    two = np.repeat(points, 2, axis=1)
    shape = metrics.mean_shape(two, np.array([[2, 0], [1, 0], [0, 0]], np.uint8))
    assert shape[0].tolist() == [3.0, 6.0]
    assert np.isnan(shape[1]).all()


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DataError, match="do not belong together"):
        metrics.measure(faces(3), faces(4), np.full((4, 15), 2, np.uint8), FACE15.names)


@pytest.mark.parametrize("count", [1, 2])
def test_one_point_or_two_are_measured_by_the_images_diagonal(count: int) -> None:
    """They span no box. Images of 60x80, made from pictures of twice and of half their size."""
    truth = np.full((2, count, 2), 20.0) + np.arange(count)[:, None] * [30.0, 0.5]
    back = np.array([np.eye(2, 3) * 2, np.eye(2, 3) / 2])
    spans = metrics.diagonals((60, 80), back)
    assert spans.tolist() == [200, 50]
    found = metrics.measure(truth + [3.0, 4.0], truth, np.full((2, count), 2, np.uint8), ("a", "b")[:count], spans)
    assert found.nme == pytest.approx((5 / 200 + 5 / 50) / 2)
    assert found.normaliser == "image diagonal"


def test_an_image_with_a_single_label_is_measured_by_its_diagonal() -> None:
    truth = np.array([[[0.0, 0.0], [30.0, 0.0], [0.0, 40.0]]])
    scale, label = metrics.normaliser(truth, np.array([[True, False, False]]), ("a", "b", "c"), np.array([70.0]))
    assert (scale.tolist(), label) == ([70.0], "bounding box")
