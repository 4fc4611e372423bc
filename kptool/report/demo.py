"""The page of `kptool demo`: what was run, the data, the training, the errors, and what to run next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from kptool.cache.store import Cache
from kptool.evaluation.evaluation import evaluate_cache, mean_shape_baseline
from kptool.evaluation.metrics import Metrics
from kptool.network import cards, checkpoint
from kptool.report import about, charts, figures, html, tables

_ENLARGED = 3
"""Factor by which drawn pictures are enlarged on the page."""
_NEXT = (
    ("kptool predict photo.jpg --out drawn", "every face in a photo of yours, by the weights that ship with kptool"),
    ("kptool extract labels.json --out data/mine", "your own points, from the file of your labelling tool"),
    ("kptool recommend data/mine/dataset.h5 --out recipe.toml", "model and settings for your data and machine"),
    ("kptool train --config recipe.toml", "training with them"),
    ("kptool doctor data/mine/dataset.h5 --html doctor.html", "labels that are probably wrong, on a page"),
)


@dataclass(frozen=True)
class Step:
    """A command of the demo, as typed in a shell, and the seconds that it took."""

    command: str
    seconds: float


def write_page(cache_path: Path, run: Path, drawn: Sequence[Path], steps: Sequence[Step]) -> str:
    """A self-contained HTML page on the demo's cache and run; `drawn` are pictures with predictions."""
    model, card = checkpoint.load_model(run / cards.WEIGHTS)
    with Cache(cache_path) as cache:
        found = evaluate_cache([model], cache, "val")
        baseline = mean_shape_baseline(cache, "val")
        examples = figures.example_tiles(cache)
        data = [
            html.heading("The data"),
            html.tiles(examples, figures.keys(cache, occluded=True), about.data(cache)),
            html.paragraph(
                "The network learns to predict a Gaussian around each keypoint; here all of a face in one picture."
            ),
            html.picture(figures.example_heatmaps(cache), "target heatmaps"),
        ]
        best_to_worst = html.tiles(figures.prediction_tiles(cache, "val", found), figures.prediction_keys(cache))
    shape = None if baseline is None else baseline.per_keypoint
    bars = charts.keypoint_bars({"unet": found.metrics.per_keypoint}, shape, note=about.run(card))
    parts = [
        html.heading("kptool demo", level=1),
        html.paragraph(_summary(card, found.metrics, baseline)),
        html.heading("What was run"),
        html.bullets([f"{step.command} ({step.seconds:.0f} s)" for step in steps]),
        *data,
        html.heading("The training"),
        html.chart(charts.curves(run), "loss and validation error by epoch"),
        html.heading("The errors on faces kept apart"),
        _metrics(found.metrics, baseline),
        html.chart(bars, "RMSE of each keypoint"),
        html.heading("Predictions, from the best to the worst"),
        best_to_worst,
        html.heading("What predict draws"),
        *(html.captioned(_enlarged(path), path.name) for path in drawn),
        html.heading("What to run next"),
        html.bullets([f"{command}: {what}" for command, what in _NEXT]),
    ]
    return html.standalone("kptool demo", parts)


def _summary(card: cards.Card, metrics: Metrics, baseline: Metrics | None) -> str:
    """What was trained, on how much, and how well it does."""
    names, size = card.config.names, card.config.size
    than = "" if baseline is None else f"; always predicting the mean of the training faces has {baseline.rmse:.2f} px"
    return (
        f"A U-Net learnt to find {len(names)} keypoints on synthetic faces of {size[1]}x{size[0]} pixels, and was measured on "
        f"{metrics.images} faces that it did not see: RMSE {metrics.rmse:.2f} px{than}. Real faces are harder."
    )


def _metrics(metrics: Metrics, baseline: Metrics | None) -> str:
    columns = [each.to_dict() for each in (metrics, baseline) if each is not None]
    heads = ("", "U-Net", "mean shape")[: len(columns) + 1]
    return html.wide_table(heads, tables.metric_rows(columns, keypoints=False), "metrics")


def _enlarged(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.resize((picture.width * _ENLARGED, picture.height * _ENLARGED), Image.Resampling.NEAREST)
