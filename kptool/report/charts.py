"""Line and bar charts of results, drawn with matplotlib's object interface, without a display or global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kptool.base.errors import CheckpointError
from kptool.evaluation.metrics import FAILURE, cumulative_errors
from kptool.report.canvas import Figure


def read_history(run: Path) -> pd.DataFrame:
    """The metrics.csv of a run folder. Raises CheckpointError if it is missing or not a training history."""
    try:
        history = pd.read_csv(run / "metrics.csv")
        return history.astype(dict.fromkeys(("epoch", "loss", "rmse", "lr"), float))
    except (OSError, KeyError, ValueError, pd.errors.ParserError) as problem:
        raise CheckpointError(
            f"{run / 'metrics.csv'} is not a training history ({problem}); train with `kptool train`"
        ) from problem


def curves(run: Path) -> Figure:
    """Loss, validation RMSE and learning rate over the epochs of a run, from its metrics.csv."""
    history = read_history(run)
    epoch, loss, error, rate = (history[name] for name in ("epoch", "loss", "rmse", "lr"))
    figure = Figure(figsize=(10, 3))
    best = int(error.to_numpy().argmin())
    for axis, values, label in zip(
        figure.subplots(1, 3),
        (loss, error, rate),
        ("training loss", "validation RMSE, px", "learning rate"),
        strict=True,
    ):
        axis.plot(epoch, values, color="#1f6feb", marker="o" if len(epoch) < 3 else "")
        axis.set_xlabel("epoch")
        axis.set_title(label, fontsize=10)
        axis.grid(alpha=0.3)
        if values is error:
            axis.scatter(epoch[best], error[best], color="#d1242f", zorder=3)
            axis.annotate(
                f"{error[best]:.3f}", (epoch[best], error[best]), textcoords="offset points", xytext=(0, 8), ha="center"
            )
            axis.set_ylim(0, min(float(error.max()), 4 * float(error.min())) * 1.1)
        if values is loss and (loss > 0).all():
            axis.set_yscale("log")
    return figure


def cumulative(curves_: dict[str, NDArray[np.float64]]) -> Figure:
    """Cumulative error distributions; `curves_` maps a label to the NME of each image, (N,)."""
    figure = Figure(figsize=(5, 3.6))
    axis = figure.subplots()
    for label, nme in curves_.items():
        thresholds, share = cumulative_errors(nme)
        axis.plot(thresholds, share, label=label)
    axis.set(xlabel="NME", ylabel="share of images", xlim=(0, FAILURE), ylim=(0, 1.01))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def bars(ratios: Sequence[tuple[str, float]]) -> Figure:
    """Labelled ratios as horizontal bars on a logarithmic scale, with a line at 1."""
    figure = Figure(figsize=(11, 0.8 + 0.26 * len(ratios)))
    axis = figure.subplots()
    labels, values = [label for label, _ in ratios][::-1], [value for _, value in ratios][::-1]
    drawn = axis.barh(labels, values, color=["#1a7f37" if value >= 1 else "#bf8700" for value in values])
    axis.bar_label(drawn, [f"{value:.2g}x" for value in values], padding=3, fontsize=7)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_ylim(-0.6, len(ratios) - 0.4)
    axis.margins(x=0.12)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_xlabel("times as good as the peer or floor")
    return figure


def histories(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """The validation RMSE of several runs by epoch; `runs` maps a label to a history as `read_history` returns it."""
    figure = Figure(figsize=(8, 3.6))
    axis = figure.subplots()
    for label, history in runs.items():
        axis.plot(history["epoch"], history["rmse"], label=label, marker="o" if len(history) < 3 else "")
    low = min(float(history["rmse"].min()) for history in runs.values())
    high = max(float(history["rmse"].max()) for history in runs.values())
    axis.set(xlabel="epoch", ylabel="validation RMSE, px", ylim=(0.9 * low, min(high, 3 * low) * 1.02))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def keypoint_bars(models: Mapping[str, Mapping[str, float | None]]) -> Figure:
    """The RMSE of each keypoint, one bar per model; of more than 40 keypoints, the 40 worst of the first model.

    A keypoint without labels (None) gets a dash instead of bars.
    """
    first = next(iter(models.values()))
    names = sorted(first, key=lambda name: -(first[name] or 0))[:40]
    names = [name for name in first if name in names]
    figure = Figure(figsize=(9, 1 + 0.14 * len(names) * (len(models) + 1)))
    axis = figure.subplots()
    thick = 0.8 / len(models)
    for number, (label, values) in enumerate(models.items()):
        lengths = [values[name] for name in names]
        drawn = axis.barh(np.arange(len(names)) + thick * number, [v or 0 for v in lengths], thick, label=label)
        axis.bar_label(drawn, ["-" if value is None else "" for value in lengths], padding=3, fontsize=8)
    axis.set_yticks(np.arange(len(names)) + 0.4 - thick / 2, names, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("RMSE, px")
    axis.grid(alpha=0.3, axis="x")
    axis.legend(fontsize=8)
    return figure


def differences(largest: Mapping[str, float], allowed: float) -> Figure:
    """Differences in pixels by kind of picture as bars on a logarithmic scale, with a line at the `allowed` one."""
    figure = Figure(figsize=(6, 0.8 + 0.3 * len(largest)))
    axis = figure.subplots()
    drawn = axis.barh(list(largest)[::-1], [max(value, 1e-9) for value in largest.values()][::-1])
    axis.bar_label(drawn, [f"{value:.2g}" for value in largest.values()][::-1], padding=3, fontsize=8)
    axis.axvline(allowed, color="#d1242f", linewidth=0.8)
    axis.set_xscale("log")
    axis.margins(x=0.15)
    axis.set_xlabel("largest difference, px (the line: allowed)")
    return figure
