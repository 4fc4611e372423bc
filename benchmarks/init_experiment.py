"""Measure whether `kptool train --init` helps or hurts when few images are labelled.

    python benchmarks/init_experiment.py bee/dataset.h5 ceph/dataset.h5 --init unet --seeds 0 1 --out init.json

For each cache, seed and number of images, draws that many training images, group by group, and trains a model on them
twice for the same number of steps: from scratch and from the weights, all else equal. The final weights are evaluated on
the cache's validation images, which select nothing. `--freeze 0.25` adds a third training, which freezes what was taken
for that share of the steps. Each run is saved to the JSON file as soon as it ends, and runs
already there are not repeated. Prints a Markdown table with the RMSE in pixels of the source.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kptool.advise import learn_curve, recommend
from kptool.base.config import ModelConfig, TrainConfig, configure
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import evaluate_arrays
from kptool.evaluation.metrics import GroundTruth, mean_shape, measure_mean_shape
from kptool.system.files import write_text
from kptool.system.progress import silent
from kptool.system.workers import Workers
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.trainer import Trainer

SCRATCH, FROM_WEIGHTS, FROZEN = "scratch", "init", "frozen"
PARTS = ("images", "keypoints", "visibility", "affine")


class Experiment:
    """A cache's training images, some of its validation images, and the model to train on them."""

    def __init__(self, path: Path, given: argparse.Namespace) -> None:
        self.name, self.given = path.parent.name, given
        with Cache(path) as cache:
            facts, info = recommend.Facts.of(cache), cache.info
            train, val = cache.index("train"), cache.index("val")
            val = val[np.unique(np.linspace(0, len(val) - 1, given.val).astype(int))]
            self.train = [cache.read(name, train) for name in PARTS]
            self.val = [cache.read(name, val) for name in PARTS]
            self.groups = learn_curve.own_groups(cache.read("group", train))
        sigma = recommend.sigma(facts, 2).value
        values = {"batch_size": given.batch_size, "lr": given.lr, "sigma": sigma}
        model, config = configure("unet", info.skeleton, info.size, info.channels, values)
        self.model: ModelConfig = model
        self.config: TrainConfig = learn_curve.short(config, given.steps)

    def mean_shape(self) -> float | None:
        """RMSE of the mean shape of all training images, the baseline for any model."""
        shape = mean_shape(self.train[1], self.train[2])
        found = measure_mean_shape(shape, GroundTruth(*self.val[1:]), self.model.names, self.model.size)
        return None if found is None else found.rmse

    def draw(self, size: int, seed: int) -> np.ndarray:
        """Indices of `size` training images, ascending: whole groups in random order, the last possibly in part."""
        rng = np.random.default_rng([seed, 16])
        order = rng.permutation(np.unique(self.groups))
        rows = np.concatenate([rng.permutation(np.flatnonzero(self.groups == group)) for group in order])
        return np.sort(rows[:size])

    def measure(self, size: int, seed: int, way: str) -> dict[str, Any]:
        """Train once, from scratch or from the weights, and evaluate."""
        started, part = time.perf_counter(), self.draw(size, seed)
        data = TrainingSet.upload(*(each[part] for each in self.train[:3]), torch.device("cpu"))
        freeze = round(self.given.freeze * self.config.epochs) if way == FROZEN else 0
        config = dataclasses.replace(self.config, seed=seed, freeze=freeze)
        trainer = Trainer(self.model, config, torch.device("cpu"), Workers())
        taken = None if way == SCRATCH else trainer.start_from(self.given.init)
        epochs = Epochs(data, self.model.flip_pairs, config.augment, batch_size=config.batch_size, seed=seed)
        epochs.steps = math.ceil(self.given.steps / config.epochs)  # regardless of the passes over the images
        while trainer.epoch < config.epochs:
            trainer.run_epoch(epochs, silent)
        found = evaluate_arrays([trainer.average], self.val[0], GroundTruth(*self.val[1:]))
        return {
            "rmse": found.metrics.rmse,
            "nme": found.metrics.nme,
            "seconds": round(time.perf_counter() - started, 1),
            **({} if taken is None else {"taken": taken.describe()}),
        }


def run(given: argparse.Namespace) -> list[dict[str, Any]]:
    """All runs, including those in the file: all caches and sizes of one seed before the next seed."""
    points: list[dict[str, Any]] = json.loads(given.out.read_text())["points"] if given.out.is_file() else []
    keys = ("data", "images", "seed", "steps", "way")
    done = {tuple(point[key] for key in keys) for point in points}
    experiments = [Experiment(path, given) for path in given.caches]
    ways = (SCRATCH, FROM_WEIGHTS, *([FROZEN] if given.freeze else []))
    for seed in given.seeds:
        for experiment in experiments:
            for size in (size for size in given.sizes if size <= len(experiment.groups)):
                for way in ways:
                    key = (experiment.name, size, seed, given.steps, way)
                    if key in done:
                        continue
                    found = experiment.measure(size, seed, way)
                    about = {"val": len(experiment.val[0]), "mean_shape": experiment.mean_shape()}
                    points.append({**dict(zip(keys, key, strict=True)), **about, **found})
                    sys.stderr.write(f"{json.dumps(points[-1])}\n")
                    settings = {k: str(v) for k, v in vars(given).items() if k not in ("caches", "out")}
                    body = {"settings": settings, "machine": platform.machine(), "points": points}
                    write_text(given.out, json.dumps(body, indent=1))
    return points


def table(points: list[dict[str, Any]]) -> str:
    """A row per data set, number of images and number of steps: means over the seeds with all the runs of that row."""
    lines = [
        "| data | images | steps | seeds | mean shape | from scratch | with `--init` | change | and `--freeze` |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for data, steps, images in sorted({(p["data"], p["steps"], p["images"]) for p in points}):
        here = [p for p in points if (p["data"], p["steps"], p["images"]) == (data, steps, images)]
        by = {way: {p["seed"]: p["rmse"] for p in here if p["way"] == way} for way in (SCRATCH, FROM_WEIGHTS, FROZEN)}
        seeds = sorted(set(by[SCRATCH]) & set(by[FROM_WEIGHTS]))
        if not seeds:
            continue
        plain, begun = (np.array([by[way][seed] for seed in seeds]) for way in (SCRATCH, FROM_WEIGHTS))
        change = (begun - plain) / plain
        spread = f" ({change.min():+.0%} to {change.max():+.0%})" if len(seeds) > 1 else ""
        frozen = f"{np.mean([by[FROZEN][seed] for seed in seeds]):.2f}" if set(seeds) <= set(by[FROZEN]) else ""
        lines.append(
            f"| {data} | {images} | {steps} | {len(seeds)} | {here[0]['mean_shape']:.2f} | {plain.mean():.2f}"
            f" | {begun.mean():.2f} | {change.mean():+.0%}{spread} | {frozen} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("caches", type=Path, nargs="+", help="dataset.h5 files; a data set is named after its folder")
    parser.add_argument("--out", type=Path, default=Path("init.json"))
    parser.add_argument("--init", default="unet", help="the weights to start from")
    parser.add_argument("--sizes", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--freeze", type=float, default=0.0, help="share of the steps of a third, frozen training")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--val", type=int, default=100, help="maximum number of validation images, evenly spaced")
    parser.add_argument("--table", action="store_true", help="do not train; print the table of existing runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(table(json.loads(given.out.read_text())["points"] if given.table else run(given)))


if __name__ == "__main__":
    main()
