"""The coordinate convention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kptool import geometry

points = st.lists(st.tuples(st.floats(-50, 200), st.floats(-50, 200)), min_size=1, max_size=5).map(np.array)


def test_half_pixels() -> None:
    """The centre of the first heatmap pixel at stride 2 lies between image pixels 0 and 1."""
    assert geometry.to_heatmap(np.array([0.5]), 2) == 0.0
    assert geometry.to_heatmap(np.array([-0.5]), 4) == -0.5
    assert geometry.from_heatmap(np.array([0.0]), 4) == 1.5


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
