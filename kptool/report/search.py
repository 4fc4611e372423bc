"""A search for settings as an HTML page: the trials as a table, and RMSE by trial, by epoch and by setting."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from kptool.base.palette import BASELINE, INK, MUTED, SERIES
from kptool.base.version import __version__
from kptool.report import html
from kptool.report.canvas import Figure, count_epochs, per_cent, style
from kptool.report.charts import by_name

_WHOLE, _BEST, _RECIPE, _SHORT = SERIES[0], SERIES[1], INK, MUTED
_SHOWN = 3
"""The charts show errors up to this multiple of the lowest, and trials above at their upper edge."""


@dataclass(frozen=True)
class Searched:
    """The contents of the page.

    trials: best first, with the columns trial, state, rmse (source pixels), best_epoch, epochs, seconds, and one for each
    setting in `keys`; trial 0 is the recipe. log: the keys with a logarithmic range. histories: each trial's history,
    with the columns epoch and rmse. importances: each setting's share, if known.
    """

    model: str
    cache: str
    trials: pd.DataFrame
    keys: Sequence[str]
    log: Collection[str]
    histories: Mapping[int, pd.DataFrame]
    mean_shape_rmse: float | None
    importances: Mapping[str, float] = field(default_factory=dict)


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
    ]
    if trials["rmse"].notna().any():
        above = f"Trials above {_SHOWN} times the lowest error are triangles at the upper edge."
        charts = [
            html.chart(by_trial(searched, above), "validation RMSE by trial"),
            html.chart(by_epoch(searched), "validation RMSE by epoch, a line for each trial"),
        ]
        parts += [html.heading("Trials and epochs"), html.side_by_side(charts), *_importances(searched)]
        each = [html.chart(by_setting(searched, key), f"validation RMSE by {key}") for key in searched.keys]
        parts += [html.heading("Setting by setting"), html.side_by_side(each)]
    return html.standalone("kptool tune", [*parts, html.heading("All trials"), _table(searched)])


def _importances(searched: Searched) -> list[str]:
    """The part on importances, or why there are none."""
    count = int((searched.trials["state"] == "complete").sum())
    title = html.heading("Which settings matter")
    if not searched.importances:
        return [
            title,
            html.paragraph(f"Not computed: it takes 10 complete trials of different errors; there are {count}."),
        ]
    note = (
        f"PED-ANOVA on {count} complete trials: how far the settings of the best trials differ from those of all. A rough"
        " guide: with a few dozen trials the order of similar bars is chance, each setting is judged on its own and within"
        " the searched range only, and pruned trials are left out."
    )
    figure = by_name(searched.importances, "share of the importance", note=note)
    figure.axes[0].xaxis.set_major_formatter(per_cent(0))
    return [title, html.chart(figure, "importance of each setting")]


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
    return html.wide_table(heads, rows, "trials, best first")


def _number(value: Any, form: str = ".4g") -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return str(value) if isinstance(value, str) else f"{value:{form}}"


def by_trial(searched: Searched, note: str = "") -> Figure:
    """RMSE by trial, with the best so far."""
    figure = Figure(figsize=(5, 3.6), note=note)
    axis = style(figure.subplots())
    _frame(axis, searched)
    _points(axis, searched, searched.trials["trial"].to_numpy(float))
    whole = searched.trials[searched.trials["state"] == "complete"].sort_values("trial")
    axis.step(whole["trial"], whole["rmse"].cummin(), where="post", color=_BEST, linewidth=1, label="best so far")
    axis.set(xlabel="trial", ylabel="validation RMSE, px")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axis.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def by_epoch(searched: Searched) -> Figure:
    """The RMSE of each trial by epoch: the best and the recipe in front, pruned ones dashed."""
    figure = Figure(figsize=(5, 3.6))
    axis = style(figure.subplots())
    _frame(axis, searched)
    marked = _marked(searched)
    states = dict(zip(searched.trials["trial"], searched.trials["state"], strict=True))
    for number, history in searched.histories.items():
        complete, front = states.get(number) == "complete", number in marked
        axis.plot(
            history["epoch"],
            history["rmse"],
            color=marked.get(number, _WHOLE if complete else _SHORT),
            linestyle="-" if complete else (0, (3, 2)),
            linewidth=1.8 if front else 0.8,
            alpha=1 if front else 0.6,
            zorder=3 if front else 2,
            marker="o" if len(history) < 3 else "",
            markersize=4,
        )
    if searched.histories:
        count_epochs(axis, max(float(history["epoch"].max()) for history in searched.histories.values()))
    axis.set_ylabel("validation RMSE, px")
    return figure


def by_setting(searched: Searched, key: str) -> Figure:
    """RMSE by the value of a setting."""
    figure = Figure(figsize=(3.7, 3.0))
    axis, values = style(figure.subplots()), searched.trials[key]
    _frame(axis, searched)
    if pd.api.types.is_numeric_dtype(values):
        _points(axis, searched, values.to_numpy(float))
    else:
        names = sorted(set(values.dropna().astype(str)))
        place = values.astype(str).map({name: float(number) for number, name in enumerate(names)})
        _points(axis, searched, place.to_numpy(float))
        axis.set_xticks(range(len(names)), names, fontsize=8, rotation=20)
        axis.set_xlim(-0.5, len(names) - 0.5)
    if key in searched.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(xlabel=f"{key}, logarithmic" if key in searched.log else key, ylabel="RMSE, px")
    return figure


def _points(axis: Axes, searched: Searched, x: np.ndarray) -> None:
    """Scatter the trials: complete ones filled, others hollow; the recipe and the best are marked; those above the axis are
    triangles at its upper edge."""
    trials, top = searched.trials, axis.get_ylim()[1]
    whole, y = (trials["state"] == "complete").to_numpy(), trials["rmse"].to_numpy(float)
    above, number = y > top, trials["trial"].to_numpy()
    names = {_RECIPE: ("D", "recipe", 38), _BEST: ("*", "best", 110)}
    marked = _marked(searched)
    kinds: list[tuple[Any, str, dict[str, Any], bool]] = [
        (whole & ~above, _WHOLE, {"marker": "o", "s": 24, "label": "complete"}, True),
        (~whole & ~above, _SHORT, {"marker": "o", "s": 24, "label": "pruned or stopped"}, False),
        (above, _SHORT, {"marker": "^", "s": 34, "label": "above the axis"}, False),
    ]
    for chosen, colour, look, filled in kinds:
        if chosen.any():
            face = colour if filled else "none"
            axis.scatter(x[chosen], y[chosen].clip(max=top), facecolors=face, edgecolors=colour, clip_on=False, **look)
    for each, colour in marked.items():
        marker, label, size = names[colour]
        here = (number == each) & ~above
        axis.scatter(x[here], y[here], color=colour, marker=marker, s=size, zorder=4, label=label)


def _marked(searched: Searched) -> dict[int, str]:
    """The colours of the recipe's trial and of the best; if they are the same trial, of the best."""
    whole = searched.trials[searched.trials["state"] == "complete"]
    best = {int(whole["trial"].iloc[0]): _BEST} if len(whole) else {}
    return {0: _RECIPE} | best


def _frame(axis: Axes, searched: Searched) -> None:
    """Limit the RMSE axis to `_SHOWN` times the lowest, so that the good trials can be told apart, and draw the mean shape,
    or say that it lies outside."""
    errors, shape = searched.trials["rmse"].dropna(), searched.mean_shape_rmse
    low, high = float(errors.min()), float(errors.max())
    top = min(high, _SHOWN * low)
    if shape is not None:
        low, top = min(low, shape), max(top, min(shape, _SHOWN * low))
    pad = 0.06 * (top - low) or 0.05 * low
    axis.set_ylim(low - pad, top + pad)
    if shape is not None and shape <= top + pad:
        axis.axhline(shape, color=BASELINE, linewidth=2, zorder=1, label="mean shape")
    elif shape is not None:
        text = f"mean shape, above the axis: {shape:.2f} px"
        axis.text(0.99, 0.98, text, transform=axis.transAxes, ha="right", va="top", fontsize=7.5, color=BASELINE)
