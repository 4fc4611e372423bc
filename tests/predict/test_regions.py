"""Which region of a picture a model sees."""

from __future__ import annotations

import numpy as np
from conftest import synthetic

from kptool import Predictor
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
