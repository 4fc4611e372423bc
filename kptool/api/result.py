"""What the results of all functions have in common: a document, a table in notebooks, a figure and a data frame."""

from __future__ import annotations

import abc
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kptool.system.progress import REMARKS

if TYPE_CHECKING:
    import pandas as pd

    from kptool.report.canvas import Figure

_remarks = logging.getLogger(REMARKS)


class Result(abc.ABC):
    """The result of a function; `notes` are sentences on what was not used or should be known."""

    notes: tuple[str, ...]

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The document that the command prints with ``--json``, as plain values."""

    @abc.abstractmethod
    def plot(self) -> Figure:
        """The result as a matplotlib figure, which a notebook shows."""

    @abc.abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """The result's table as a data frame."""

    @abc.abstractmethod
    def _rows(self) -> Sequence[tuple[str, ...]]:
        """The rows of the table that a notebook shows."""

    def _heads(self) -> tuple[str, ...]:
        return ("", "")

    def _repr_html_(self) -> str:
        """The result as a small table, called by IPython."""
        from kptool.report import html

        return html.table(self._heads(), self._rows()) + (html.bullets(self.notes) if self.notes else "")


def remark(text: str) -> None:
    """Log a sentence, which the command line prints on stderr."""
    _remarks.info("%s", text)
