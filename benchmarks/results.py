"""Write docs/results.md from finished runs: python benchmarks/results.py CACHE RUN... [--extra LABEL=RUN ...]

RUN: the runs of the main table. --extra: rows of the ablation table, each a run and a label that says what differs.
Everything is measured on the cache's validation split by this script, except for figures that the runs themselves
recorded (epochs, minutes of training).
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kptool.base.geometry import apply_affine, invert_affine
from kptool.bench.machine import machine
from kptool.cache.store import Cache
from kptool.evaluation.conformal import calibrate, coverage
from kptool.evaluation.evaluation import Evaluation, evaluate_cache, mean_shape_baseline, mean_shape_nme
from kptool.evaluation.metrics import Metrics
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import Inference, KeypointModel
from kptool.report import charts
from kptool.report import figures as report
from kptool.report.history import histories, read_history
from kptool.system.files import write_text

DOCS = Path(__file__).parent.parent / "docs"
DECODERS = ("argmax", "centroid", "centroid-global", "dark", "gaussian")


@dataclass(frozen=True)
class Run:
    """A finished run and its evaluation on the validation split, without and with flip averaging."""

    label: str
    folder: Path
    model: KeypointModel
    card: cards.Card
    plain: Evaluation
    flipped: Evaluation

    @classmethod
    def measure(cls, label: str, folder: Path, cache: Cache) -> Run:
        """Load the best weights of a run folder and evaluate them on the cache's validation split."""
        model, card = checkpoint.load_model(folder / cards.WEIGHTS)
        plain, flipped = (evaluate_cache([model], cache, inference=Inference(flip)) for flip in (False, True))
        return cls(label, folder, model, card, plain, flipped)

    @property
    def minutes(self) -> float:
        """Training time up to the last epoch, including validation."""
        return float(pd.read_csv(self.folder / "metrics.csv")["seconds"].iloc[-1]) / 60

    def milliseconds(self, cache: Cache) -> float:
        """Time to predict a single image on the CPU: median of 30 runs after 3 warm-up runs."""
        image = torch.from_numpy(cache.read("images", cache.index("val")[:1])[:, None])
        times = []
        for _ in range(33):
            start = time.perf_counter()
            self.model.points(image)
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times[3:])


def figures(metrics: Metrics) -> str:
    """RMSE, NME, AUC and failure rate as table cells."""
    return f"{metrics.rmse:.3f} | {metrics.nme:.2%} | {metrics.auc:.3f} | {metrics.failure_rate:.1%}"


def headline(runs: list[Run], cache: Cache) -> list[str]:
    """The main table: mean shape, models, ensembles."""
    lines = [
        "| model | loss | parameters | training, min | ms per image | RMSE px | NME | AUC | failures | RMSE, flip-averaged |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        f"| mean shape | | | | | {figures(mean_shape_baseline(cache))} | |",
    ]
    for run in runs:
        size = sum(p.numel() for p in run.model.parameters()) / 1e6
        about = (
            f"{run.label} | {run.card.config.loss} | {size:.2f} M | {run.minutes:.0f} | {run.milliseconds(cache):.1f}"
        )
        lines.append(f"| {about} | {figures(run.plain.metrics)} | {run.flipped.metrics.rmse:.3f} |")
    for name, members in combinations(runs).items():
        plain, flipped = (
            evaluate_cache([r.model for r in members], cache, inference=Inference(flip)).metrics
            for flip in (False, True)
        )
        lines.append(f"| {name} | | | | | {figures(plain)} | {flipped.rmse:.3f} |")
    return lines


def combinations(runs: list[Run]) -> dict[str, list[Run]]:
    """Ensembles that get a row: all heatmap models, and all models."""
    maps = [run for run in runs if run.model.plugin.output == "heatmap"]
    named = {" + ".join(r.label for r in maps): maps, " + ".join(r.label for r in runs): runs}
    return {f"average of {name}": members for name, members in named.items() if len(members) > 1}


def keypoints(runs: list[Run], cache: Cache) -> list[str]:
    """Flip-averaged RMSE per keypoint, one column per model."""
    base = mean_shape_baseline(cache).per_keypoint
    lines = [
        "| keypoint | mean shape | " + " | ".join(run.label for run in runs) + " |",
        "|---|" + "---:|" * (len(runs) + 1),
    ]
    for name, value in base.items():
        cells = " | ".join(f"{run.flipped.metrics.per_keypoint[name]:.2f}" for run in runs)
        lines.append(f"| {name} | {value:.2f} | {cells} |")
    return lines


def decoders(runs: list[Run], cache: Cache) -> list[str]:
    """RMSE of the heatmap models with every decoder."""
    maps = [run for run in runs if run.model.plugin.output == "heatmap"]
    lines = ["| decoder | " + " | ".join(run.label for run in maps) + " |", "|---|" + "---:|" * len(maps)]
    for decoder in DECODERS:
        scores = [evaluate_cache([run.model], cache, inference=Inference(decoder=decoder)).metrics.rmse for run in maps]
        lines.append(f"| {decoder} | " + " | ".join(f"{score:.3f}" for score in scores) + " |")
    return lines


