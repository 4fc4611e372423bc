"""A search for settings as an HTML page: the trials as a table, and RMSE by trial, by epoch and by setting."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from kptool.base.version import __version__
from kptool.report import html
from kptool.report.canvas import Figure

_BEST, _RECIPE, _WHOLE, _SHORT = "#d1242f", "black", "#1f6feb", "#8c959f"
_COLUMNS = 4
_SHOWN = 3
"""The plots show errors up to this multiple of the lowest."""


@dataclass(frozen=True)
class Searched:
    """The contents of the page.

    trials: best first, with the columns trial, state, rmse (source pixels), best_epoch, epochs, seconds, and one for each
    setting in `keys`; trial 0 is the recipe. log: the keys with a logarithmic range. histories: each trial's history,
    with the columns epoch and rmse.
    """

    model: str
    cache: str
    trials: pd.DataFrame
    keys: Sequence[str]
    log: Collection[str]
    histories: Mapping[int, pd.DataFrame]
    mean_shape_rmse: float | None


def write_page(searched: Searched) -> str:
    """The page, as text."""
    trials = searched.trials
    states = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts(sort=False).items())
    parts = [
        html.heading(f"Settings for {searched.model} on {searched.cache}", 1),
        html.paragraph(
            f"kptool {__version__}, {datetime.now(UTC):%Y-%m-%d}. {len(trials)} trials: {states}. Trial 0 is the recipe."
            " RMSE on the validation images, in the source images' pixels; for comparison, the training images' mean"
            f" shape: {_number(searched.mean_shape_rmse)}."
        ),
        html.paragraph(
            "The best trial's RMSE is optimistic, because it was selected on these images: measure its settings on others, or"
            " with `kptool train --config best.toml --cv 5`."
        ),
        _table(searched),
    ]
    if trials["rmse"].notna().any():
        parts += [
            html.heading("Trials and epochs"),
            html.paragraph(f"Errors above {_SHOWN} times the lowest are not shown."),
            html.chart(progress(searched), "validation RMSE by trial, and by epoch"),
            html.heading("Setting by setting"),
            html.chart(slices(searched), "validation RMSE by the value of each setting"),
        ]
    return html.standalone("kptool tune", parts)


def _table(searched: Searched) -> str:
    heads = ("trial", "RMSE px", "state", "best epoch", "epochs", "minutes", *searched.keys)
    rows = [
        (
            f"{each['trial']}",
            _number(each["rmse"], ".3f"),
            str(each["state"]),
            _number(each["best_epoch"]),
            f"{each['epochs']}",
            f"{each['seconds'] / 60:.1f}",
            *(_number(each[key]) for key in searched.keys),
        )
        for each in searched.trials.to_dict("records")
    ]
    return html.table(heads, rows)


def _number(value: Any, form: str = ".4g") -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return str(value) if isinstance(value, str) else f"{value:{form}}"


def progress(searched: Searched) -> Figure:
    """RMSE by trial, with the best so far, beside the RMSE of each trial by epoch."""
    figure = Figure(figsize=(11, 3.8))
    left, right = figure.subplots(1, 2, sharey=True)
    _points(left, searched, searched.trials["trial"].to_numpy(float))
    whole = searched.trials[searched.trials["state"] == "complete"].sort_values("trial")
    left.step(whole["trial"], whole["rmse"].cummin(), where="post", color=_BEST, linewidth=1, label="best so far")
    left.set(xlabel="trial", ylabel="validation RMSE, px")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(fontsize=8)
    marked = _marked(searched)
    states = dict(zip(searched.trials["trial"], searched.trials["state"], strict=True))
    for number, history in searched.histories.items():
        colour = marked.get(number, _WHOLE if states.get(number) == "complete" else _SHORT)
        front = number in marked
        right.plot(
            history["epoch"],
            history["rmse"],
            color=colour,
            linewidth=1.8 if front else 0.8,
            alpha=1 if front else 0.6,
            zorder=3 if front else 2,
            marker="o" if len(history) < 3 else "",
        )
    right.set_xlabel("epoch")
    _limit(right, searched)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def slices(searched: Searched) -> Figure:
    """RMSE by the value of each setting, one plot per setting."""
    count = len(searched.keys)
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(2.9 * columns, 2.6 * rows))
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis, key in zip(axes.flat, searched.keys, strict=False):
        values = searched.trials[key]
        if pd.api.types.is_numeric_dtype(values):
            _points(axis, searched, values.to_numpy(float))
        else:
            names = sorted(set(values.dropna().astype(str)))
            place = values.astype(str).map({name: float(number) for number, name in enumerate(names)})
            _points(axis, searched, place.to_numpy(float))
            axis.set_xticks(range(len(names)), names, fontsize=7, rotation=20)
        if key in searched.log:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(axis="x", labelsize=8)
        axis.set_xlabel(key, fontsize=9)
        axis.grid(alpha=0.3)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("RMSE, px", fontsize=9)
    _limit(axes[0, 0], searched)
    return figure


def _points(axis: Axes, searched: Searched, x: np.ndarray) -> None:
    """Scatter the trials: complete ones filled, others hollow; the recipe and the best are marked."""
    trials = searched.trials
    whole = (trials["state"] == "complete").to_numpy()
    y = trials["rmse"].to_numpy(float)
    axis.scatter(x[whole], y[whole], color=_WHOLE, s=22, label="complete")
    if (~whole).any():
        axis.scatter(x[~whole], y[~whole], facecolors="none", edgecolors=_SHORT, s=22, label="pruned or stopped")
    names = {_RECIPE: ("D", "recipe"), _BEST: ("*", "best")}
    for number, colour in _marked(searched).items():
        marker, label = names[colour]
        here = (trials["trial"] == number).to_numpy()
        size = 90 if marker == "*" else 34
        axis.scatter(x[here], y[here], color=colour, marker=marker, s=size, zorder=4, label=label)


def _marked(searched: Searched) -> dict[int, str]:
    """The colours of the recipe's trial and of the best; if they are the same trial, of the best."""
    whole = searched.trials[searched.trials["state"] == "complete"]
    best = {int(whole["trial"].iloc[0]): _BEST} if len(whole) else {}
    return {0: _RECIPE} | best


def _limit(axis: Axes, searched: Searched) -> None:
    """Limit the RMSE axis to `_SHOWN` times the lowest, so that the good trials can be told apart."""
    errors = searched.trials["rmse"].dropna()
    low, high = float(errors.min()), float(errors.max())
    top = min(high, _SHOWN * low)
    pad = 0.06 * (top - low) or 0.05 * low
    axis.set_ylim(low - pad, top + pad)
