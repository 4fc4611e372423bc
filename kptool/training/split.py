"""The training and validation images of a cache, and what a checkpoint stores about them."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kptool import plugins
from kptool.base.config import EMPTY, ModelConfig, TrainConfig, require
from kptool.base.errors import ConfigError
from kptool.base.face68 import is_face
from kptool.base.version import __version__
from kptool.cache.layout import Info
from kptool.cache.store import Cache
from kptool.cache.stored_images import StoredImages
from kptool.data import absence, shapes, upright
from kptool.data.notes import never_labelled
from kptool.data.splits import folds
from kptool.evaluation import presence
from kptool.evaluation.conformal import reason
from kptool.evaluation.evaluation import Evaluation, evaluate_arrays, read_truth
from kptool.evaluation.metrics import GroundTruth, Metrics, mean_shape, measure_mean_shape
from kptool.network.cards import UPRIGHT
from kptool.network.keypoint_model import KeypointModel
from kptool.network.presence import KEY, MISSING
from kptool.network.shape_prior import ShapePrior
from kptool.system import devices, memory
from kptool.training.batches import TrainingSet

log = logging.getLogger(__name__)

_SHARE = 0.5
"""Of the available memory, what images may take."""
Fold = tuple[int, int]
"""(i, n): the i-th, from 0, of n folds is for validation."""


@dataclass(frozen=True)
class Split:
    """Training images on the device, and validation images in memory, or both in the cache where they do not fit.

    mean_shape: (K, 2) of the training images, NaN without a label; baseline: its metrics on the validation images, None
    where no keypoint is labelled in both; val_rows: the validation images' rows in the source; images: uint8 (N, H, W) or
    (N, C, H, W); truth: their labels; countable: bool (K,), the keypoints of which a missing label means that they are not
    there, see `kptool.data.absence`. In a cache without validation images, `val_rows` is empty, and `images` and `truth`
    are the training images'.
    """

    train: TrainingSet
    mean_shape: np.ndarray
    baseline: Metrics | None
    val_rows: list[int]
    images: np.ndarray | StoredImages
    truth: GroundTruth
    countable: np.ndarray

    @classmethod
    def load(cls, cache: Cache, device: torch.device, fold: Fold | None = None, budget: int | None = None) -> Split:
        """Read the cache's own split, or a `fold`. Logs a warning where there are no validation images.

        Images that take more than `budget` bytes, by default half of what is available, stay in the cache, which must then
        remain open; results do not depend on it.
        """
        train, val = cache.index("train"), cache.index("val")
        if fold is not None:
            of = folds(cache.read("group"), fold[1], seed=0)
            train, val = np.flatnonzero(of != fold[0]), np.flatnonzero(of == fold[0])
        rows = cache.read("row", val).tolist()
        if not len(val):
            log.warning("%s has no validation images, so the metrics are those of the training images", cache.path)
            val = train
        labels, info = read_truth(cache, train), cache.info
        shape = mean_shape(labels.points, labels.visibility)
        missing = never_labelled(info.names, labels.labelled.sum(0), len(train), "training images")
        if missing is not None and len(train):
            log.warning("%s; a keypoint without labels is not learnt", missing)
        truth = read_truth(cache, val)
        known = np.concatenate([labels.labelled, truth.labelled])
        together = absence.left_out_note(info.names, known)
        if together is not None:
            log.warning("%s", together)
        baseline = measure_mean_shape(shape, truth, info.names, info.size)
        stored, held_out = cache.images(train), cache.images(val)
        shown, seen = _placed(stored, held_out, budget, device)
        images = TrainingSet.upload(shown, labels.points, labels.visibility, device, labels.back)
        return cls(
            images.stored_in(stored),
            shape,
            baseline,
            rows,
            seen,
            truth,
            absence.countable(known) & labels.labelled.any(0),
        )

    @property
    def stored(self) -> int:
        """Bytes of images that stay in the cache."""
        parts = (self.train.images, self.images)
        return sum(each.nbytes for each in parts if isinstance(each, StoredImages))

    @property
    def baseline_rmse(self) -> float | None:
        """The RMSE of the mean shape on the validation images, source pixels."""
        return None if self.baseline is None else self.baseline.rmse

    def check(self, path: Path) -> None:
        """Raise ConfigError where the cache at `path` has nothing to train on, or nothing to measure on."""
        require(len(self.train) > 0, f"{path} has no image in its train split; extract again with a smaller --val")
        require(bool(self.train.labelled.any()), f"{path}: no training image has a labelled keypoint; label some")
        require(
            bool(self.truth.labelled.any()),
            f"{path}: no validation image has a labelled keypoint to measure on; extract again with another --seed",
        )

    def shown(self, model: ModelConfig, config: TrainConfig) -> TrainingSet:
        """The training images as a training with these settings sees them before the augmentation."""
        teach = config.absent == EMPTY and plugins.load_model(model.model).output == "heatmap"
        images = self.train.teaching_absence() if teach else self.train
        return images.turned_onto(self.upright_shape(model)) if config.augment.upright else images

    def turned(self, model: ModelConfig, config: TrainConfig) -> dict[str, Any]:
        """What a card says of objects that are turned upright, if these settings turn them."""
        return {UPRIGHT: _plain(self.upright_shape(model))} if config.augment.upright else {}

    def prior(self, model: ModelConfig, config: TrainConfig) -> ShapePrior | None:
        """The model of the training shapes that chooses between peaks; None if the settings or few shapes say so."""
        if not config.prior or plugins.load_model(model.model).output != "heatmap":
            return None
        return ShapePrior.fit(self.train.points.cpu().numpy(), self.train.labelled.cpu().numpy())

    def upright_shape(self, model: ModelConfig) -> np.ndarray:
        """The shape (K, 2) onto which objects are turned, in pixels. Raises ConfigError where too few keypoints are labelled."""
        if is_face(model.names):
            return self.mean_shape  # as `predict` cuts faces
        points, labelled = (part.cpu().numpy() for part in (self.train.points, self.train.labelled))
        shape = upright.shape_of(points, labelled, model.size, model.flip_pairs)
        if shape is None:
            raise ConfigError("augment.upright needs images with three labelled keypoints; set it to 0")
        return shape

    def evaluate(self, model: KeypointModel) -> Evaluation:
        """Measure a model on the validation images."""
        return evaluate_arrays([model], self.images, self.truth)

    def describe(self, found: Evaluation, model: ModelConfig, epoch: int) -> dict[str, Any]:
        """The `metrics` of a card: those of `epoch`, the mean shape's RMSE, and the quantiles of the 90 % radius and the
        calibration of the scores, or why there are none."""
        held_out = bool(self.val_rows)
        quantiles = found.quantiles if held_out else None
        return {
            **found.metrics.to_dict(),
            "measured_on": "val" if held_out else "train",
            "best_epoch": epoch,
            "mean_shape_rmse": self.baseline_rmse,
            "radius90": quantiles,
            **({"ellipse90": found.ellipses} if held_out and any(found.ellipses) else {}),
            "radius90_missing": reason(found.quantiles, model.names, held_out=held_out),
            **self._presence(found.predictions.scores, model, held_out),
        }

    def _presence(self, heights: np.ndarray, model: ModelConfig, held_out: bool) -> dict[str, Any]:
        """The calibration of the scores, or why there is none; empty where every keypoint is labelled."""
        heatmaps, there = plugins.load_model(model.model).output == "heatmap", self.truth.labelled
        counted = presence.counted_labels(self.truth.points, there, model.size, self.countable)
        calibrated = presence.calibrate(heights, there, counted) if heatmaps and held_out else None
        if calibrated is not None:
            return {KEY: calibrated}
        why = presence.reason(there, counted, heatmaps=heatmaps, held_out=held_out)
        return {} if why is None else {MISSING: why}


Images = np.ndarray | StoredImages


def _placed(train: StoredImages, val: StoredImages, budget: int | None, device: torch.device) -> tuple[Images, Images]:
    """Training and validation images, read into memory as far as they fit: if not both, those for validation, of which a
    chunk holds few, where they take less than half."""
    if budget is None:
        available = memory.available()
        budget = sys.maxsize if available is None else int(_SHARE * available)
    free = devices.free_memory(device)
    on_device = math.inf if free is None else _SHARE * free
    if train.nbytes <= on_device and train.nbytes + val.nbytes <= budget:
        return train.all(), val.all()
    return train, val.all() if val.nbytes <= budget / 2 else val


def _plain(shape: np.ndarray | None) -> list[list[float | None]] | None:
    """A shape (K, 2) as JSON holds it, NaN as null."""
    if shape is None:
        return None
    return [[None if np.isnan(v) else round(float(v), 4) for v in point] for point in shape]


def _fill(info: Info, data: Split) -> dict[str, float]:
    """The `kptool.data.shapes.fill` of images that are crops, if they follow their keypoints."""
    if info.margin is None:
        return {}
    found = shapes.fill(data.train.points.cpu().numpy(), data.train.labelled.cpu().numpy(), info.size)
    return {} if found is None else {"fill": found}


def describe_data(cache: Cache, data: Split) -> dict[str, Any]:
    """The `data` of a card, which also tells later which images a model was not trained on."""
    info = cache.info
    turned = shapes.mean_shape(cache.read("keypoints"), cache.read("visibility") > 0)
    return {
        "source": Path(info.source).name,  # weights are shared, and must not reveal the folder
        "source_sha256": info.source_sha256,
        "train_images": len(data.train),
        "val_rows": data.val_rows,
        "mean_shape": _plain(data.mean_shape),
        "turned_shape": _plain(turned),  # the mean of shapes that were first rotated onto each other
        "margin": info.margin,
        **_fill(info, data),
        **({"category": info.category} if info.category else {}),
        **({"edges": [list(edge) for edge in info.edges]} if info.edges else {}),
        "kptool": __version__,
    }
