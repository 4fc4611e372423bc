"""Measure whether labelling the pictures that `kptool learn-curve --suggest` names helps more than random ones.

    python benchmarks/suggest_experiment.py data/faces/dataset.h5 --seeds 200 201 202 203 --start 40 --more 40

For each seed, a third of the groups (people, videos) is held out for evaluation. A few small networks (the committee)
are trained on `--start` random images of the others. `--more` images are then added, chosen by the committee, and,
several times, at random. New networks trained on each set are evaluated on the held-out groups. Prints one JSON
document: the RMSE of every network in pixels of the source, and the mean over seeds with its standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kptool.advise import learn_curve, suggest
from kptool.base.config import configure
from kptool.base.geometry import apply_affine, scale_affine
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import evaluate_arrays
from kptool.evaluation.metrics import GroundTruth
from kptool.network.keypoint_model import KeypointModel
from kptool.training.batches import TrainingSet

# Little augmentation and a high learning rate, so that within seconds the networks are limited by the amount of data.
QUICK = {"lr": 8e-3, "batch_size": 8, "augment.rotation": 8, "augment.scale": 0.1, "augment.light": 0.2}
QUICK |= {"augment.elastic": 0, "augment.erase": 0}


class Experiment:
    """A cache resized to small images, and networks trained on subsets of it."""

    def __init__(self, path: Path, side: int, model: str, width: int, steps: int) -> None:
        with Cache(path) as cache:
            info, self.steps = cache.info, steps
            given = {**QUICK, "width": width}
            self.model, config = configure(model, info.skeleton, (side, side), info.channels, given)
            self.config = learn_curve.short(config, steps)
            shrink = scale_affine(info.size, (side, side))
            affine = shrink[:, :2] @ cache.read("affine")
            affine[..., 2] += shrink[:, 2]
            self.images = resized(cache.read("images"), side)
            points = apply_affine(shrink, cache.read("keypoints")).astype(np.float32)
            self.points, self.visibility, self.affines = points, cache.read("visibility"), affine
            self.groups = learn_curve.own_groups(cache.read("group"))
        self.data = TrainingSet.upload(self.images, self.points, self.visibility, torch.device("cpu"))

    def train(self, part: np.ndarray, seed: int) -> KeypointModel:
        """Train a network on the images with indices `part`."""
        config = dataclasses.replace(self.config, seed=seed)
        return learn_curve.train_part(self.data, np.sort(part), self.model, config, steps=self.steps)

    def rmse(self, model: KeypointModel, held: np.ndarray) -> float:
        """RMSE of a model on the images with indices `held`, in pixels of the source."""
        truth = GroundTruth(self.points[held], self.visibility[held], self.affines[held])
        return evaluate_arrays([model], self.images[held], truth).metrics.rmse

    def run(self, seed: int, start: int, more: int, committee: int, repeats: int) -> dict[str, Any]:
        """Compare suggested with random additions to one random labelled set."""
        rng = np.random.default_rng(seed)
        unique = rng.permutation(np.unique(self.groups))
        aside = np.isin(self.groups, unique[: len(unique) // 3])
        held, order = np.flatnonzero(aside), rng.permutation(np.flatnonzero(~aside))
        labelled, pool = order[:start], np.sort(order[start:])
        models = [self.train(labelled, 1000 * seed + number) for number in range(committee)]
        apart = suggest.disagreement(models, self.images[pool])
        seen = suggest.directions(self.images[np.concatenate([pool, labelled])])
        named = pool[suggest.choose(apart, seen[: len(pool)], seen[len(pool) :], more)]
        drawn = [order[start + more * r : start + more * (r + 1)] for r in range(repeats)]
        # networks of both kinds start from the same weights and use the same order, so that only the added images differ
        seeds = [1000 * seed + 500 + r for r in range(repeats)]
        errors = {
            "start": [self.rmse(model, held) for model in models],
            "random": [
                self.rmse(self.train(np.append(labelled, d), s), held) for d, s in zip(drawn, seeds, strict=True)
            ],
            "suggest": [self.rmse(self.train(np.append(labelled, named), s), held) for s in seeds],
        }
        groups = {"random": len(np.unique(self.groups[drawn[0]])), "suggest": len(np.unique(self.groups[named]))}
        return {"seed": seed, "rmse": errors, "groups": groups}


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """Images (N, H, W) or (N, C, H, W) resized to side x side by area averaging."""
    stacked = torch.from_numpy(images if images.ndim == 4 else images[:, None])
    parts = [torch.nn.functional.interpolate(p.float(), (side, side), mode="area").round() for p in stacked.split(256)]
    return np.asarray(torch.cat(parts).to(torch.uint8).numpy().reshape(*images.shape[:-2], side, side))


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the paired difference between suggested and random additions."""
    means = {way: np.array([np.mean(run["rmse"][way]) for run in runs]) for way in ("start", "random", "suggest")}
    difference = means["suggest"] - means["random"]
    spread = float(difference.std(ddof=1)) if len(runs) > 1 else None
    return {
        **{way: {"rmse": float(each.mean()), "sd_over_seeds": float(each.std())} for way, each in means.items()},
        "suggest_minus_random": float(difference.mean()),
        "standard_error": None if spread is None else spread / len(runs) ** 0.5,
        "better_in": f"{int((difference < 0).sum())} of {len(runs)}",
    }


def main() -> None:
    """Print the JSON document on stdout, and each seed's result on stderr."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[200, 201, 202, 203])
    parser.add_argument("--start", type=int, default=40, help="initially labelled images")
    parser.add_argument("--more", type=int, default=40, help="images added")
    parser.add_argument("--committee", type=int, default=2, help="networks whose disagreement is measured")
    parser.add_argument("--repeats", type=int, default=2, help="random draws, and networks trained on each kind of set")
    parser.add_argument("--model", default="fcn")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    experiment = Experiment(given.cache, given.side, given.model, given.width, given.steps)
    runs = []
    for seed in given.seeds:
        runs.append(experiment.run(seed, given.start, given.more, given.committee, given.repeats))
        sys.stderr.write(f"{json.dumps(runs[-1])}\n")
    settings = {key: value for key, value in vars(given).items() if key != "cache"}
    seconds = round(time.process_time() - started)
    print(json.dumps({"settings": settings, "summary": summary(runs), "runs": runs, "cpu_seconds": seconds}))


if __name__ == "__main__":
    main()
