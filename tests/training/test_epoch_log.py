"""Progress lines of a training run."""

from __future__ import annotations

from kptool.training import epoch_log

ROW = {
    "epoch": 3, "loss": 2.41234, "val_loss": 0.000123, "train_rmse": 1.95, "rmse": 12.1, "mean_shape_rmse": 3.6123,
    "lr": 9.5e-4, "images_per_second": 310.3, "best": 1,
}  # fmt: skip


def test_lines_stand_under_their_heading() -> None:
    heading, line = epoch_log.heading(), epoch_log.line(ROW, 40, 250)
    assert line.split() == ["3/40", "2.412", "0.000123", "1.950", "12.10", "3.612", "9.5e-04", "310", "4:10", "*"]
    for name, cell in zip(("epoch", "mean px", "ETA"), ("3/40", "3.612", "4:10"), strict=True):
        assert heading.index(name) + len(name) == line.index(cell) + len(cell)


def test_lines_fit_eighty_columns() -> None:
    large = {**ROW, "epoch": 1000, "loss": 123456.7, "rmse": 123456.7, "images_per_second": 123456.0}
    assert len(epoch_log.line(large, 1000, 359_999)) < 80
    assert len(epoch_log.heading()) < 80
    assert len(f"# {epoch_log.LEGEND}") < 80


def test_what_was_not_measured_is_a_dash() -> None:
    assert epoch_log.line({**ROW, "mean_shape_rmse": None, "best": 0}, 40, 5).split()[5] == "-"


def test_clock() -> None:
    assert [epoch_log.clock(seconds) for seconds in (5, 125, 3725.4)] == ["0:05", "2:05", "1:02:05"]
