"""`kptool report`: several runs on one self-contained HTML page, with tables, curves and example images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from kptool import plugins
from kptool.base.geometry import apply_affine
from kptool.base.version import __version__
from kptool.cache.store import Cache
from kptool.evaluation.bootstrap import Interval, Intervals, rmse_intervals
from kptool.evaluation.evaluation import (
    Evaluation,
    evaluate_cache,
    mean_shape_baseline,
    mean_shape_nme,
    read_truth,
)
from kptool.evaluation.metrics import Metrics
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import Inference, KeypointModel
from kptool.report import about, charts, figures, html
from kptool.report.history import errors_by_epoch
from kptool.system.progress import Progress, silent

_AVERAGE = "all of them, averaged"
_MOST_BARS = 5
"""Models in the chart of keypoints; more cannot be told apart there, and are in the table."""


@dataclass(frozen=True)
class Measured:
    """A model on the page: its name or path as given, a short label, its model card, parameter count, training history if
    any, evaluation, and the confidence intervals of its RMSE."""

    model: str
    label: str
    card: cards.Card
    parameters: int
    history: pd.DataFrame | None
    evaluation: Evaluation
    intervals: Intervals


def measure_all(
    models: Sequence[str], cache: Cache, *, split: str = "val", flip: bool = False, progress: Progress = silent
) -> list[Measured]:
    """Evaluate models (names, run folders or weights files), and if there are several their average, on a split."""
    measured: list[Measured] = []
    loaded: list[KeypointModel] = []
    for number, (model, label) in enumerate(zip(models, about.labels(models), strict=True)):
        progress("models", number, len(models))
        path, _ = cards.resolve(model, measuring=True)
        network, card = checkpoint.load_model(path)
        loaded.append(network)
        found = evaluate_cache([network], cache, split, Inference(flip))
        history = charts.read_history(path.parent) if (path.parent / "metrics.csv").is_file() else None
        size = sum(p.numel() for p in network.parameters())
        measured.append(Measured(model, label, card, size, history, found, _intervals(found, cache, split)))
    if len(loaded) > 1:
        together = evaluate_cache(loaded, cache, split, Inference(flip))
        size = sum(each.parameters for each in measured)
        spans = _intervals(together, cache, split)
        measured.append(Measured(_AVERAGE, _AVERAGE, measured[0].card, size, None, together, spans))
    return measured


def _intervals(found: Evaluation, cache: Cache, split: str) -> Intervals:
    index = cache.index(split)
    truth = read_truth(cache, index)
    errors = found.points - apply_affine(truth.back, truth.points)
    return rmse_intervals(errors, truth.labelled, cache.read("group", index), cache.info.names)


def write_page(measured: Sequence[Measured], cache: Cache, split: str, *, flip: bool = False) -> str:
    """The models as a self-contained HTML page."""
    baseline = mean_shape_baseline(cache, split)
    count, kind = len(cache.index(split)), about.SPLITS[split]
    flipped = " Predictions are averaged with those for the mirrored images." if flip else ""
    parts = [
        html.heading(f"{count} {kind} of {cache.path}", level=1),
        html.paragraph(
            f"kptool {__version__}, {datetime.now(UTC):%Y-%m-%d}. Errors are in pixels of the source images. "
            f"{about.data(cache)}{flipped}"
        ),
        html.heading("Models"),
        _comparison(measured, baseline),
        html.paragraph(measured[0].intervals.words()),
        html.bullets([f"{each.model}: {about.run(each.card)}" for each in measured if each.label != _AVERAGE]),
        *_errors(measured, cache, split, baseline),
        *_training(measured),
    ]
    for each in measured:
        shown = figures.prediction_tiles(cache, split, each.evaluation)
        unit = (
            f"Images from the smallest to the largest error, in {about.relative(each.evaluation.metrics.normaliser)}."
        )
        parts += [html.heading(f"{each.label}: best to worst"), html.tiles(shown, figures.prediction_keys(cache), unit)]
    return html.standalone("kptool report", parts)


def _errors(measured: Sequence[Measured], cache: Cache, split: str, baseline: Metrics | None) -> list[str]:
    """The parts on errors: of images, and by keypoint."""
    note = about.measured(cache, split)
    images = {each.label: figures.per_image_nme(cache, split, each.evaluation) for each in measured}
    shape = None if baseline is None else mean_shape_nme(cache, split)
    unit = measured[0].evaluation.metrics.normaliser
    shown = measured[:_MOST_BARS]
    fewer = f" The first {_MOST_BARS} of {len(measured)} models." if len(shown) < len(measured) else ""
    bars = charts.keypoint_bars(
        {each.label: each.evaluation.metrics.per_keypoint for each in shown},
        None if baseline is None else baseline.per_keypoint,
        {each.label: each.intervals.per_keypoint for each in shown},
        note=f"Sorted by {shown[0].label}. {measured[0].intervals.words()}{fewer} {note}",
    )
    return [
        html.heading("Errors of images"),
        html.chart(charts.cumulative(images, shape, normaliser=unit, note=note), "share of images by error"),
        html.heading("Errors by keypoint"),
        html.chart(bars, "RMSE of each keypoint"),
        _keypoint_table(measured, baseline),
    ]


def _training(measured: Sequence[Measured]) -> list[str]:
    """The part on trainings: all runs in one chart, and each with its errors on training images."""
    histories = {each.label: each.history for each in measured if each.history is not None}
    if not histories:
        return []
    each = [
        html.chart(errors_by_epoch(history, f"{label}: {about.run(card)}"), f"RMSE of {label} by epoch")
        for label, history, card in ((m.label, m.history, m.card) for m in measured)
        if history is not None
    ]
    together = html.chart(charts.histories(histories), "validation error by epoch")
    return [html.heading("Training"), html.side_by_side([together, *each] if len(each) > 1 else each)]


def _comparison(measured: Sequence[Measured], baseline: Metrics | None) -> str:
    """The table of models, after the baseline if there is one, which is never marked as the best."""
    heads = ("model", "loss", "decoder", "parameters", "RMSE px", "95 % interval", "NME", "AUC", "failures")
    rows = [("mean shape", "", "", "", *_figures(baseline, None))] if baseline is not None else []
    for each in measured:
        config = each.card.config
        decoder = config.decoder if plugins.load_model(config.model).output == "heatmap" else ""
        settings = ("", "") if each.label == _AVERAGE else (config.loss, decoder)
        numbers = _figures(each.evaluation.metrics, each.intervals.rmse)
        rows.append((each.label, *settings, f"{each.parameters / 1e6:.2f} M", *numbers))
    best = {4: min, 6: min, 7: max, 8: min}
    return html.wide_table(heads, rows, "models and their errors", best, first=int(baseline is not None))


def _figures(metrics: Metrics, interval: Interval | None) -> tuple[str, ...]:
    """RMSE and its interval, NME, AUC and failure rate as text."""
    rates = f"{metrics.nme:.2%}", f"{metrics.auc:.3f}", f"{metrics.failure_rate:.1%}"
    return f"{metrics.rmse:.3f}", _span(interval, 3), *rates


def _span(interval: Interval | None, digits: int) -> str:
    return "-" if interval is None else f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _keypoint_table(measured: Sequence[Measured], baseline: Metrics | None) -> str:
    """The table of RMSE by keypoint, one column per model; "-" for keypoints without labels."""
    columns = [each.evaluation.metrics.per_keypoint for each in measured]
    columns.insert(0, {} if baseline is None else baseline.per_keypoint)
    rows = [
        (name, *("-" if value is None else f"{value:.2f}" for value in (column.get(name) for column in columns)))
        for name in columns[1]
    ]
    return html.wide_table(("RMSE px", "mean shape", *(each.label for each in measured)), rows, "RMSE by keypoint")
