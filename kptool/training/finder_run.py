"""The finder of a run: trained after the keypoint model, on the same cache, into the same run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from kptool.cache.scenes import read_scenes
from kptool.cache.store import Cache
from kptool.data.splits import TRAIN, VAL
from kptool.system.progress import Progress
from kptool.system.signals import Deferred, Stopped
from kptool.training import finder
from kptool.training.run_folder import RunFolder, load_state
from kptool.training.trainer import Trainer

SHARE, _SLACK = 0.3, 1.1
"""Of a time budget, the largest part for the finder; the part is its steps' measured time with this factor."""
_TIMED = 64
"""Whole pictures on which steps are timed."""


def wanted(cache: Cache, *, asked: bool, fold: object) -> bool:
    """Whether to train a finder: the cache has whole pictures, and the training is not one of several folds."""
    return asked and fold is None and cache.scenes > 0


def left_for_epochs(cache: Cache, trainer: Trainer, out: Path, budget: float, settings: dict[str, Any] | None) -> float:
    """Of a `budget` in seconds, the part for the epochs; the rest is for the finder.

    settings: of a training that is resumed, whose part is kept if it had the same budget.
    """
    if settings is not None:
        state, _ = load_state(out, settings)
        if state.get("time") == budget and isinstance(state.get("budget"), float):
            return float(state["budget"])
    each = finder.seconds_per_step(read_scenes(cache, TRAIN, _TIMED), trainer.config, trainer.device)
    return budget - min(SHARE * budget, finder.STEPS * each * _SLACK)


def train_finder(
    cache: Cache, folder: RunFolder, trainer: Trainer, stop: Deferred, budget: float | None, progress: Progress
) -> dict[str, Any]:
    """Train a finder, write it to the run folder, and return what was measured: steps, pictures and instances for
    validation, recall and precision at the threshold.

    budget: seconds, None for as long as it takes. Raises Stopped after a signal; the folder then holds the keypoint model.
    """
    most = finder.most_scenes(cache.scene_bytes)
    scenes, held_out = (read_scenes(cache, part, most) for part in (TRAIN, VAL))
    started = time.perf_counter()
    part = (
        ""
        if len(scenes) + len(held_out) == cache.scenes
        else f" (the cache has {cache.scenes}; no more are needed, or fit)"
    )
    folder.log(f"# finder: training on {len(scenes)} whole pictures of {scenes.size[1]}x{scenes.size[0]} px{part}")
    try:
        network, config = finder.train(
            scenes, held_out, trainer.config, trainer.device, budget=budget, stop=stop, progress=progress
        )
    except Stopped as request:
        raise Stopped(
            request.number,
            f"{folder.out} holds the keypoint model; the same command with --resume trains the finder, from its beginning",
        ) from None
    folder.write_finder(network, config)
    about = {**(config.metrics or {}), "threshold": config.threshold, "seconds": time.perf_counter() - started}
    folder.log(f"# finder: {in_words(about)}")
    return about


def in_words(about: dict[str, Any]) -> str:
    """What was measured, in one line."""
    steps = f"{about['steps']} steps"
    if "recall" not in about:
        return f"{steps}; not measured, as there are no validation pictures with instances"
    return (
        f"{steps}; finds {about['recall']:.1%} of the {about['instances']} instances in {about['pictures']} validation pictures,"
        f" and {about['precision']:.1%} of what it finds is one, from a score of {about['threshold']:.2f} on"
    )
