"""Whole pictures in images of another shape: where their pixels come to lie, and what is beyond them."""

import numpy as np
import pytest

from kptool.base.geometry import Size, fit_box, image_box
from kptool.data import images


@pytest.mark.parametrize(
    ("picture", "size"),
    [((540, 960), (224, 352)), ((301, 200), (256, 192)), ((40, 30), (64, 96)), ((9, 900), (64, 64))],
)
def test_pixels_lie_where_the_map_takes_them(picture: Size, size: Size) -> None:
    affine = fit_box(image_box(picture), size)
    for axis in (0, 1):
        ramp = np.linspace(0, 255, picture[axis])
        shown = np.broadcast_to(ramp[:, None] if axis == 0 else ramp[None], picture).round().astype(np.uint8)
        found = images.fitted(shown, affine, size, 1).astype(float)
        at = (np.arange(size[axis]) - affine[1 - axis, 2]) / affine[1 - axis, 1 - axis]
        expected = np.interp(at, np.arange(picture[axis]), ramp)
        error = found - (expected[:, None] if axis == 0 else expected[None])
        inside = (at >= 1) & (at <= picture[axis] - 2)
        error = error[inside] if axis == 0 else error[:, inside]
        assert error.size == 0 or np.abs(error).max() <= 1.5


def test_borders_are_repeated_and_colour_is_kept() -> None:
    shown = np.zeros((10, 20, 3), np.uint8)
    shown[:, :10], shown[:, 10:] = (200, 0, 50), (0, 100, 0)
    found = images.fitted(shown, fit_box(image_box((10, 20)), (40, 40)), (40, 40), 3)
    assert found.shape == (3, 40, 40)
    assert (found[:, :, 5] == [[200], [0], [50]]).all()
    assert (found[:, :, 35] == [[0], [100], [0]]).all()
    grey = images.fitted(shown, fit_box(image_box((10, 20)), (40, 40)), (40, 40), 1)
    assert grey.shape == (40, 40)
    assert (grey[0] == grey[20]).all()
