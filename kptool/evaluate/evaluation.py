"""Running models over many images, and measuring them where the truth is known. Several models are averaged.

Errors are reported in the pixels of the source's images, whatever size the cache holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kptool import plugins
from kptool.base.errors import CheckpointError, ConfigError, DataError
from kptool.base.geometry import apply_affine, invert_affine
from kptool.cache.store import Cache
from kptool.evaluate.conformal import calibrate
from kptool.evaluate.metrics import Metrics, diagonals, distances, mean_shape, measure, measure_mean_shape
from kptool.network import cards
from kptool.network.keypoint_model import KeypointModel
from kptool.system.progress import Progress, silent


@dataclass(frozen=True)
class Predictions:
    """Points (N, K, 2) in pixels, scores (N, K) in 0..1, spreads (N, K) in pixels of the model's images."""

    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    std: NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """What was found, points in source pixels, and how it compares with the truth."""

    metrics: Metrics
    predictions: Predictions
    quantiles: list[float | None]
    """for each keypoint, the 90 % radius as a multiple of the spread, None where too few say it; see `evaluate.conformal`"""

    @property
    def points(self) -> NDArray[np.float32]:
        """Points (N, K, 2) in source pixels."""
        return self.predictions.points


def run(
    models: Sequence[KeypointModel],
    images: NDArray[np.uint8],
    *,
    flip: bool = False,
    decoder: str | None = None,
    batch_size: int = 64,
    progress: Progress = silent,
) -> Predictions:
    """What the models find, on average, in `images` (N, H, W) or (N, C, H, W)."""
    stacked = images if images.ndim == 4 else images[:, None]
    k = len(models[0].config.names)
    points, scores, std = (np.zeros((len(images), k, *last), np.float32) for last in ((2,), (), ()))
    for start in range(0, len(stacked), batch_size):
        part = np.s_[start : start + batch_size]
        batch = torch.from_numpy(np.ascontiguousarray(stacked[part]))
        for model in models:
            device = next(model.parameters()).device
            found = model.points(batch.to(device), flip=flip, decoder=decoder)
            for total, one in zip((points, scores, std), found, strict=True):
                total[part] += one.numpy() / len(models)
        progress("images", min(start + batch_size, len(stacked)), len(stacked))
    return Predictions(points, scores, std)


def finite(found: Predictions) -> Predictions:
    """What was found. Raises CheckpointError where it is no places: weights that are damaged give such."""
    if not np.isfinite(found.points).all():
        raise CheckpointError("the model's weights are damaged: what it finds are no finite numbers; train it again")
    return found


def evaluate_arrays(
    models: Sequence[KeypointModel],
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
    found = run(models, images, flip=flip, decoder=decoder, progress=progress)
    quantiles = calibrate(distances(found.points, truth), found.std, visibility > 0)
    back = invert_affine(affines)
    points = apply_affine(back, found.points).astype(np.float32)
    spans = diagonals(models[0].config.size, back)
    metrics = measure(points, apply_affine(back, truth), visibility, models[0].config.names, spans)
    return Evaluation(metrics, Predictions(points, found.scores, found.std), quantiles)


def evaluate_cache(
    models: Sequence[KeypointModel],
    cache: Cache,
    *,
    split: str = "val",
    flip: bool = False,
    decoder: str | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure on a split ("train", "val" or "all") of a cache. Raises CheckpointError where they do not fit."""
    info = cache.info
    if decoder is not None:
        plugins.load_decoder(decoder)
        _require_heatmaps(models, decoder)
    for config in (model.config for model in models):
        cards.warn_unflipped(config, flip)
    for config in (model.config for model in models):
        if (info.names, info.size, info.channels) == (config.names, config.size, config.channels):
            continue
        raise CheckpointError(
            f"the model wants {len(config.names)} keypoints on {config.size} images with {config.channels} channel(s), and"
            f" {cache.path} holds {len(info.names)} on {info.size} with {info.channels}; train on this cache"
        )
    index = samples(cache, split)
    arrays = [cache.read(name, index) for name in ("images", "keypoints", "visibility", "affine")]
    found = evaluate_arrays(
        models, arrays[0], arrays[1], arrays[2], arrays[3], flip=flip, decoder=decoder, progress=progress
    )
    return Evaluation(found.metrics, finite(found.predictions), found.quantiles)


def _require_heatmaps(models: Sequence[KeypointModel], decoder: str) -> None:
    """Raise ConfigError where a decoder was asked for and a model has nothing to decode."""
    for model in models:
        if model.plugin.output != "heatmap":
            raise ConfigError(
                f"{model.config.model} predicts coordinates and has no heatmaps, so decoder {decoder!r} has nothing to"
                " read; leave --decoder away"
            )


def samples(cache: Cache, split: str) -> NDArray[np.int64]:
    """The samples of a split. Raises DataError where it has none: there is nothing to measure on."""
    index = cache.index(split)
    if not len(index):
        what, other = ("validation", "train") if split == "val" else ("training", "val")
        raise DataError(
            f"{cache.path} has no {what} images to measure on; say --split {other}, or extract again with --val 0.1"
        )
    return index


def mean_shape_baseline(cache: Cache, split: str = "val") -> Metrics | None:
    """What predicting the training images' mean shape for every image of a split would score: any model must beat it.

    None where the training images have no label of what the split's have.
    """
    train, index = cache.index("train"), samples(cache, split)
    shape = mean_shape(cache.read("keypoints", train), cache.read("visibility", train))
    truth, visibility, affines = (cache.read(name, index) for name in ("keypoints", "visibility", "affine"))
    return measure_mean_shape(shape, truth, visibility, cache.info.names, cache.info.size, invert_affine(affines))


def trained_on(data: dict[str, object], cache: Cache, split: str) -> int:
    """How many images of a split the model with this data card was trained on, as far as its card can tell."""
    rows = data.get("val_rows")
    if data.get("source_sha256") != cache.info.source_sha256 or not isinstance(rows, list):
        return 0
    return int((~np.isin(cache.read("row", cache.index(split)), rows)).sum())
