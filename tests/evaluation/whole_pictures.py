"""Labelled pictures without pixels, for tests of evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kptool.data.images import DecodedImage, as_pixels
from kptool.data.truth import LabelledPicture
from kptool.evaluation.coco import FoundInstances


def nothing() -> DecodedImage:
    return as_pixels(np.zeros((8, 8), np.uint8))


def picture(
    points: Sequence[Sequence[Sequence[float]]],
    *,
    area: float = 100.0,
    side: float = 10.0,
    visibility: Sequence[Sequence[int]] | None = None,
    crowd: Sequence[bool] | None = None,
) -> LabelledPicture:
    """A picture with instances (n, K, 2) of one area, in square boxes of one side around their first points."""
    places = np.array(points, np.float64)
    count, k = places.shape[:2]
    seen = np.full((count, k), 2, np.uint8) if visibility is None else np.array(visibility, np.uint8)
    boxes = np.concatenate([places[:, 0] - side / 2, np.full((count, 2), side)], 1)
    return LabelledPicture(
        "a.png",
        places,
        seen,
        boxes,
        np.full(count, area),
        np.zeros(count, bool) if crowd is None else np.array(crowd),
        np.arange(count),
        nothing,
    )


def found(points: Sequence[Sequence[Sequence[float]]], scores: Sequence[float], keypoints: int = 1) -> FoundInstances:
    return FoundInstances(np.array(points, np.float64).reshape(-1, keypoints, 2), np.array(scores, np.float64))
