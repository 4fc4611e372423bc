"""Charts: whole epochs, the mean shape, axes that show weak models, sorted bars."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kptool.base import palette
from kptool.report import about, charts
from kptool.report.canvas import Figure


def history(epochs: int, rmse: float = 3.0, **more: float) -> pd.DataFrame:
    rows = {"epoch": np.arange(1.0, epochs + 1), "loss": 1.0, "rmse": rmse, "lr": 0.1}
    return pd.DataFrame(rows | more)


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes if (legend := axis.get_legend()) for text in legend.get_texts()]


@pytest.mark.parametrize("level", [0.02, 0.4, 3.0])
def test_cumulative_errors_show_weak_models_too(level: float) -> None:
    weak = level * np.linspace(0.9, 1.1, 50)
    figure = charts.cumulative({"good": weak / 10, "weak": weak}, np.full(50, 0.1), normaliser="outer eye corners")
    axis = figure.axes[0]
    assert axis.get_xlim()[1] >= max(np.quantile(weak, 0.95), 0.08, 0.1)
    for line in axis.lines[:3]:
        assert line.get_ydata()[-1] >= 0.95
    assert axis.get_xlabel() == "error of an image,\n% of the distance between the outer eye corners"
    FigureCanvasAgg(figure).draw()
    assert all(tick.get_text().endswith("%") for tick in axis.get_xticklabels())
    assert labels(figure) == ["mean shape", "good", "weak"]
    assert axis.lines[0].get_color() == palette.BASELINE


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_epochs_are_whole_numbers(epochs: int) -> None:
    figure = charts.histories({"a": history(epochs), "b": history(epochs, 5.0)})
    FigureCanvasAgg(figure).draw()
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == int(tick) >= 1 for tick in ticks)


def test_curves_have_the_error_on_training_images_and_the_mean_shape(tmp_path: Path) -> None:
    frame = history(4, 3.0, train_rmse=2.0, val_loss=1.5, mean_shape_rmse=9.0)
    frame.to_csv(tmp_path / "metrics.csv", index=False)
    figure = charts.curves(tmp_path)
    assert labels(figure) == ["training", "validation", "mean shape, 9.00 px", "training", "validation"]
    assert figure.axes[1].get_ylim()[1] > 9
    history(4).to_csv(tmp_path / "metrics.csv", index=False)  # of an older kptool
    assert labels(charts.curves(tmp_path)) == ["training", "validation"]


def test_bars_are_sorted_and_beside_the_mean_shape() -> None:
    errors: dict[str, float | None] = {"low": 1.0, "high": 3.0, "none": None}
    figure = charts.keypoint_bars({"a": errors}, {"low": 2.0, "high": 4.0}, {"a": {"high": (2.5, 3.5)}})
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["high", "low", "none"]
    bottom, top = axis.get_ylim()
    assert bottom > top  # the first is on top
    shapes = axis.collections[0].get_segments()
    assert [segment[0][0] for segment in shapes] == [4.0, 2.0]
    assert axis.lines[0].get_xdata().tolist() == [2.5, 3.5]
    assert labels(figure) == ["mean shape", "a", "95 % interval"]


def test_ratios_are_listed_by_group_the_largest_first() -> None:
    figure = charts.bars([("core: slow vs b", 0.5), ("core: fast vs a", 8.0), ("train: step vs c", 1.2)])
    axis = figure.axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["core", "fast vs a", "slow vs b", "train", "step vs c"]
    assert [text.get_text() for text in axis.texts] == ["8x", "0.5x", "1.2x"]
    FigureCanvasAgg(figure).draw()
    for text in axis.texts:
        assert axis.bbox.x0 - 2 <= text.get_window_extent().x0
        assert text.get_window_extent().x1 <= axis.bbox.x1 + 2


def test_a_note_is_below_its_chart_and_inside_the_picture() -> None:
    figure = charts.cumulative({"a": np.array([0.1])}, note="word " * 60)
    FigureCanvasAgg(figure).draw()
    where = figure._supxlabel.get_window_extent()
    assert where.x0 >= 0
    assert where.x1 <= figure.bbox.width
    assert where.y1 <= figure.axes[0].get_tightbbox().y0 + 1


def test_a_figure_grows_until_long_names_leave_room_for_the_axes() -> None:
    name = "a keypoint with a very long name, " * 6
    drawn = charts.by_name({name: 1.0, "short": 2.0}, "px")
    width = drawn.get_size_inches()[0]
    drawn.savefig(io.BytesIO(), format="png")
    assert drawn.get_size_inches()[0] > width
    assert drawn.axes[0].get_position().width > 0.1


def test_runs_are_labelled_by_what_tells_their_paths_apart() -> None:
    assert about.labels(["unet", "/data/runs/fcn"]) == ["unet", "fcn"]
    assert about.labels(["/a/one/unet", "/a/two/unet", "vgg"]) == ["one/unet", "two/unet", "vgg"]
    assert about.labels(["runs/unet", "runs/unet"]) == ["unet", "unet"]
    (label,) = about.labels(["x" * 100 + "y" * 100])
    assert len(label) == 40
    assert (label[:3], label[-3:]) == ("xxx", "yyy")
