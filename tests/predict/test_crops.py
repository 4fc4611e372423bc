"""Crops: pixels are where the map says, averaged when shrinking; maps invert what was done to a face."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kptool.base.config import ModelConfig
from kptool.base.face68 import LANDMARKS
from kptool.base.geometry import apply_affine, fit_similarity, invert_affine, scale_affine
from kptool.base.skeleton import FACE15
from kptool.data import images
from kptool.network.cards import Card
from kptool.predict import crops


def similarity(scale: float, angle: float, x: float, y: float) -> NDArray[np.float64]:
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


@given(st.floats(0.1, 8), st.floats(-3, 3), st.floats(-50, 50), st.floats(-50, 50), st.integers(0, 99))
def test_fit_similarity_finds_the_map_that_was_applied(s: float, a: float, x: float, y: float, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 96, (7, 2))
    affine = similarity(s, a, x, y)
    assert np.allclose(fit_similarity(points, apply_affine(affine, points)), affine, atol=1e-8)


def test_fit_similarity_of_one_point_is_no_map() -> None:
    assert not fit_similarity(np.ones((3, 2)), np.eye(3, 2))[:, :2].any()


@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0.0), (0.3, 0.0), (0.37, 0.6), (1.7, -0.4), (0.9, 2.0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_crop_of_a_ramp_is_the_ramp_at_the_mapped_places(scale: float, angle: float, axis: int) -> None:
    """Linear resampling reproduces a linear ramp, so its values tell where every pixel came from.

    One pixel is two grey levels; resampling rounds down, by half a level on average. An error of half a pixel would be
    a whole level.
    """
    picture = (2 * np.moveaxis(np.indices((120, 125)), 0, -1)[..., 1 - axis]).astype(np.uint8)
    affine = similarity(scale, angle, 0, 0)
    affine[:, 2] = np.array([9.5, 7.5]) - affine[:, :2] @ np.array([60.3, 58.6])
    crop = images.crop(picture, affine, (16, 20), 1)
    places = np.moveaxis(np.indices((16, 20)), 0, -1)[..., ::-1].reshape(-1, 2).astype(float)
    error = crop.ravel() - 2 * apply_affine(invert_affine(affine), places)[:, axis]
    assert -0.75 < error.mean() < 0.25
    assert error.std() < 0.6


def test_a_crop_of_the_whole_picture_is_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    assert np.array_equal(images.crop(picture, scale_affine((40, 30), (40, 30)), (40, 30), 1), picture)


def test_crops_average_where_they_shrink_and_repeat_beyond_the_edges() -> None:
    checks = (np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)
    small = images.crop(checks, scale_affine((400, 400), (40, 40)), (40, 40), 1)
    assert np.abs(small.astype(int) - 128).max() <= 6
    half = np.zeros((50, 50, 3), np.uint8)
    half[:, 25:] = 200
    wide = images.crop(half, similarity(1, 0, 100, 100), (250, 250), 3)
    assert wide.shape == (3, 250, 250)
    assert (wide[:, :, :100] == 0).all()
    assert (wide[:, :, 160:] == 200).all()


def card(**data: object) -> Card:
    return Card(ModelConfig("unet", FACE15.names, FACE15.flip_pairs), data=dict(data))


SHAPE = np.random.default_rng(1).uniform(20, 76, (15, 2))


def test_the_aligner_brings_keypoints_onto_the_mean_shape() -> None:
    aligner = crops.Aligner.of(card(mean_shape=SHAPE.tolist()))
    assert aligner is not None
    moved = apply_affine(similarity(2.5, 0.7, 40, -10), SHAPE)
    assert np.allclose(apply_affine(aligner.from_keypoints(moved), moved), SHAPE)
    anchors = [FACE15.names.index(name) for name in LANDMARKS]
    assert np.allclose(apply_affine(aligner.from_five_points(moved[anchors]), moved), SHAPE)


def test_a_box_twice_as_large_is_seen_half_as_large() -> None:
    aligner = crops.Aligner.of(card(mean_shape=SHAPE.tolist()))
    assert aligner is not None
    one, two = aligner.from_box((10, 20, 50, 60)), aligner.from_box((10, 20, 100, 120))
    assert np.allclose(one[:, :2], two[:, :2] * 2)


@pytest.mark.parametrize("shape", [None, "text", [[1, 2]], [[float("nan"), 0]] * 15, [["a", "b"]] * 15, {"a": 1}])
def test_there_is_no_aligner_without_a_shape(shape: object) -> None:
    assert crops.Aligner.of(card(mean_shape=shape)) is None


def test_only_faces_are_aligned() -> None:
    other = Card(ModelConfig("unet", ("a", "b"), ()), data={"mean_shape": [[1, 2], [3, 4]]})
    assert crops.Aligner.of(other) is None


def test_sane() -> None:
    assert crops.sane(similarity(1, 0, 0, 0), (96, 96), (96, 96))
    assert not crops.sane(np.zeros((2, 3)), (96, 96), (96, 96))
    assert not crops.sane(similarity(1e-6, 0, 0, 0), (96, 96), (96, 96))
    assert not crops.sane(similarity(1e6, 0, 0, 0), (96, 96), (96, 96))
    assert not crops.sane(similarity(1, 0, 1e5, 0), (96, 96), (96, 96))
    assert not crops.sane(np.full((2, 3), np.nan), (96, 96), (96, 96))


def test_shift_is_zero_for_the_same_map_and_counts_pixels() -> None:
    affine = similarity(2, 0.3, 5, 9)
    moved = affine.copy()
    moved[:, 2] += (3, 4)
    assert crops.shift(affine, affine, SHAPE) == pytest.approx(0)
    assert crops.shift(affine, moved, SHAPE) == pytest.approx(5)


def test_the_landmarks_of_68_numbered_points() -> None:
    """In 300-W's order, the subject's right eye is on the picture's left."""
    shape = np.arange(136, dtype=np.float64).reshape(68, 2)
    for names in ([f"p{k:02d}" for k in range(1, 69)], [str(k) for k in range(68)]):
        weights = crops.five_point_weights(names)
        assert weights is not None
        assert np.allclose(weights.sum(1), 1)
        found = weights @ shape
        assert np.allclose(found[0], shape[36:42].mean(0))
        assert np.allclose(found[1], shape[42:48].mean(0))
        assert np.allclose(found[2:], shape[[30, 48, 54]])
    assert crops.five_point_weights([f"p{k}" for k in range(67)]) is None
    assert crops.five_point_weights([f"{'ab'[k % 2]}{k}" for k in range(68)]) is None


