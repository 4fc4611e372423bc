"""Charts of trainings by epoch, from the metrics.csv of run folders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from kptool.base.errors import CheckpointError
from kptool.base.palette import INK, MUTED, SERIES, line
from kptool.network import cards
from kptool.report import about
from kptool.report.canvas import Figure, count_epochs, mean_shape_line, style

_WIDE = 5
"""Ratio of the largest to the smallest loss from which the axis is logarithmic."""
_FEW = 3
"""Epochs up to which points are marked: a line of a single one would not be seen."""


def read_history(run: Path) -> pd.DataFrame:
    """The metrics.csv of a run folder. Raises CheckpointError if it is missing or not a training history."""
    try:
        history = pd.read_csv(run / "metrics.csv")
        return history.astype(dict.fromkeys(("epoch", "loss", "rmse", "lr"), float))
    except (OSError, KeyError, ValueError, pd.errors.ParserError) as problem:
        raise CheckpointError(
            f"{run / 'metrics.csv'} is not a training history ({problem}); train with `kptool train`"
        ) from problem


def mean_shape_of(history: pd.DataFrame) -> float | None:
    """The RMSE of the mean shape on the validation images, if the history has it."""
    if "mean_shape_rmse" not in history:
        return None
    known = pd.to_numeric(history["mean_shape_rmse"], errors="coerce").dropna()
    return None if known.empty else float(known.iloc[-1])


def curves(run: Path, note: str | None = None) -> Figure:
    """Losses, RMSE on training and validation images and learning rate over the epochs of a run, from its metrics.csv.

    note: the small print; by default the run's settings, data and split, read from its weights.
    """
    history = read_history(run)
    figure = Figure(figsize=(10, 3.1), note=_settings(run) if note is None else note)
    losses, errors, rate = (style(axis) for axis in figure.subplots(1, 3))
    _lines(losses, history, {"loss": "training", "val_loss": "validation"})
    losses.set_title("loss", fontsize=10)
    if history["loss"].min() > 0 and history["loss"].max() > _WIDE * history["loss"].min():
        losses.set_yscale("log")
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        losses.yaxis.set_minor_formatter(NullFormatter())
        losses.set_title("loss, logarithmic", fontsize=10)
    draw_errors(errors, history)
    errors.set_title("RMSE, px", fontsize=10)
    _lines(rate, history, {"lr": "learning rate"})
    rate.set_title("learning rate", fontsize=10)
    rate.set_ylim(bottom=0)
    for axis in (losses, errors, rate):
        count_epochs(axis, float(history["epoch"].max()))
    losses.legend(fontsize=8, frameon=False)
    return figure


def errors_by_epoch(history: pd.DataFrame, note: str = "") -> Figure:
    """The RMSE on training and validation images over the epochs of a run, by its `read_history`."""
    figure = Figure(figsize=(5, 3.6), note=note)
    axis = style(figure.subplots())
    draw_errors(axis, history)
    axis.set_ylabel("RMSE, px")
    count_epochs(axis, float(history["epoch"].max()))
    return figure


def draw_errors(axis: Axes, history: pd.DataFrame) -> None:
    """The RMSE on training and validation images, the best epoch, and the mean shape.

    The axis starts at 0; it leaves out epochs far above the mean shape, and above four times the best.
    """
    error, shape = history["rmse"], mean_shape_of(history)
    mean_shape_line(axis, shape)
    _lines(axis, history, {"train_rmse": "training", "rmse": "validation"})
    best = int(error.to_numpy().argmin())
    at = (history["epoch"][best], error[best])
    axis.scatter(*at, color=SERIES[1], edgecolors=INK, linewidths=0.6, s=32, zorder=4, marker="D")
    inside = (at[0] - 1) / max(float(history["epoch"].max()) - 1, 1)
    align: Literal["left", "center", "right"] = "left" if inside < 0.2 else "right" if inside > 0.8 else "center"
    axis.annotate(f"best: {error[best]:.3f}", at, (0, -13), textcoords="offset points", ha=align, fontsize=8)
    top = min(float(error.max()), max(4 * float(error.min()), 1.4 * (shape or 0.0)))
    axis.set_ylim(0, max(top, 1.1 * (shape or 0.0)) * 1.08)
    axis.legend(fontsize=8, framealpha=0.8, edgecolor="none")


def _lines(axis: Axes, history: pd.DataFrame, columns: Mapping[str, str]) -> None:
    """A line for each of the columns that the history has: the last one, of validation, is whole, the first dashed."""
    known = {key: label for key, label in columns.items() if key in history and history[key].notna().any()}
    for key, label in known.items():
        held_out = key == list(columns)[-1]
        axis.plot(
            history["epoch"],
            pd.to_numeric(history[key], errors="coerce"),
            color=SERIES[1] if held_out else SERIES[0],
            linestyle="-" if held_out else (0, (5, 2)),
            marker="o" if len(history) <= _FEW else "",
            markersize=4,
            label=label,
        )


def _settings(run: Path) -> str:
    """A run in words, as far as its weights can be read."""
    try:
        return about.run(cards.read_card(run / cards.WEIGHTS))
    except CheckpointError:
        return ""


def histories(runs: Mapping[str, pd.DataFrame], note: str = "") -> Figure:
    """The validation RMSE of several runs by epoch; `runs` maps a label to a history as `read_history` returns it.

    The axis shows the best epoch of every run and the mean shape; a run's first epochs may be above it.
    """
    figure = Figure(figsize=(5, 3.6), note=note)
    axis = style(figure.subplots())
    shapes = {value for history in runs.values() if (value := mean_shape_of(history)) is not None}
    shape = max(shapes) if shapes and max(shapes) - min(shapes) < 0.005 else None
    mean_shape_line(axis, shape)
    for number, (label, history) in enumerate(runs.items()):
        colour, dashes, marker = line(number)
        often = 1 if len(history) <= _FEW else max(1, math.ceil(len(history) / 8))
        (drawn,) = axis.plot(
            history["epoch"], history["rmse"], color=colour, linestyle=dashes, linewidth=1.6, label=label
        )
        drawn.set(marker=marker, markersize=4, markevery=often)
    lowest = [float(history["rmse"].min()) for history in runs.values()]
    high = max(float(history["rmse"].max()) for history in runs.values())
    top = min(high, max(3 * min(lowest), 1.3 * max(lowest), 1.1 * (shape or 0.0)))
    axis.set(ylabel="validation RMSE, px", ylim=(0, max(top, 1.1 * (shape or 0.0)) * 1.04))
    count_epochs(axis, max(float(history["epoch"].max()) for history in runs.values()))
    if len(runs) > 4:
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
    else:
        axis.legend(fontsize=8, framealpha=0.8, edgecolor="none")
    if high > axis.get_ylim()[1]:
        text = "earlier, higher errors are cut off"
        axis.text(0.995, 1.01, text, transform=axis.transAxes, ha="right", fontsize=7, color=MUTED)
    return figure
