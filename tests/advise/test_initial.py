"""Advice on starting from the weights that ship: by keypoint names and the number of images alone."""

from __future__ import annotations

import pytest

from kptool.advise import initial
from kptool.base.skeleton import FACE15, Skeleton


def skeleton(*names: str) -> Skeleton:
    return Skeleton(names, ())


@pytest.mark.parametrize(
    ("known", "names"),
    [
        (15, FACE15),
        (13, skeleton(*(f"p{k:02d}" for k in range(1, 69)))),
        (2, skeleton("nose_tip", "mouth_left_corner", "ear")),
    ],
)
def test_faces_are_recognised_by_their_keypoints(known: int, names: Skeleton) -> None:
    said = initial.advice("unet", names, 25)
    assert said is not None
    assert f"know {known} of the {len(names.names)} keypoints: start from them with `kptool train unet --init" in said


def test_nothing_is_advised_that_was_not_measured_to_help() -> None:
    """More images, other objects (a single common name makes no face), a model without shipped weights."""
    assert initial.advice("unet", FACE15, 201) is None
    assert initial.advice("unet", skeleton("nose_tip", "tail", "paw", "ear"), 25) is None
    assert initial.advice("resnet", FACE15, 25) is None
