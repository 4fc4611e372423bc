"""Letterboxing in torch equals `images.crop` pixel by pixel, and maps points back exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kptool.base.geometry import Size, apply_affine, invert_affine
from kptool.data import images
from kptool.predict import crops
from kptool.predict.letterbox import letterbox

SIZES = [(96, 96), (120, 100), (72, 24), (1, 1), (2, 300), (1200, 90), (97, 96), (192, 288), (480, 640), (2100, 2050)]


def picture(size: Size, channels: int = 1) -> np.ndarray:
    """A smooth picture with noise."""
    rng = np.random.default_rng(sum(size))
    coarse = rng.integers(0, 256, (size[0] // 6 + 2, size[1] // 6 + 2), dtype=np.uint8)
    smooth = np.asarray(images.resized(coarse, size, "L")).astype(int)[..., None]
    return (smooth + rng.integers(-20, 20, (*size, channels))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(96, 96), (64, 48), (40, 130)])
def test_pixels_and_points_are_those_of_a_crop(size: Size, target: Size) -> None:
    one, affine = picture(size)[..., 0], crops.whole(size, target)
    box = letterbox(torch.from_numpy(one)[None, None], target)
    assert np.array_equal(box.images[0, 0].numpy(), images.crop(one, affine, target, 1))
    points = np.random.default_rng(0).uniform(-5, 100, (7, 2))
    expected = apply_affine(invert_affine(affine), points)
    assert np.abs(box.back(torch.from_numpy(points)).numpy() - expected).max() < 1e-3
    assert float(box.scale) == pytest.approx(affine[0, 0])


def test_many_pictures_in_colour() -> None:
    pictures = np.stack([picture((50, 81), 3), picture((50, 81), 3)[::-1]])
    found = letterbox(torch.from_numpy(np.moveaxis(pictures, -1, 1).copy()), (32, 32)).images.numpy()
    affine = crops.whole((50, 81), (32, 32))
    assert np.array_equal(found, np.stack([images.crop(one, affine, (32, 32), 3) for one in pictures]))


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    one = torch.from_numpy(picture((30, 44))[..., 0])[None, None]
    assert torch.equal(letterbox(one, (30, 44)).images, one.float())
