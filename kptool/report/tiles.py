"""Tiles: images with keypoints, labels and findings drawn on them, as a matplotlib figure; `kptool.report.svg` puts the same
tiles on pages.

Filled marks are labels of visible keypoints, or predictions; hollow ones are occluded, or the label beside a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kptool.base.palette import FINDING, LEFT, MIDDLE, OUTLINE, RIGHT, TRUTH, shape_of
from kptool.report.canvas import Figure, rim

HOLLOW, FILLED = 1, 2
Ring = tuple[tuple[float, float], tuple[float, float] | None]
"""A finding's position and the expected one, if known."""
_MARKERS = {"circle": "o", "square": "s", "diamond": "D"}
_AREA = {"circle": 1.0, "square": 0.8, "diamond": 0.62}
"""Marker sizes, relative to a circle of the same area."""
_RIMS = [
    patheffects.Stroke(linewidth=2.4, foreground=OUTLINE),
    patheffects.Stroke(linewidth=1.4, foreground=TRUTH),
    patheffects.Normal(),
]
_LETTER = 0.09
"""Width of a title's letter, inches; rather too large."""


@dataclass(frozen=True)
class Key:
    """An entry of a legend. tint: a colour of `kptool.base.palette`. kind: "filled", "hollow", "line", "ring"."""

    text: str
    tint: str
    kind: str = "filled"


@dataclass(frozen=True)
class Tile:
    """An image (H, W), (3, H, W) or (H, W, 3) and what is drawn on it, in its pixels.

    points: (K, 2); levels: (K,), 0 for nothing, `HOLLOW` or `FILLED`; tints: the colour of each. truth: (K, 2), the labels
    beside predictions, NaN for none; a line joins the two. rings: (x, y) of findings, each with the expected position or
    None. joined: index pairs of points with a thin line between them.
    """

    image: NDArray[np.uint8]
    caption: str
    points: NDArray[Any]
    levels: NDArray[Any]
    tints: Sequence[str]
    names: Sequence[str] = ()
    truth: NDArray[Any] | None = None
    rings: Sequence[Ring] = ()
    joined: Sequence[tuple[int, int]] = ()

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image as (H, W) or (H, W, 3)."""
        channels_first = self.image.ndim == 3 and self.image.shape[0] == 3 and self.image.shape[2] != 3
        return np.moveaxis(self.image, 0, -1) if channels_first else self.image

    @property
    def errors(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """The two ends of each line from a label to its prediction."""
        if self.truth is None:
            return []
        known = np.isfinite(self.truth).all(-1) & np.isfinite(self.points).all(-1) & (self.levels > 0)
        return list(zip(self.truth[known], self.points[known], strict=True))


def grid(
    count: int,
    *,
    columns: int = 0,
    cell: float = 1.6,
    aspect: float = 1.0,
    title: str = "",
    keys: Sequence[Key] = (),
    note: str = "",
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` cells without axes, each `cell` inches wide and `aspect` times as high; `columns` 0: about as many
    as rows.

    keys: the legend below the cells.
    """
    columns = columns or max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    width = columns * cell
    lines = math.ceil(len(title) * _LETTER / width)
    across = max(1, int(width / 1.3))
    low = 0.22 * math.ceil(len(keys) / across)
    figure = Figure(figsize=(width, rows * (cell * aspect + 0.12) + 0.2 + 0.2 * max(1, lines) + low), note=note)
    ratios = [cell * aspect] * rows + ([low] if keys else [])
    spec = figure.add_gridspec(len(ratios), columns, height_ratios=ratios)
    axes = [figure.add_subplot(spec[row, column]) for row in range(rows) for column in range(columns)]
    for axis in axes:
        axis.set_axis_off()
    if keys:
        _legend(figure.add_subplot(spec[rows, :]), keys, across)
    if title:
        figure.suptitle(title, fontsize=11, wrap=True)  # a long one is cut off at both ends otherwise
    return figure, axes


def _legend(axis: Axes, keys: Sequence[Key], across: int) -> None:
    axis.set_axis_off()
    drawn = axis.legend(
        handles=[_handle(key) for key in keys],
        loc="center",
        ncols=min(across, len(keys)),
        fontsize=8,
        frameon=False,
        handletextpad=0.5,
        columnspacing=1.2,
        borderaxespad=0,
    )
    drawn.set_in_layout(False)


