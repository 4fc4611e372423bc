"""Runs side by side on one HTML page that needs nothing else: tables, curves and faces inside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from kptool import plugins
from kptool.base.version import __version__
from kptool.cache.store import Cache
from kptool.evaluate.evaluation import Evaluation, evaluate_cache, mean_shape_baseline
from kptool.evaluate.metrics import Metrics
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import Inference, KeypointModel
from kptool.report import charts, figures
from kptool.report.html import picture_tag, standalone
from kptool.system.progress import Progress, silent

_AVERAGE = "all of them, averaged"


@dataclass(frozen=True)
class Measured:
    """A model of the page: its label, weights' description, history where there is one, and what it found."""

    label: str
    card: cards.Card
    parameters: int
    history: pd.DataFrame | None
    evaluation: Evaluation


def measure_all(
    models: Sequence[str], cache: Cache, *, split: str = "val", flip: bool = False, progress: Progress = silent
) -> list[Measured]:
    """Every model (a name, run folder or weights file), and with two or more their average, on a split of a cache."""
    measured: list[Measured] = []
    loaded: list[KeypointModel] = []
    for number, model in enumerate(models):
        progress("models", number, len(models))
        path, _ = cards.resolve(model, measuring=True)
        network, card = checkpoint.load_model(path)
        loaded.append(network)
        found = evaluate_cache([network], cache, split, Inference(flip))
        history = charts.read_history(path.parent) if (path.parent / "metrics.csv").is_file() else None
        size = sum(p.numel() for p in network.parameters())
        measured.append(Measured(model, card, size, history, found))
    if len(loaded) > 1:
        together = evaluate_cache(loaded, cache, split, Inference(flip))
        size = sum(each.parameters for each in measured)
        measured.append(Measured(_AVERAGE, measured[0].card, size, None, together))
    return measured


def write_page(measured: Sequence[Measured], cache: Cache, split: str) -> str:
    """The page, as text."""
    baseline = mean_shape_baseline(cache, split)
    curves = {each.label: figures.per_image_nme(cache, split, each.evaluation) for each in measured}
    histories = {each.label: each.history for each in measured if each.history is not None}
    keypoints = {each.label: each.evaluation.metrics.per_keypoint for each in measured}
    parts = [
        f"<h1>{len(cache.index(split))} {split} images of {html.escape(str(cache.path))}</h1>",
        f"<p>kptool {__version__}, {datetime.now(UTC):%Y-%m-%d}. Errors in the source images' pixels.</p>",
        _comparison(measured, baseline),
        "<h2>Cumulative error</h2>",
        picture_tag(charts.cumulative(curves), "share of images by error"),
        "<h2>Keypoint by keypoint</h2>",
        picture_tag(charts.keypoint_bars(keypoints), "RMSE of each keypoint"),
        _keypoint_table(measured, baseline),
    ]
    if histories:
        parts += ["<h2>Training</h2>", picture_tag(charts.histories(histories), "validation error by epoch")]
    for each in measured:
        parts += [
            f"<h2>{html.escape(each.label)}: best to worst</h2>",
            picture_tag(figures.predictions(cache, split, each.evaluation), "faces with predictions"),
        ]
    return standalone("kptool report", parts)


def _comparison(measured: Sequence[Measured], baseline: Metrics | None) -> str:
    heads = ("", "loss", "decoder", "parameters", "RMSE px", "NME", "AUC", "failures")
    rows = [("mean shape", "", "", "", *_figures(baseline))] if baseline is not None else []
    for each in measured:
        config = each.card.config
        decoder = config.decoder if plugins.load_model(config.model).output == "heatmap" else ""
        about = ("", "") if each.label == _AVERAGE else (config.loss, decoder)
        rows.append((each.label, *about, f"{each.parameters / 1e6:.2f} M", *_figures(each.evaluation.metrics)))
    return _table(heads, rows, best={4: min, 5: min, 6: max, 7: min})


def _figures(metrics: Metrics) -> tuple[str, str, str, str]:
    return f"{metrics.rmse:.3f}", f"{metrics.nme:.2%}", f"{metrics.auc:.3f}", f"{metrics.failure_rate:.1%}"


def _keypoint_table(measured: Sequence[Measured], baseline: Metrics | None) -> str:
    columns = [each.evaluation.metrics.per_keypoint for each in measured]
    columns.insert(0, {} if baseline is None else baseline.per_keypoint)
    rows = [
        (name, *("-" if value is None else f"{value:.2f}" for value in (column.get(name) for column in columns)))
        for name in columns[1]
    ]
    return _table(("RMSE px", "mean shape", *(each.label for each in measured)), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], best: dict[int, Any] | None = None) -> str:
    """An HTML table; in the columns of `best`, the cell that min or max chooses stands out."""
    winners = {
        column: choose((row[column] for row in rows), key=lambda cell: float(cell.rstrip("%")))
        for column, choose in (best or {}).items()
    }
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=best' if winners.get(column) == cell else ''}>{html.escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
