"""The table that a training writes to stderr and to train.log, a line per epoch."""

from __future__ import annotations

from collections.abc import Mapping

LEGEND = "px: RMSE in source pixels; mean px: that of the mean shape; *: best so far"
_COLUMNS = ("epoch", "loss", "val loss", "train px", "val px", "mean px", "lr", "img/s", "ETA")
_WIDTHS = (8, 8, 9, 9, 8, 8, 9, 7, 8)


def heading() -> str:
    """The columns' names."""
    return _joined(_COLUMNS)


def line(row: Mapping[str, float | None], epochs: int, eta: float) -> str:
    """One row of metrics.csv, of `epochs` planned, with `eta` seconds to go: at most 79 characters."""
    cells = [
        f"{row['epoch']}/{epochs}",
        *(_number(row[key], 4) for key in ("loss", "val_loss", "train_rmse", "rmse", "mean_shape_rmse")),
        f"{row['lr']:.1e}",
        _number(row["images_per_second"], 3),
        clock(eta),
    ]
    return (_joined(cells) + (" *" if row["best"] else "")).rstrip()


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: "1:02:05", "2:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _joined(cells: tuple[str, ...] | list[str]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))


def _number(value: float | None, digits: int) -> str:
    """About `digits` significant digits; "-" for what was not measured."""
    if value is None:
        return "-"
    if 0 < abs(value) < 0.1:
        return f"{value:.{digits - 1}g}"
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 1
    return f"{value:.{max(0, digits - magnitude)}f}"
