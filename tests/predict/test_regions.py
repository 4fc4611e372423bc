"""Which region of a picture a model sees."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import synthetic

from kptool import Predictor
from kptool.base.geometry import apply_affine
from kptool.predict import crops


def test_a_picture_cut_like_the_training_images_is_used_as_it_is() -> None:
    """Turning its face upright would only blur it, and tell the model less than where the cut was."""
    picture = synthetic(1)[0][0]
    predictor = Predictor("unet")
    (found,) = predictor.predict(picture)
    assert np.array_equal(found.affine, crops.whole(picture.shape[:2], predictor.card.config.size))
    wide = np.pad(picture, 60, mode="edge")
    (small,) = predictor.predict(wide)
    assert not np.allclose(small.affine, crops.whole(wide.shape[:2], predictor.card.config.size), atol=0.1)
    assert np.abs(small.keypoints - 60 - found.keypoints).mean() < 3


def test_a_model_of_crops_cuts_the_face_out_of_such_a_picture_too() -> None:
    """Its training images were cut out about the keypoints, so a picture that is nearly one of them is not yet one."""
    picture = synthetic(1)[0][0]
    predictor = Predictor("unet")
    assert predictor._aligner is not None
    follower = crops.Follower(0.62, (96, 96), np.ones(15, np.bool_))
    predictor._refiner = crops.FaceFollower(predictor._aligner, follower)
    (found,) = predictor.predict(picture)
    seen = apply_affine(found.affine, found.keypoints)
    assert (seen.max(0) - seen.min(0)).max() == pytest.approx(0.62 * 96, rel=0.03)


def test_a_face_is_cut_out_about_its_keypoints_and_turned_only_if_it_is_tilted() -> None:
    aligner = Predictor("unet")._aligner
    assert aligner is not None
    follower = crops.Follower(0.7, (96, 96), np.ones(15, np.bool_))
    both = crops.FaceFollower(aligner, follower)
    points = aligner.shape * 2 + 40
    assert np.allclose(both.from_keypoints(points), follower.from_keypoints(points))
    for degrees in (-40, -8, 8, 40):
        z = (points[:, 0] + 1j * points[:, 1]) * np.exp(1j * np.radians(degrees))
        seen = apply_affine(both.from_keypoints(np.stack([z.real, z.imag], -1)), np.stack([z.real, z.imag], -1))
        low, high = seen.min(0), seen.max(0)
        assert (high - low).max() == pytest.approx(0.7 * 96, rel=0.01)
        assert (low + high) / 2 == pytest.approx([47.5, 47.5], abs=0.1)
        eyes = seen[0] - seen[1]
        tilt = np.degrees(np.arctan2(eyes[1], eyes[0]))
        assert abs(tilt) == pytest.approx(8 if abs(degrees) == 8 else 0, abs=1)
