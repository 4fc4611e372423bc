"""Results of trainings as plain values, as printed by ``kptool train --json``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from kptool.training.run import Result


def describe(result: Result) -> dict[str, Any]:
    """One training. Its metrics are under "val", or if there are no validation images under "train"."""
    held_out = result.metrics.get("measured_on", "val") == "val"
    return {
        "model": result.model,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        **({"val": result.metrics} if held_out else {"val": None, "train": result.metrics}),
        "checkpoint": str(result.checkpoint),
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "parameters": result.parameters,
        **({"init": result.init} if result.init is not None else {}),
        **({"finder": result.finder} if result.finder is not None else {}),
    }


def metrics(described: dict[str, Any]) -> dict[str, Any]:
    """The metrics on the validation images, or if there are none on the training images."""
    measured: dict[str, Any] = described["val"] or described["train"]
    return measured


def over_folds(folds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cross-validation of one model: means over its folds, and the standard deviation of RMSE and NME."""
    val = {key: statistics.mean(fold["val"][key] for fold in folds) for key in ("rmse", "nme", "auc", "failure_rate")}
    baselines = [fold["val"].get("mean_shape_rmse") for fold in folds]
    val["mean_shape_rmse"] = None if None in baselines else statistics.mean(baselines)
    spread = {key: statistics.stdev(fold["val"][key] for fold in folds) for key in ("rmse", "nme")}
    means = {key: statistics.mean(fold[key] for fold in folds) for key in ("best_epoch", "images_per_second")}
    total = sum(fold["seconds"] for fold in folds)
    same = {key: folds[0][key] for key in ("model", "epochs", "parameters")}
    return {**same, **means, "seconds": total, "val": val, "spread": spread, "folds": list(folds)}
