"""Coordinate conventions and affine maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kptool.base import geometry

points = st.lists(st.tuples(st.floats(-50, 200), st.floats(-50, 200)), min_size=1, max_size=5).map(np.array)
seeds = st.integers(0, 2**32)
boxes = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 200), st.floats(1, 200))
sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


def homogeneous(affine: np.ndarray) -> np.ndarray:
    """A 2x3 map as a 3x3 matrix."""
    return np.array([*affine.tolist(), [0.0, 0.0, 1.0]])


def random_affines(seed: int, count: int) -> np.ndarray:
    """Random maps (count, 2, 3) with rotation, scaling and translation, none near singular."""
    rng = np.random.default_rng(seed)
    angles, stretch = rng.uniform(-3, 3, (2, count)), rng.uniform(0.3, 3, (count, 2))
    first, second = (np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]).transpose(2, 0, 1) for a in angles)
    return np.concatenate([first * stretch[:, None] @ second, rng.uniform(-50, 50, (count, 2, 1))], axis=-1)


def test_half_pixels() -> None:
    """The centre of the first heatmap pixel at stride 2 lies between image pixels 0 and 1."""
    assert geometry.to_heatmap(np.array([0.5]), 2) == 0.0
    assert geometry.to_heatmap(np.array([-0.5]), 4) == -0.5
    assert geometry.from_heatmap(np.array([0.0]), 4) == 1.5


def test_other_formats_count_from_the_pictures_edge() -> None:
    assert geometry.to_edges(np.array([0.0, -0.5])).tolist() == [0.5, 0.0]
    assert geometry.from_edges(np.array([0.5, 0.0])).tolist() == [0.0, -0.5]
    assert geometry.box_from_edges(0.5, 2.0, 3.0, 4.0) == (0.0, 1.5, 3.0, 4.0)


@given(points, st.integers(1, 16))
def test_stride_round_trip(p: np.ndarray, stride: int) -> None:
    assert np.allclose(geometry.from_heatmap(geometry.to_heatmap(p, stride), stride), p)


@pytest.mark.parametrize(
    ("size", "stride", "expected"), [((96, 96), 2, (48, 48)), ((97, 95), 4, (25, 24)), ((8, 8), 16, (1, 1))]
)
def test_heatmap_size(size: tuple[int, int], stride: int, expected: tuple[int, int]) -> None:
    assert geometry.heatmap_size(size, stride) == expected


@given(st.integers(2, 300))
def test_flip_is_its_own_inverse_and_swaps(width: int) -> None:
    p = np.array([[1.0, 2.0], [width - 3.0, 4.0], [0.0, 0.0]])
    flipped = geometry.flip_points(p, width, [(0, 1)])
    assert np.allclose(flipped[0], [2.0, 4.0])
    assert np.allclose(flipped[2], [width - 1.0, 0.0])
    assert np.allclose(geometry.flip_points(flipped, width, [(0, 1)]), p)


def test_flipping_leaves_the_given_points_as_they_are() -> None:
    """Batches of any shape, read-only input; points without a partner only change sides."""
    p = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    p.flags.writeable = False
    flipped = geometry.flip_points(p, 20, [(2, 0)])
    assert flipped.tolist() == [[[15, 5], [17, 3], [19, 1]], [[9, 11], [11, 9], [13, 7]]]
    assert flipped.dtype == np.float32


@given(points, st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
def test_scaling_maps_edges_to_edges(p: np.ndarray, h: int, w: int, h2: int, w2: int) -> None:
    affine = geometry.scale_affine((h, w), (h2, w2))
    corners = geometry.apply_affine(affine, np.array([[-0.5, -0.5], [w - 0.5, h - 0.5]]))
    assert np.allclose(corners, [[-0.5, -0.5], [w2 - 0.5, h2 - 0.5]])
    assert np.allclose(
        geometry.apply_affine(geometry.invert_affine(affine), geometry.apply_affine(affine, p)), p, atol=1e-6
    )


def test_crop_maps_the_box_to_the_target() -> None:
    affine = geometry.crop_affine((10.0, 20.0, 40.0, 80.0), (96, 48))
    corners = geometry.apply_affine(affine, np.array([[10.0, 20.0], [50.0, 100.0]]))
    assert np.allclose(corners, [[-0.5, -0.5], [47.5, 95.5]])
    whole = geometry.crop_affine((-0.5, -0.5, 30.0, 30.0), (60, 60))
    assert np.allclose(whole, geometry.scale_affine((30, 30), (60, 60)))


def test_affines_apply_image_by_image() -> None:
    affines = np.stack([np.eye(2, 3), 2 * np.eye(2, 3)])
    p = np.array([[[1.0, 2.0]], [[1.0, 2.0]]], dtype=np.float32)
    assert geometry.apply_affine(affines, p).tolist() == [[[1.0, 2.0]], [[2.0, 4.0]]]


@given(seeds, st.integers(1, 4), st.integers(1, 6))
def test_affines_are_what_3x3_matrices_are(seed: int, count: int, keypoints: int) -> None:
    """Applying, inverting and composing maps agree with matrix algebra."""
    first, second = random_affines(seed, count), random_affines(seed + 1, count)
    p = np.random.default_rng(seed).uniform(-50, 200, (count, keypoints, 2))
    there, onward = geometry.apply_affine(first, p), geometry.apply_affine(second, geometry.apply_affine(first, p))
    inverse = geometry.invert_affine(first)
    assert there.dtype == inverse.dtype == np.float64
    for n in range(count):
        a, b = homogeneous(first[n]), homogeneous(second[n])
        assert np.allclose(homogeneous(inverse[n]), np.linalg.inv(a), rtol=1e-12, atol=1e-9)
        for k in range(keypoints):
            point = np.array([*p[n, k], 1.0])
            assert np.allclose(there[n, k], (a @ point)[:2], rtol=1e-12, atol=1e-9)
            assert np.allclose(onward[n, k], (b @ a @ point)[:2], rtol=1e-12, atol=1e-9)


@given(seeds)
def test_points_keep_their_precision(seed: int) -> None:
    """float32 is kept, to within its precision of the float64 result; integers become floating point."""
    affine = random_affines(seed, 1)[0]
    p = np.random.default_rng(seed).uniform(-50, 200, (5, 2)).astype(np.float32)
    exact = geometry.apply_affine(affine, p.astype(np.float64))
    moved = geometry.apply_affine(affine, p)
    assert moved.dtype == np.float32
    assert np.abs(moved - exact).max() <= np.spacing(np.float32(1024))
    whole = geometry.apply_affine(affine, p.astype(np.int64))
    assert np.array_equal(whole, geometry.apply_affine(affine, p.astype(np.int64).astype(np.float64)))


def test_a_singular_map_has_no_inverse() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        geometry.invert_affine(np.zeros((2, 3)))


@given(boxes, sizes, st.floats(0, 1))
def test_a_fitted_box_is_in_the_middle_and_touches_two_sides(
    box: tuple[float, float, float, float], size: tuple[int, int], margin: float
) -> None:
    x, y, width, height = box
    affine = geometry.fit_box(box, size, margin)
    assert affine[0, 0] == pytest.approx(affine[1, 1], rel=1e-9)  # the aspect ratio is kept
    assert affine[0, 1] == affine[1, 0] == 0
    corners = np.array([[x, y], [x + width, y + height]])
    (left, top), (right, bottom) = geometry.apply_affine(affine, corners)
    assert left + right == pytest.approx(size[1] - 1, abs=1e-6)
    assert top + bottom == pytest.approx(size[0] - 1, abs=1e-6)
    shares = np.array([(right - left) / size[1], (bottom - top) / size[0]]) * (1 + 2 * margin)
    assert shares.max() == pytest.approx(1, rel=1e-9)


def test_a_fitted_box_has_no_margin_unless_asked_for() -> None:
    assert np.allclose(geometry.fit_box((10.0, 20.0, 40.0, 80.0), (160, 80)), [[2, 0, -20.5], [0, 2, -40.5]])


@given(seeds, st.integers(2, 9), st.sampled_from([0.01, 100.0]))
def test_a_similarity_is_the_least_squares_solution(seed: int, count: int, size: float) -> None:
    """Equals the least-squares solution for four unknowns: [x -y 1 0; y x 0 1] (a, b, c, d)' = (u, v)'."""
    rng = np.random.default_rng(seed)
    source, target = rng.uniform(0, size, (count, 2)), rng.uniform(0, 100, (count, 2))
    rows = [row for x, y in source for row in ([x, -y, 1, 0], [y, x, 0, 1])]
    a, b, c, d = np.linalg.lstsq(np.array(rows), target.ravel(), rcond=None)[0]
    assert np.allclose(geometry.fit_similarity(source, target), [[a, -b, c], [b, a, d]], rtol=1e-6, atol=1e-4)
    single = geometry.fit_similarity(source.astype(np.float32), target)
    assert np.array_equal(single, geometry.fit_similarity(source.astype(np.float32).astype(np.float64), target))


def test_a_similarity_from_one_place_puts_all_at_the_targets_middle() -> None:
    fitted = geometry.fit_similarity(np.ones((3, 2)), np.array([[0.0, 3.0], [3.0, 0.0], [6.0, 6.0]]))
    assert np.allclose(fitted, [[0, 0, 3], [0, 0, 3]])


@given(seeds)
def test_stretches_are_the_singular_values(seed: int) -> None:
    """Also of mirroring, singular and zero maps, and of similarities, whose longest axis has any direction."""
    linear = random_affines(seed, 6)[:, :, :2]
    linear[1] *= [[1], [-1]]
    linear[2, 1] = 2 * linear[2, 0]
    linear[3], linear[4] = 0, [[2, 3], [-3, 2]]
    longer, shorter, angle = geometry.stretches(linear)
    axes, semi, _ = np.linalg.svd(linear)
    assert np.allclose(np.stack([longer, shorter], -1), semi, atol=1e-12)
    assert ((-np.pi / 2 < angle) & (angle <= np.pi / 2)).all()
    along = np.stack([np.cos(angle), np.sin(angle)], -1)
    assert np.allclose(abs((along * axes[:, :, 0]).sum(-1))[[0, 1, 2, 5]], 1, atol=1e-9)
    assert np.isnan(geometry.stretches(np.full((2, 2), np.nan))).all()
