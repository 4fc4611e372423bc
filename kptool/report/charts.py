"""Charts of errors and ratios, drawn with matplotlib's object interface, without a display or global state.

Wherever errors are shown, the mean shape of the training images is a grey line: a model must be better to be of use.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from kptool.base.palette import BASELINE, HATCHES, INK, MUTED, PAPER, SERIES, line
from kptool.evaluation.bootstrap import Interval
from kptool.evaluation.metrics import FAILURE, cumulative_errors
from kptool.report import about
from kptool.report.canvas import Figure, per_cent, rim, style
from kptool.report.history import curves, histories, read_history

__all__ = ["bars", "cumulative", "curves", "differences", "histories", "keypoint_bars", "read_history"]

_MOST_KEYPOINTS = 40
_LONG = 30
"""Characters of an axis label that fit beside the names of keypoints."""
_SHARE = 0.95
"""Share of a model's images that the axis of cumulative errors covers at least."""


def cumulative(
    curves_: Mapping[str, NDArray[np.float64]],
    baseline: NDArray[np.float64] | None = None,
    *,
    normaliser: str = "",
    note: str = "",
) -> Figure:
    """Cumulative error distributions; `curves_` maps a label to the NME of each image, (N,), `baseline` is the mean shape's.

    The axis of errors covers 95 % of the images of every model, and half of the mean shape's.
    """
    figure = Figure(figsize=(4.8, 3.6), note=note)
    axis = style(figure.subplots())
    limit = _limit(curves_, baseline)
    if baseline is not None:
        axis.plot(*cumulative_errors(baseline, limit=limit), color=BASELINE, linewidth=2, label="mean shape")
    for number, (label, nme) in enumerate(curves_.items()):
        colour, dashes, marker = line(number)
        x, y = cumulative_errors(nme, limit=limit)
        (drawn,) = axis.plot(x, y, color=colour, linestyle=dashes, linewidth=1.7, label=label)
        drawn.set(marker=marker, markersize=4, markevery=(number % 5 * 6 + 10, 40))
    axis.axvline(FAILURE, color=MUTED, linewidth=0.9, linestyle=":")
    axis.text(FAILURE, 1.015, f"failures: above {FAILURE:.0%}", color=MUTED, fontsize=7.5, ha="center")
    unit = about.relative(normaliser) if normaliser else "% of the normaliser"
    axis.set(
        xlabel=f"error of an image,\n{unit}", ylabel="images with at most this error", xlim=(0, limit), ylim=(0, 1.01)
    )
    axis.xaxis.set_major_formatter(per_cent())
    axis.yaxis.set_major_formatter(per_cent(0))
    _legend(axis, len(curves_) + (baseline is not None))
    return figure


def _limit(curves_: Mapping[str, NDArray[np.float64]], baseline: NDArray[np.float64] | None) -> float:
    """The largest error on the axis of `cumulative`, at least that of a failure."""
    far = [(nme, _SHARE) for nme in curves_.values()] + ([(baseline, 0.5)] if baseline is not None else [])
    found = [float(np.quantile(nme[np.isfinite(nme)], share)) for nme, share in far if np.isfinite(nme).any()]
    return 1.05 * max([FAILURE, *found])


def _legend(axis: Axes, entries: int) -> None:
    """A legend where it covers least, below the axes if it is long."""
    if entries > 6:
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
    else:
        axis.legend(fontsize=8, facecolor=PAPER, edgecolor="none", framealpha=0.8)


def keypoint_bars(
    models: Mapping[str, Mapping[str, float | None]],
    baseline: Mapping[str, float | None] | None = None,
    intervals: Mapping[str, Mapping[str, Interval | None]] | None = None,
    *,
    unit: str = "RMSE, px",
    note: str = "",
) -> Figure:
    """The error of each keypoint, one bar per model, the first model's largest on top; of more than 40 keypoints, the 40
    with the largest errors.

    baseline: those of the mean shape, a grey line across a keypoint's bars. intervals: by model and keypoint, thin lines. A
    keypoint without labels (None) gets a dash instead of bars.
    """
    first = next(iter(models.values()))
    names = sorted(first, key=lambda name: -(first[name] or 0))[:_MOST_KEYPOINTS]
    figure = Figure(figsize=(5, 1 + 0.12 * len(names) * (len(models) + 0.8)), note=note)
    axis = style(figure.subplots(), grid="x")
    thick = 0.8 / len(models)
    for number, (label, values) in enumerate(models.items()):
        lengths = [values.get(name) for name in names]
        colour, hatch = SERIES[number % len(SERIES)], HATCHES[number % len(HATCHES)]
        places = np.arange(len(names), dtype=np.float64) + thick * number
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": PAPER, "linewidth": 0}
        drawn = axis.barh(places, [v or 0 for v in lengths], thick, label=label, **look)
        axis.bar_label(drawn, ["-" if value is None else "" for value in lengths], padding=3, fontsize=8)
        _spans(axis, places, [(intervals or {}).get(label, {}).get(name) for name in names])
    if baseline is not None:
        known = [(i, value) for i, name in enumerate(names) if (value := baseline.get(name)) is not None]
        low = [i - 0.5 * thick - 0.06 for i, _ in known]
        axis.vlines(
            [v for _, v in known],
            low,
            [a + 0.92 for a in low],
            color=BASELINE,
            linewidth=2.2,
            path_effects=rim(4.2, PAPER),
            label="mean shape",
        )
    axis.set_yticks(np.arange(len(names)) + 0.4 - thick / 2, names, fontsize=8)
    axis.set_ylim(len(names) - 0.3 + 0.1 * (len(models) > 1), -0.7)
    axis.set_xlabel(unit.replace(", ", ",\n", 1) if len(unit) > _LONG else unit)
    _bars_legend(axis, bool(intervals))
    return figure


