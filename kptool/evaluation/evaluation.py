"""Runs models over images and measures them where labels are known. The predictions of several models are averaged.

Errors are reported in pixels of the source images, whatever size the cache holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kptool import plugins
from kptool.base.config import ModelConfig
from kptool.base.errors import CheckpointError, ConfigError, DataError
from kptool.base.geometry import apply_affine
from kptool.cache.store import Cache, Info
from kptool.cache.stored_images import StoredImages, blocks
from kptool.evaluation import ellipse
from kptool.evaluation.conformal import Coverage, calibrate, cross_coverage
from kptool.evaluation.metrics import (
    GroundTruth,
    Metrics,
    diagonals,
    distances,
    image_nme,
    mean_shape,
    measure,
    measure_mean_shape,
    normaliser,
)
from kptool.network import cards
from kptool.network.keypoint_model import DEFAULT_INFERENCE, Inference, KeypointModel
from kptool.system.progress import Progress, silent


@dataclass(frozen=True)
class Predictions:
    """Points (N, K, 2) in pixels, scores (N, K) in 0..1, spreads `std` (N, K) in pixels of the model's images."""

    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    std: NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """Predictions with points in source pixels, and their metrics."""

    metrics: Metrics
    predictions: Predictions
    quantiles: list[float | None]
    """each keypoint's 90 % radius as a multiple of the spread, None with too few labels; see `evaluation.conformal`"""
    ellipses: list[ellipse.Ellipse | None]
    """each keypoint's 90 % ellipse where its errors are not round; see `evaluation.ellipse`"""
    distances: NDArray[np.floating[Any]]
    """(N, K) from predictions to labels, in pixels of the model's images, as the spreads are"""

    @property
    def points(self) -> NDArray[np.float32]:
        """Points (N, K, 2) in source pixels."""
        return self.predictions.points


def run(
    models: Sequence[KeypointModel],
    images: NDArray[np.uint8] | StoredImages,
    inference: Inference = DEFAULT_INFERENCE,
    *,
    batch_size: int = 64,
    progress: Progress = silent,
) -> Predictions:
    """The models' average predictions for `images` (N, H, W) or (N, C, H, W) of their size, in pixels of these."""
    k = len(models[0].config.names)
    points, scores, std = (np.zeros((len(images), k, *last), np.float32) for last in ((2,), (), ()))
    for start, block in zip(range(0, len(images), batch_size), blocks(images, batch_size), strict=True):
        part = np.s_[start : start + batch_size]
        batch = torch.from_numpy(block)
        for model in models:
            device = next(model.parameters()).device
            found = model.points(batch.to(device), inference)
            for total, one in zip((points, scores, std), found, strict=True):
                total[part] += one.numpy() / len(models)
        progress("images", min(start + batch_size, len(images)), len(images))
    return Predictions(points, scores, std)


def require_finite(found: Predictions) -> Predictions:
    """The predictions. Raises CheckpointError where a point is not finite, as damaged weights make it."""
    if not np.isfinite(found.points).all():
        raise CheckpointError("the model's weights are damaged: its predictions are not finite; train it again")
    return found


def require_fit(config: ModelConfig, cache: Cache, model: str = "the model") -> None:
    """Raise CheckpointError where a model has other keypoints or another image size or channels than a cache.

    `model` names it in the message.
    """
    info = cache.info
    if (info.names, info.size, info.channels) == (config.names, config.size, config.channels):
        return
    other = next((f", {a!r} where it has {b!r}" for a, b in zip(info.names, config.names, strict=False) if a != b), "")
    raise CheckpointError(
        f"{model} expects {_inputs(config)}, and {cache.path} holds {_inputs(info)}{other}; give a model that was trained"
        " on this cache, or train one"
    )


def _inputs(what: ModelConfig | Info) -> str:
    height, width = what.size
    return f"{len(what.names)} keypoints on {width}x{height} images with {what.channels} channel(s)"


