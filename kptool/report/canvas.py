"""The figures of kptool: matplotlib's object interface, without a display or global state, shown by notebooks as PNG."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import figure

_DPI = 80


class Figure(figure.Figure):
    """A white figure with constrained layout. A notebook shows it whether or not pyplot is used in it."""

    def __init__(self, figsize: tuple[float, float], **more: Any) -> None:
        super().__init__(figsize=figsize, **{"layout": "constrained", "facecolor": "white", **more})

    def _repr_png_(self) -> bytes:
        """The figure as PNG, called by IPython."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_DPI)
        return buffer.getvalue()