def test_a_box_keeps_its_aspect_and_gets_the_margin_that_the_model_learnt() -> None:
    config = ModelConfig("unet", ("tip",), (), size=(40, 80))
    affine = crops.from_box((10, 20, 20, 20), Card(config, data={"margin": 0.5}))
    assert np.allclose(apply_affine(affine, np.array([[20.0, 30.0]])), [[39.5, 19.5]])
    assert np.allclose(affine[:, :2], np.eye(2))  # 20 pixels, with a margin of the same size, in 40
    for margin in (None, "wide", -1, float("nan"), 1e9):
        plain = crops.from_box((10, 20, 20, 20), Card(config, data={"margin": margin}))
        assert np.allclose(plain[:, :2], 2 * np.eye(2))


def test_objects_are_cut_out_again_about_their_keypoints() -> None:
    config = ModelConfig("unet", ("a", "b", "c"), (), (64, 96))
    assert crops.Follower.of(Card(config, {}, {}, {})) is None
    follower = crops.Follower.of(Card(config, {}, {"fill": 0.8}, {}))
    assert follower is not None
    points = np.array([[100.0, 50], [140, 55], [120, 60]])  # wide: the crop's width is what they fill
    moved = apply_affine(follower.from_keypoints(points), points)
    assert np.ptp(moved[:, 0]) == pytest.approx(0.8 * 96)
    assert (moved.min(0) + moved.max(0)) / 2 == pytest.approx([47.5, 31.5])
    assert np.ptp(follower.shape, axis=0) == pytest.approx([0.8 * 96, 0.8 * 64])
    tall = points[:, ::-1]
    assert np.ptp(apply_affine(follower.from_keypoints(tall), tall)[:, 1]) == pytest.approx(0.8 * 64)
