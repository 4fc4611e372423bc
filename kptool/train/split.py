"""Both sides of a cache: the images to train on, those to measure on, and what a checkpoint remembers of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kptool.base.config import require
from kptool.base.geometry import invert_affine
from kptool.base.version import __version__
from kptool.cache.store import Cache
from kptool.data import shapes
from kptool.data.notes import never_labelled
from kptool.data.splits import folds
from kptool.evaluate.conformal import reason
from kptool.evaluate.evaluation import Evaluation, evaluate_arrays
from kptool.evaluate.metrics import mean_shape, measure_mean_shape
from kptool.network.keypoint_model import KeypointModel
from kptool.train.batches import TrainingSet

log = logging.getLogger(__name__)

Fold = tuple[int, int]


@dataclass(frozen=True)
class Split:
    """Both sides of a cache: training images on the device, validation images to be measured, and their rows.

    mean_shape: (K, 2) of the training images, NaN where none has a label; baseline: what it scores, in RMSE, on the
    images that are measured. Where there are no validation images, `val_rows` is empty and the training images are
    measured.
    """

    train: TrainingSet
    mean_shape: np.ndarray
    baseline: float | None
    val_rows: list[int]
    images: np.ndarray
    points: np.ndarray
    visibility: np.ndarray
    affines: np.ndarray

    @classmethod
    def load(cls, cache: Cache, device: torch.device, fold: Fold | None = None) -> Split:
        """Read both sides; where none is for validation, the training images are measured, and a warning says so."""
        train, val = cache.index("train"), cache.index("val")
        if fold is not None:
            of = folds(cache.read("group"), fold[1], seed=0)
            train, val = np.flatnonzero(of != fold[0]), np.flatnonzero(of == fold[0])
        rows = cache.read("row", val).tolist()
        if not len(val):
            log.warning("%s has no validation images, so the metrics are those of the training images", cache.path)
            val = train
        arrays = [cache.read(name, train) for name in ("images", "keypoints", "visibility")]
        resident = TrainingSet.upload(arrays[0], arrays[1], arrays[2], device)
        shape = mean_shape(arrays[1], arrays[2])
        unlearned = never_labelled(cache.info.names, (arrays[2] > 0).sum(0), len(train), "training images")
        if unlearned is not None and len(train):
            log.warning("%s, so nothing of that is learnt", unlearned)
        measured = [cache.read(name, val) for name in ("images", "keypoints", "visibility", "affine")]
        back, info = invert_affine(measured[3]), cache.info
        guessed = measure_mean_shape(shape, measured[1], measured[2], info.names, info.size, back)
        return cls(resident, shape, None if guessed is None else guessed.rmse, rows, *measured)

    def check(self, path: Path) -> None:
        """Raise ConfigError where there is nothing in the cache at `path` to train on, or to measure on."""
        require(len(self.train) > 0, f"{path} has no image in its train split; extract again with a smaller --val")
        require(bool(self.train.labelled.any()), f"{path}: no training image has a labelled keypoint; label some")
        require(
            bool((self.visibility > 0).any()),
            f"{path}: no validation image has a labelled keypoint to measure by; extract again with another --seed",
        )

    def evaluate(self, model: KeypointModel) -> Evaluation:
        """Measure on the validation side."""
        return evaluate_arrays([model], self.images, self.points, self.visibility, self.affines)

    def describe(self, found: Evaluation, names: tuple[str, ...], epoch: int) -> dict[str, Any]:
        """What a weights file says of its quality: the metrics of `epoch`, the mean shape's RMSE beside them, and the
        quantiles of the 90 % radius, or why there are none."""
        held_out = bool(self.val_rows)
        quantiles = found.quantiles if held_out else None
        return {
            **found.metrics.to_dict(),
            "measured_on": "val" if held_out else "train",
            "best_epoch": epoch,
            "mean_shape_rmse": self.baseline,
            "radius90": quantiles,
            "radius90_missing": reason(found.quantiles, names, held_out=held_out),
        }


def _plain(shape: np.ndarray | None) -> list[list[float | None]] | None:
    """A shape (K, 2) as JSON has it."""
    if shape is None:
        return None
    return [[None if np.isnan(v) else round(float(v), 4) for v in point] for point in shape]


def describe_data(cache: Cache, data: Split) -> dict[str, Any]:
    """What a checkpoint remembers of its data: enough to tell later whether an image was trained on."""
    info = cache.info
    turned = shapes.mean_shape(cache.read("keypoints"), cache.read("visibility") > 0)
    return {
        "source": Path(info.source).name,  # where it lay is nobody's business who gets the weights
        "source_sha256": info.source_sha256,
        "train_images": len(data.train),
        "val_rows": data.val_rows,
        "mean_shape": _plain(data.mean_shape),
        "turned_shape": _plain(turned),  # the mean shape of things that lie at any angle
        "margin": info.margin,
        "kptool": __version__,
    }
