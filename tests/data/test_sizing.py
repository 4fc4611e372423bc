"""The size of images where none is stated."""

import numpy as np
import pytest

from kptool.data import sizing
from kptool.data.scenes import Extent


def extent(longest: float, aspect: float) -> Extent:
    return Extent(share=0.9, least=0.5, aspect=aspect, longest=longest)


def boxes(*sides: tuple[float, float], count: int = 1) -> np.ndarray:
    return np.array([(10.0, 20.0, *each) for each in sides] * count)


@pytest.mark.parametrize(
    ("longest", "aspect", "count", "size"),
    [
        (960, 1.24, 150, (384, 320)),  # few pictures: larger images
        (960, 1.24, 2000, (256, 208)),
        (300, 0.75, 2000, (192, 256)),
        (40, 1.0, 2000, (128, 128)),  # small pictures of several sizes are enlarged
    ],
)
def test_whole_pictures_are_scaled_to_the_limits(
    longest: float, aspect: float, count: int, size: tuple[int, int]
) -> None:
    assert sizing.of_pictures(extent(longest, aspect), None, count) == size


def test_pictures_of_one_size_up_to_the_limit_are_kept() -> None:
    assert sizing.of_pictures(extent(96, 1), (96, 96), 2000) == (96, 96)
    assert sizing.of_pictures(extent(250, 1), (250, 251), 2000) == (250, 251)
    assert sizing.of_pictures(extent(300, 1), (300, 300), 2000) == (256, 256)
    assert sizing.of_pictures(extent(300, 1), (300, 300), 200) == (300, 300)
    assert sizing.of_pictures(extent(128, 0.05), (6, 128), 200) == (32, 128)  # too thin to be an image
    assert sizing.of_pictures(None, None, 10) == sizing.DEFAULT


def test_crops_have_the_resolution_of_the_pictures() -> None:
    assert sizing.of_boxes(boxes((160, 160)), 0.15) == (208, 208)
    assert sizing.of_boxes(boxes((160, 160), count=600), 0.15) == (208, 208)
    assert sizing.of_boxes(boxes((400, 400), count=600), 0.15) == (256, 256)
    assert sizing.of_boxes(boxes((20, 20)), 0.15) == (128, 128)
    assert sizing.of_boxes(boxes((np.nan, np.nan)), 0.15) == sizing.DEFAULT


def test_crops_have_the_shape_that_most_boxes_fit() -> None:
    long = [(200.0, 110.0)] * 8
    assert sizing.of_boxes(boxes(*long, (200, 150), (200, 190)), 0) == (128, 208)  # 80 % are at most 120 tall
    tall = [(y, x) for x, y in long]
    assert sizing.of_boxes(boxes(*tall, (150, 200), (190, 200)), 0) == (208, 128)
    turning = [(200.0, 60.0), (60.0, 200.0), (140.0, 140.0)]
    assert sizing.of_boxes(boxes(*turning), 0) == (208, 208)


def test_thin_boxes_become_no_strips() -> None:
    assert sizing.of_boxes(boxes((100, 8)), 0.15) == (64, 128)
    assert sizing.of_boxes(boxes((8, 100)), 0.15) == (128, 64)