def evaluate_arrays(
    models: Sequence[KeypointModel],
    images: NDArray[np.uint8] | StoredImages,
    truth: GroundTruth,
    inference: Inference = DEFAULT_INFERENCE,
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Measure the models on `images` (N, H, W) or (N, C, H, W), of which `truth` holds the labels."""
    return compare(run(models, images, inference, progress=progress), truth, models[0].config)


def compare(found: Predictions, truth: GroundTruth, config: ModelConfig) -> Evaluation:
    """Compare predictions, in pixels of the model's images, with the labels of these images."""
    off = distances(found.points, truth.points)
    quantiles = calibrate(off, found.std, truth.labelled)
    back = truth.back
    points = apply_affine(back, found.points).astype(np.float32)
    spans = diagonals(config.size, back)
    metrics = measure(points, apply_affine(back, truth.points), truth.visibility, config.names, spans)
    ellipses = ellipse.calibrate(found.points - truth.points, found.std, truth.labelled, quantiles)
    return Evaluation(metrics, replace(found, points=points), quantiles, ellipses, off)


def evaluate_cache(
    models: Sequence[KeypointModel],
    cache: Cache,
    split: str = "val",
    inference: Inference = DEFAULT_INFERENCE,
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Measure the models on a split ("train", "val" or "all") of a cache.

    Raises CheckpointError where a model does not fit the cache, ConfigError where it has no heatmaps for the decoder
    that `inference` names, DataError where the split has no images or no labels.
    """
    if inference.decoder is not None:
        plugins.load_decoder(inference.decoder)
        _require_heatmaps(models, inference.decoder)
    for model in models:
        cards.warn_unflipped(model.config, inference.flip)
    for model in models:
        require_fit(model.config, cache)
    index = split_index(cache, split)
    found = evaluate_arrays(models, cache.images(index), read_truth(cache, index), inference, progress=progress)
    require_finite(found.predictions)
    return found


def coverage_by_group(cache: Cache, split: str, found: Evaluation) -> Coverage | None:
    """The coverage of 90 % radii on a split of a cache that `found` measured; see `conformal.cross_coverage`."""
    index = split_index(cache, split)
    labelled = cache.read("visibility", index) > 0
    return cross_coverage(found.distances, found.predictions.std, labelled, cache.read("group", index))


def _require_heatmaps(models: Sequence[KeypointModel], decoder: str) -> None:
    """Raise ConfigError where a model has no heatmaps for the decoder that was requested."""
    for model in models:
        if model.plugin.output != "heatmap":
            raise ConfigError(
                f"{model.config.model} predicts coordinates and has no heatmaps, so decoder {decoder!r} has nothing to"
                " read; leave out --decoder"
            )


def read_truth(cache: Cache, index: NDArray[np.int64]) -> GroundTruth:
    """The labels of the samples `index` (N,) of a cache."""
    return GroundTruth(*(cache.read(name, index) for name in ("keypoints", "visibility", "affine")))


def split_index(cache: Cache, split: str) -> NDArray[np.int64]:
    """Indices (N,) of the samples of a split. Raises DataError where it is empty."""
    index = cache.index(split)
    if not len(index):
        what, other = ("validation", "train") if split == "val" else ("training", "val")
        raise DataError(
            f"{cache.path} has no {what} images to measure on; say --split {other}, or extract again with --val 0.1"
        )
    return index


def mean_shape_baseline(cache: Cache, split: str = "val") -> Metrics | None:
    """The metrics of predicting the training images' mean shape for every image of a split: any model must beat them.

    None where no keypoint is labelled both in a training image and in the split.
    """
    train = read_truth(cache, cache.index("train"))
    truth = read_truth(cache, split_index(cache, split))
    return measure_mean_shape(mean_shape(train.points, train.visibility), truth, cache.info.names, cache.info.size)


def mean_shape_nme(cache: Cache, split: str = "val") -> NDArray[np.float64]:
    """The NME (N,) of each image of a split, with the training images' mean shape as its prediction; NaN where no keypoint is
    labelled that has a mean position."""
    train, truth = read_truth(cache, cache.index("train")), read_truth(cache, split_index(cache, split))
    shape = mean_shape(train.points, train.visibility)
    known = np.asarray(np.isfinite(shape).all(-1))
    back = truth.back
    guess = apply_affine(back, np.broadcast_to(np.where(known[:, None], shape, 0), truth.points.shape))
    points = apply_affine(back, truth.points)
    scale, _ = normaliser(points, truth.labelled, cache.info.names, diagonals(cache.info.size, back))
    return image_nme(distances(guess, points), truth.labelled & known, scale)


def trained_on(data: dict[str, object], cache: Cache, split: str) -> int:
    """How many images of a split are known to be among a model's training images, by the `data` of its card."""
    rows = data.get("val_rows")
    if data.get("source_sha256") != cache.info.source_sha256 or not isinstance(rows, list):
        return 0
    return int((~np.isin(cache.read("row", cache.index(split)), rows)).sum())
