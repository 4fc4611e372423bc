"""The figures of kptool: matplotlib's object interface, without a display or global state, shown by notebooks as PNG."""

from __future__ import annotations

import io
import textwrap
import warnings
from typing import Any, Literal

from matplotlib import figure, patheffects
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kptool.base.palette import BASELINE, GRID, INK, MUTED, OUTLINE, PAPER

_DPI = 80
_NOTE, _LETTER = 7.5, 0.062
"""Size of a note's letters, points, and their mean width, inches."""

_GROWTHS = 4
"""How often a figure grows by half."""


class Figure(figure.Figure):
    """A white figure with constrained layout. A notebook shows it whether or not pyplot is used in it.

    note: what the figure shows, of what and measured how: small print below it.
    """

    def __init__(self, figsize: tuple[float, float], note: str = "", **more: Any) -> None:
        lines = textwrap.wrap(note, max(20, int(figsize[0] / _LETTER)))
        figsize = figsize[0], figsize[1] + 0.15 * len(lines)
        super().__init__(figsize=figsize, **{"layout": "constrained", "facecolor": PAPER, **more})
        self.small_print = note
        if lines:
            self.supxlabel("\n".join(lines), fontsize=_NOTE, color=MUTED)

    def savefig(self, *args: Any, **options: Any) -> None:
        """As matplotlib's, after the figure has grown until long names and legends leave room for the axes."""
        for _ in range(_GROWTHS):
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
                try:
                    return super().savefig(*args, **options)
                except UserWarning:  # raised before anything is written
                    self.set_size_inches(*(1.5 * self.get_size_inches()))
        return super().savefig(*args, **options)

    def without_note(self) -> Figure:
        """The figure after its note is removed, for pages, which print it as text."""
        if self.small_print:
            self.supxlabel("")
        return self

    def _repr_png_(self) -> bytes:
        """The figure as PNG, called by IPython."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_DPI)
        return buffer.getvalue()


def style(axis: Axes, *, grid: Literal["both", "x", "y"] = "both") -> Axes:
    """The look of every chart: a light grid behind the data, no box around it."""
    axis.set_axisbelow(True)
    axis.grid(True, axis=grid, color=GRID, linewidth=0.7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(MUTED)
    axis.tick_params(colors=INK, labelsize=8.5)
    axis.xaxis.label.set_fontsize(9)
    axis.yaxis.label.set_fontsize(9)
    return axis


def count_epochs(axis: Axes, last: float) -> None:
    """An axis of epochs, whole numbers from the first."""
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    room = min(0.5, 0.04 * max(last - 1, 1))
    axis.set_xlim(1 - room, last + room)


def per_cent(digits: int | None = None) -> PercentFormatter:
    """Shares as per cent on an axis."""
    return PercentFormatter(1.0, decimals=digits)


def mean_shape_line(axis: Axes, value: float | None) -> None:
    """The error of the mean shape as a horizontal grey line, which any model must be below; nothing if it is not known."""
    if value is not None and value == value:
        axis.axhline(value, color=BASELINE, linewidth=2, zorder=1.5, label=f"mean shape, {value:.2f} px")


def rim(width: float, colour: str = OUTLINE) -> list[patheffects.AbstractPathEffect]:
    """An outline, `width` points wide with the line itself, that makes light marks show on light pictures."""
    return [patheffects.Stroke(linewidth=width, foreground=colour), patheffects.Normal()]