def ablation(extra: list[Run]) -> list[str]:
    """One row for every run given by --extra."""
    lines = ["| run | epochs | best epoch | RMSE px | RMSE, flip-averaged |", "|---|---:|---:|---:|---:|"]
    for run in extra:
        epochs, best = run.card.training["epochs"], run.card.metrics["best_epoch"]
        scores = f"{run.plain.metrics.rmse:.3f} | {run.flipped.metrics.rmse:.3f}"
        lines.append(f"| {run.label} | {epochs} | {best} | {scores} |")
    return lines


def radii(runs: list[Run], cache: Cache) -> list[str]:
    """Coverage of the 90 % radius, five-fold by group: calibrated on four fifths, measured on the fifth held out."""
    index = cache.index("val")
    groups, labelled = cache.read("group", index), cache.read("visibility", index) > 0
    truth = apply_affine(invert_affine(cache.read("affine", index)), cache.read("keypoints", index))
    lines = ["| model | coverage | lowest fifth | median radius, px |", "|---|---:|---:|---:|"]
    for run in runs:
        found = run.plain.predictions
        distances = np.linalg.norm(found.points - truth, axis=-1)
        shares, sizes = [], []
        for part in np.array_split(np.unique(groups), 5):
            held = np.isin(groups, part)
            quantiles = np.array(calibrate(distances[~held], found.std[~held], labelled[~held]))
            radius = quantiles * found.std[held]
            shares.append(coverage(distances[held], radius, labelled[held]))
            sizes.append(radius.ravel())
        middle = np.median(np.concatenate(sizes))
        lines.append(f"| {run.label} | {np.mean(shares):.1%} | {min(shares):.1%} | {middle:.2f} |")
    return lines


def draw(runs: list[Run], cache: Cache) -> None:
    """The charts of docs/results.md, each beside the mean shape."""
    shape, note = mean_shape_baseline(cache), f"{len(cache.index('val'))} validation images, flip-averaged"
    errors = {run.label: report.per_image_nme(cache, "val", run.flipped) for run in runs}
    normaliser = runs[0].flipped.metrics.normaliser
    report.save(charts.cumulative(errors, mean_shape_nme(cache), normaliser=normaliser, note=note), DOCS / "errors.png")
    report.save(histories({r.label: read_history(r.folder) for r in runs}), DOCS / "training.png")
    rmse = {r.label: r.flipped.metrics.per_keypoint for r in runs}
    report.save(
        charts.keypoint_bars(rmse, None if shape is None else shape.per_keypoint, note=note), DOCS / "keypoints.png"
    )


def main() -> None:
    """Measure the runs, draw the charts, write docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--extra", action="append", default=[], metavar="LABEL=RUN")
    parser.add_argument("--note", type=Path, help="Markdown file to insert below the main table.")
    given = parser.parse_args()
    with Cache(given.cache) as cache:
        runs = [Run.measure(folder.name, folder, cache) for folder in given.runs]
        extra = [
            Run.measure(label, Path(folder), cache) for label, _, folder in (e.rpartition("=") for e in given.extra)
        ]
        draw(runs, cache)
        images, people = len(cache.index("val")), len(np.unique(cache.read("group", cache.index("val"))))
        facts = machine()
        parts = [
            "# Results",
            f"Measured on {images} validation images of {people} people, none of whom is in the training images, by"
            f" `python benchmarks/results.py` on {datetime.now(UTC):%Y-%m-%d} ({facts['cpu']}). RMSE is Kaggle's, in pixels"
            " of 96, over x and y. NME is normalised by the distance between the outer eye corners; AUC and failure rate use"
            " a threshold of 0.08.",
            "\n".join(headline(runs, cache)),
            given.note.read_text(encoding="utf-8").strip() if given.note else "",
            "![share of the images with at most this error, by model and for the mean shape](errors.png)",
            "## RMSE per keypoint, flip-averaged",
            "\n".join(keypoints(runs, cache)),
            "![RMSE per keypoint, flip-averaged, and that of the mean shape](keypoints.png)",
            "## RMSE by decoder",
            "\n".join(decoders(runs, cache)),
            "## Training",
            "![validation error by epoch](training.png)",
        ]
        if extra:
            parts += ["## Ablations", "\n".join(ablation(extra))]
        parts += [
            "## The 90 % radius",
            "Five-fold over the validation people: calibrated on four fifths, coverage measured on the remaining fifth.",
            "\n".join(radii(runs, cache)),
        ]
    write_text(DOCS / "results.md", "\n\n".join(part for part in parts if part) + "\n")
    print(f"wrote {DOCS / 'results.md'}")


if __name__ == "__main__":
    main()
