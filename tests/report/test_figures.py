"""Pictures of caches and runs."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kptool.report import figures


@pytest.mark.parametrize("count", [1, 6, 16])
def test_a_long_title_is_inside_its_picture_and_above_the_cells(count: int) -> None:
    title = "best to worst: RMSE 15.99 px, NME 15.54%, ground truth in white"
    figure, axes = figures.grid(count, title=title)
    FigureCanvasAgg(figure).draw()
    where, top = figure._suptitle.get_window_extent(), max(axis.get_position().y1 for axis in axes)
    assert where.x0 >= 0
    assert where.x1 <= figure.bbox.width
    assert where.y1 <= figure.bbox.height
    if count > 1:  # a single cell is as wide as a few words
        assert where.y0 >= top * figure.bbox.height
