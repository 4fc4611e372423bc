"""Regions of pictures to predict on, and the instances that come of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Box, apply_affine, invert_affine, stretches
from kptool.evaluation import ellipse
from kptool.predict.backends import Output
from kptool.predict.instances import Instance, Shown

NEAR = 0.06
"""A refined crop is not used if it moves the face by less than this share of the model's input size."""
FOLLOWED = 0.03
"""The same for faces that are cut out about their keypoints, as their training images were."""
FRAMED = 0.1
"""A picture that shows its only face within this share of the model's input size of the mean shape is used as it is: it was cut
out like the training images, and turning it upright would only blur it."""


@dataclass(frozen=True)
class Region:
    """A region of a picture to predict on: the picture's number, the instance's box, the map to the model's input, the
    score with which the instance was found, None if it was not searched for, and how far, as a share of the model's input size,
    an instance may lie off before it is cropped again."""

    picture: int
    box: Box
    affine: NDArray[np.float64]
    score: float | None = None
    near: float = NEAR


def instance_of(
    region: Region,
    output: Output,
    i: int,
    off: NDArray[np.float32],
    ellipses: NDArray[np.floating] | None,
    shown: Shown,
) -> Instance:
    """The `i`-th instance in its picture's pixels; `off` (K, 2), pixels of the crop, is subtracted from its points.

    It is NaN for keypoints that no training image had labelled. ellipses: (K, 3), of the model, None if it has none.
    """
    learnt = np.isfinite(off).all(1)
    back = invert_affine(region.affine)
    scale = np.float32(stretches(back[:, :2])[0])
    return Instance(
        box=region.box,
        keypoints=apply_affine(back, output.points[i] - off).astype(np.float32),
        scores=np.where(learnt, output.scores[i], np.float32(0)),
        radius90=np.where(learnt, output.radius90[i] * scale, np.float32(np.nan)),
        affine=region.affine,
        heatmaps=None if output.heatmaps is None else output.heatmaps[i],
        shown=shown,
        score=region.score,
        ellipse90=None if ellipses is None else ellipse.mapped(ellipses, output.radius90[i], back[:, :2]),
    )
