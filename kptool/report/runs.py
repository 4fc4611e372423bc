"""`kptool report`: several runs on one self-contained HTML page, with tables, curves and example images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from kptool import plugins
from kptool.base.version import __version__
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import Evaluation, evaluate_cache, mean_shape_baseline
from kptool.evaluation.metrics import Metrics
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import Inference, KeypointModel
from kptool.report import charts, figures, html
from kptool.system.progress import Progress, silent

_AVERAGE = "all of them, averaged"


@dataclass(frozen=True)
class Measured:
    """A model on the page: its label, model card, parameter count, training history if any, and evaluation."""

    label: str
    card: cards.Card
    parameters: int
    history: pd.DataFrame | None
    evaluation: Evaluation


def measure_all(
    models: Sequence[str], cache: Cache, *, split: str = "val", flip: bool = False, progress: Progress = silent
) -> list[Measured]:
    """Evaluate models (names, run folders or weights files), and if there are several their average, on a split."""
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
    """The models as a self-contained HTML page."""
    baseline = mean_shape_baseline(cache, split)
    curves = {each.label: figures.per_image_nme(cache, split, each.evaluation) for each in measured}
    histories = {each.label: each.history for each in measured if each.history is not None}
    keypoints = {each.label: each.evaluation.metrics.per_keypoint for each in measured}
    parts = [
        html.heading(f"{len(cache.index(split))} {split} images of {cache.path}", level=1),
        html.paragraph(
            f"kptool {__version__}, {datetime.now(UTC):%Y-%m-%d}. Errors are in pixels of the source images."
        ),
        _comparison(measured, baseline),
        html.heading("Cumulative error"),
        html.chart(charts.cumulative(curves), "share of images by error"),
        html.heading("Error by keypoint"),
        html.chart(charts.keypoint_bars(keypoints), "RMSE of each keypoint"),
        _keypoint_table(measured, baseline),
    ]
    if histories:
        parts += [html.heading("Training"), html.chart(charts.histories(histories), "validation error by epoch")]
    for each in measured:
        figure = figures.predictions(cache, split, each.evaluation)
        parts += [html.heading(f"{each.label}: best to worst"), html.chart(figure, "images with predictions")]
    return html.standalone("kptool report", parts)


def _comparison(measured: Sequence[Measured], baseline: Metrics | None) -> str:
    """The table of models, after the baseline if there is one."""
    heads = ("", "loss", "decoder", "parameters", "RMSE px", "NME", "AUC", "failures")
    rows = [("mean shape", "", "", "", *_figures(baseline))] if baseline is not None else []
    for each in measured:
        config = each.card.config
        decoder = config.decoder if plugins.load_model(config.model).output == "heatmap" else ""
        about = ("", "") if each.label == _AVERAGE else (config.loss, decoder)
        rows.append((each.label, *about, f"{each.parameters / 1e6:.2f} M", *_figures(each.evaluation.metrics)))
    return html.table(heads, rows, best={4: min, 5: min, 6: max, 7: min})


def _figures(metrics: Metrics) -> tuple[str, str, str, str]:
    """RMSE, NME, AUC and failure rate as text."""
    return f"{metrics.rmse:.3f}", f"{metrics.nme:.2%}", f"{metrics.auc:.3f}", f"{metrics.failure_rate:.1%}"


def _keypoint_table(measured: Sequence[Measured], baseline: Metrics | None) -> str:
    """The table of RMSE by keypoint, one column per model; "-" for keypoints without labels."""
    columns = [each.evaluation.metrics.per_keypoint for each in measured]
    columns.insert(0, {} if baseline is None else baseline.per_keypoint)
    rows = [
        (name, *("-" if value is None else f"{value:.2f}" for value in (column.get(name) for column in columns)))
        for name in columns[1]
    ]
    return html.table(("RMSE px", "mean shape", *(each.label for each in measured)), rows)