def _spans(axis: Axes, places: NDArray[np.float64], spans: Sequence[Interval | None]) -> None:
    """Confidence intervals as thin lines over bars."""
    for place, span in zip(places, spans, strict=True):
        if span is not None:
            axis.plot(span, [place, place], color=INK, linewidth=1.1, solid_capstyle="butt", marker="|", markersize=4)


def _bars_legend(axis: Axes, spans: bool) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if spans:
        handles, labels = [*handles, Line2D([], [], color=INK, linewidth=1.1, marker="|")], [*labels, "95 % interval"]
    across = min(3, len(labels))
    axis.legend(handles, labels, fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=across)


def bars(ratios: Sequence[tuple[str, float]], note: str = "") -> Figure:
    """Labelled ratios as horizontal bars on a logarithmic scale, away from a line at 1.

    A label "group: rest" is listed below its group; within a group, the largest ratio is on top.
    """
    rows = _grouped(ratios)
    longest = max((len(text) for text, _ in rows), default=0)
    figure = Figure(figsize=(4.2 + 0.068 * longest, 1 + 0.23 * len(rows)), note=note)
    axis = style(figure.subplots(), grid="x")
    places = [i for i, (_, value) in enumerate(rows) if value is not None]
    values = [value for _, value in rows if value is not None]
    better = [value >= 1 for value in values]
    for kind, colour, hatch in ((True, SERIES[0], ""), (False, SERIES[1], "////")):
        chosen = [(i, v) for i, v, good in zip(places, values, better, strict=True) if good == kind]
        if chosen:
            at, lengths = [i for i, _ in chosen], [v - 1 for _, v in chosen]
            label = "kptool is better" if kind else "the peer or floor is better"
            axis.barh(at, lengths, 0.7, left=1, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0, label=label)
    for i, value in zip(places, values, strict=True):
        aside, align = (4, "left") if value >= 1 else (-4, "right")
        where: dict[str, Any] = {"xytext": (aside, 0), "textcoords": "offset points", "ha": align, "va": "center"}
        axis.annotate(f"{value:.0f}x" if value >= 100 else f"{value:.2g}x", (value, i), fontsize=8, **where)
    axis.axvline(1, color=INK, linewidth=1)
    _name_rows(axis, rows)
    _ratio_axis(axis, values)
    axis.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    return figure


def _grouped(ratios: Sequence[tuple[str, float]]) -> list[tuple[str, float | None]]:
    """The rows of `bars`: each group's name, without a value, above its ratios, the largest first."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for label, value in ratios:
        group, _, rest = label.partition(": ")
        groups.setdefault(group if rest else "", []).append((rest or label, value))
    rows: list[tuple[str, float | None]] = []
    for group, members in groups.items():
        rows += [(group, None)] if group else []
        rows += [(text, value) for text, value in sorted(members, key=lambda member: -member[1])]
    return rows


def _name_rows(axis: Axes, rows: Sequence[tuple[str, float | None]]) -> None:
    axis.set_yticks(range(len(rows)), [text for text, _ in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    for tick, (_, value) in zip(axis.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if value is None else "normal")


def _ratio_axis(axis: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis of ratios with plain numbers, and room for the texts beside bars."""
    axis.set_xscale("log")
    low, high = min([1.0, *values]), max([1.0, *values])
    room = (high / low) ** 0.12 * 1.15
    axis.set_xlim(low / room, high * room)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xlabel("times as good as the peer or floor, logarithmic")


def differences(largest: Mapping[str, float], allowed: float, note: str = "") -> Figure:
    """Differences in pixels by kind of picture as bars on a logarithmic scale, with a line at the `allowed` one."""
    order = sorted(largest, key=lambda name: -largest[name])
    figure = Figure(figsize=(6, 1 + 0.3 * len(largest)), note=note)
    axis = style(figure.subplots(), grid="x")
    drawn = axis.barh([textwrap.shorten(name, 60) for name in order], [max(largest[name], 1e-9) for name in order])
    for bar in drawn:
        bar.set_color(SERIES[0])
    axis.bar_label(drawn, [f"{largest[name]:.2g}" for name in order], padding=3, fontsize=8)
    axis.axvline(allowed, color=SERIES[1], linewidth=1.4, linestyle="--", label=f"allowed: {allowed:g} px")
    axis.set_xscale("log")
    axis.margins(x=0.15)
    axis.invert_yaxis()
    axis.set_xlabel("largest difference from torch, px")
    axis.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def by_name(values: Mapping[str, Any], unit: str, *, note: str = "", colour: str = SERIES[0]) -> Figure:
    """Values by name as horizontal bars, the largest on top."""
    order = sorted(values, key=lambda name: -values[name])
    figure = Figure(figsize=(5, 0.8 + 0.26 * len(order)), note=note)
    axis = style(figure.subplots(), grid="x")
    axis.barh(order, [values[name] for name in order], 0.7, color=colour)
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    return figure
