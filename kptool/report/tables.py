"""Metrics as text tables: of one model by keypoint, and of several models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from kptool.evaluation.metrics import FAILURE, PCK_LEVELS
from kptool.network.cards import CLEARLY


def metrics_table(
    metrics: dict[str, Any],
    title: str,
    mean_shape: dict[str, Any] | None = None,
    more: Sequence[tuple[str, str]] = (),
) -> Table:
    """The metrics of one model, beside those of the training images' mean shape where they are given, and the RMSE of each
    keypoint; both as `Metrics.to_dict` returns them. `more` are rows about the model alone."""
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value" if mean_shape is None else "model", justify="right")
    if mean_shape is not None:
        table.add_column("mean shape", justify="right")
    for row in metric_rows([metrics] if mean_shape is None else [metrics, mean_shape]):
        table.add_row(*row, end_section=row[0].startswith(_LAST_PCK))
    table.add_section()
    for row in more:
        table.add_row(*row, *([] if mean_shape is None else ["-"]))
    return table


def metric_rows(columns: Sequence[dict[str, Any]], *, keypoints: bool = True) -> list[tuple[str, ...]]:
    """The name of each metric and its texts, one of each column, as `Metrics.to_dict` returns them.

    With `keypoints`, the RMSE of each keypoint follows. What a later column lacks is "-".
    """
    cells = [_cells(column if keypoints else column | {"per_keypoint": {}}) for column in columns]
    return [(name, *(column.get(name, "-") for column in cells)) for name in cells[0]]


_LAST_PCK = f"PCK at {PCK_LEVELS[-1]:g}"


def _cells(metrics: dict[str, Any]) -> dict[str, str]:
    """The texts of one column, by row."""
    cells = {
        "RMSE": f"{metrics['rmse']:.3f} px",
        f"NME ({metrics['normaliser']})": f"{metrics['nme']:.2%}",
        f"AUC at {FAILURE:g}": f"{metrics['auc']:.3f}",
        f"failures above {FAILURE:g}": f"{metrics['failure_rate']:.1%}",
    }
    cells |= {f"PCK at {level}": f"{share:.1%}" for level, share in metrics["pck"].items()}
    rmse = metrics["per_keypoint"].items()
    return cells | {name: "-" if value is None else f"{value:.3f} px" for name, value in rmse}


def beside_mean_shape(rmse: float, baseline: float | None, what: str = "the model") -> str:
    """Compare a model's RMSE with that of the training images' mean shape, in one sentence.

    The thresholds are those by which `cards.resolve` prefers a run to shipped weights. `baseline` None: not measurable.
    """
    if baseline is None:
        return "no comparison with the training images' mean shape: the measured keypoints are not labelled in them"
    said = f"for comparison, the training images' mean shape: RMSE {baseline:.3f} px"
    if rmse < CLEARLY * baseline:
        return said
    if rmse < baseline:
        return f"{said}; {what} is not clearly better ({rmse:.3f} px), so it is not used by default; train it longer"
    return (
        f"{said}; {what} is worse ({rmse:.3f} px), so it has not learnt anything useful; train it longer, or with a lower"
        " learning rate"
    )


def comparison_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Models side by side, one row each: parameters, RMSE, NME, AUC, failures, training time. Missing values are blank."""
    kind = "validation" if all(row["val"] for row in rows) else "training"
    table = Table(title=f"side by side, on the {kind} images", title_justify="left", box=None, pad_edge=False)
    table.add_column("model")
    for head in COMPARED:
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(*comparison_row(row))
    return table


COMPARED = ("params", "RMSE px", "NME", "AUC", "fail", "epoch", "img/s", "min")
"""The columns of the comparison after the model; with spreads, 79 characters."""


def comparison_row(row: dict[str, Any]) -> tuple[str, ...]:
    """The model and its texts in the columns `COMPARED`, of a document of ``kptool train --json``."""
    metrics = row["val"] or row["train"]
    return (
        row["model"],
        f"{row['parameters'] / 1e6:.2f} M" if "parameters" in row else "",
        _with_spread(row, "rmse", ".3f"),
        _with_spread(row, "nme", ".2%"),
        f"{metrics['auc']:.3f}",
        f"{metrics['failure_rate']:.1%}",
        f"{row['best_epoch']:.0f}" if "best_epoch" in row else "",
        f"{row['images_per_second']:.0f}" if "images_per_second" in row else "",
        f"{row['seconds'] / 60:.1f}" if "seconds" in row else "",
    )


def _with_spread(row: dict[str, Any], metric: str, form: str) -> str:
    """A metric, with its standard deviation over folds or seeds if there are several."""
    spread = row.get("spread", {}).get(metric)
    return f"{(row['val'] or row['train'])[metric]:{form}}" + (f" ± {spread:{form}}" if spread is not None else "")