def _handle(key: Key) -> Line2D:
    if key.kind == "line":
        return Line2D([], [], color=key.tint, linewidth=1.2, path_effects=rim(2.6), label=key.text)
    marker, size = _MARKERS[shape_of(key.tint)], 6.5 * math.sqrt(_AREA[shape_of(key.tint)])
    filled = key.kind == "filled"
    return Line2D(
        [],
        [],
        linestyle="",
        marker=marker,
        markersize=size + 3 * (key.kind == "ring"),
        markerfacecolor=key.tint if filled else "none",
        markeredgecolor=key.tint,
        markeredgewidth=0.4 if filled else 1.2,
        path_effects=_RIMS if filled else rim(2.6),
        label=key.text,
    )


def figure_of(
    tiles: Sequence[Tile], *, columns: int = 0, title: str = "", keys: Sequence[Key] = (), note: str = ""
) -> Figure:
    """The tiles side by side."""
    figure, axes = grid(len(tiles), columns=columns, title=title, keys=keys, note=note)
    for axis, tile in zip(axes, tiles, strict=False):
        draw(axis, tile)
    return figure


def draw(axis: Axes, tile: Tile) -> None:
    """Draw a tile: the image without interpolation, lines below marks, the caption above."""
    axis.imshow(tile.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    for a, b in tile.joined:
        if (tile.levels[[a, b]] > 0).all():
            axis.plot(*tile.points[[a, b]].T, color=TRUTH, linewidth=0.5, alpha=0.7)
    _lines(axis, tile.errors, TRUTH, 0.8)
    if tile.truth is not None:
        x, y = tile.truth[np.isfinite(tile.truth).all(-1)].T
        axis.scatter(x, y, s=15, facecolors="none", edgecolors=TRUTH, linewidths=0.9, path_effects=rim(2.2))
    draw_points(axis, tile.points, tile.levels, tile.tints, size=6)
    _lines(axis, [pair for pair in tile.rings if pair[1] is not None], FINDING, 1.0)
    for (x, y), expected in tile.rings:
        axis.scatter([x], [y], s=70, facecolors="none", edgecolors=FINDING, linewidths=1.4, path_effects=rim(2.8))
        if expected is not None:
            where: dict[str, Any] = {"marker": "x", "s": 40, "c": FINDING, "linewidths": 1.4, "path_effects": rim(2.8)}
            axis.scatter([expected[0]], [expected[1]], **where)
    if tile.caption:
        axis.set_title(tile.caption, fontsize=7, pad=2)


def _lines(axis: Axes, ends: Iterable[Any], colour: str, width: float) -> None:
    ends = [np.array(pair) for pair in ends]
    if ends:
        axis.add_collection(
            LineCollection(ends, colors=colour, linewidths=width, path_effects=rim(width + 1.2)), autolim=False
        )


def draw_points(
    axis: Axes, points: NDArray[Any], visibility: NDArray[Any], colour: Sequence[str], size: float = 9
) -> None:
    """Draw keypoints (K, 2) as outlined marks in their colours and shapes; hollow where `visibility` is `HOLLOW`."""
    tint, known = np.array(colour), np.isfinite(points).all(-1)
    for each in dict.fromkeys(colour):
        shape = shape_of(each)
        for level, face in ((FILLED, each), (HOLLOW, "none")):
            chosen = (visibility == level) & (tint == each) & known
            if chosen.any():
                x, y = points[chosen].T
                axis.scatter(
                    x,
                    y,
                    marker=_MARKERS[shape],
                    s=size * _AREA[shape],
                    facecolors=face,
                    edgecolors=each,
                    linewidths=0.4 if level == FILLED else 1.1,
                    path_effects=_RIMS if level == FILLED else rim(2.2),
                )


def side_keys(sides: dict[str, str], what: str = "") -> list[Key]:
    """The legend of the keypoints' colours; `sides` as `kptool.data.colours.sides` returns it, `what` before each."""
    return [Key(f"{what}{text}", tint) for tint, text in sides.items() if tint in (LEFT, RIGHT, MIDDLE)]
