"""Running a detector over many images, and measuring it where the truth is known.

Errors are reported in the pixels of the source's images, whatever size the cache holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kptool.cache import Cache
from kptool.detector import Detector
from kptool.errors import CheckpointError
from kptool.geometry import apply_affine, invert_affine
from kptool.metrics import Metrics, mean_shape, measure
from kptool.progress import Progress, silent


@dataclass(frozen=True)
class Evaluation:
    """Points (N, K, 2) in source pixels, scores (N, K), and how they compare with the truth."""

    metrics: Metrics
    points: NDArray[np.float32]
    scores: NDArray[np.float32]


def run(
    detector: Detector,
    images: NDArray[np.uint8],
    *,
    flip: bool = False,
    decoder: str | None = None,
    batch_size: int = 64,
    progress: Progress = silent,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points (N, K, 2) in pixels of `images` (N, H, W) or (N, C, H, W), and scores (N, K)."""
    device = next(detector.parameters()).device
    stacked = images if images.ndim == 4 else images[:, None]
    points, scores = [], []
    for start in range(0, len(stacked), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(stacked[start : start + batch_size]))
        found, sure = detector.points(batch.to(device), flip=flip, decoder=decoder)
        points.append(found.numpy())
        scores.append(sure.numpy())
        progress("images", min(start + batch_size, len(stacked)), len(stacked))
    k = len(detector.config.names)
    if not points:
        return np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32)
    return np.concatenate(points), np.concatenate(scores)


def evaluate_arrays(
    detector: Detector,
    images: NDArray[np.uint8],
    truth: NDArray[np.float32],
    visibility: NDArray[np.uint8],
    affines: NDArray[np.float64],
    *,
    flip: bool = False,
    decoder: str | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure on images in memory; `truth` in their pixels, `affines` (N, 2, 3) from source pixels to theirs."""
    points, scores = run(detector, images, flip=flip, decoder=decoder, progress=progress)
    back = invert_affine(affines)
    points, truth = apply_affine(back, points), apply_affine(back, truth)
    return Evaluation(measure(points, truth, visibility, detector.config.names), points.astype(np.float32), scores)


def evaluate_cache(
    detector: Detector,
    cache: Cache,
    *,
    split: str = "val",
    flip: bool = False,
    decoder: str | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure on a split ("train", "val" or "all") of a cache. Raises CheckpointError where they do not fit."""
    config, info = detector.config, cache.info
    if (info.names, info.size, info.channels) != (config.names, config.size, config.channels):
        raise CheckpointError(
            f"the model wants {len(config.names)} keypoints on {config.size} images with {config.channels} channel(s), and"
            f" {cache.path} holds {len(info.names)} on {info.size} with {info.channels}; train on this cache"
        )
    index = cache.index(split)
    arrays = [cache.read(name, index) for name in ("images", "keypoints", "visibility", "affine")]
    return evaluate_arrays(
        detector, arrays[0], arrays[1], arrays[2], arrays[3], flip=flip, decoder=decoder, progress=progress
    )


def mean_shape_baseline(cache: Cache, split: str = "val") -> Metrics:
    """What predicting the training images' mean shape for every image of a split would score: any model must beat it."""
    shape = mean_shape(cache.read("keypoints", cache.index("train")), cache.read("visibility", cache.index("train")))
    index = cache.index(split)
    truth, visibility, affines = (cache.read(name, index) for name in ("keypoints", "visibility", "affine"))
    back = invert_affine(affines)
    guess = np.broadcast_to(shape, truth.shape)
    return measure(apply_affine(back, guess), apply_affine(back, truth), visibility, cache.info.names)


def trained_on(data: dict[str, object], cache: Cache, split: str) -> int:
    """How many images of a split the model with this data card was trained on, as far as its card can tell."""
    rows = data.get("val_rows")
    if data.get("source_sha256") != cache.info.source_sha256 or not isinstance(rows, list):
        return 0
    return int((~np.isin(cache.read("row", cache.index(split)), rows)).sum())
