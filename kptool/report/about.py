"""Data, models and errors in words, for the small print below figures and on pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from kptool.base.version import __version__
from kptool.cache.store import Cache
from kptool.network.cards import Card

SPLITS = {"val": "validation images", "train": "training images", "all": "images, training ones among them"}
_NORMALISERS = {
    "outer eye corners": "% of the distance between the outer eye corners",
    "bounding box": "% of the size of the keypoints' bounding box",
    "image diagonal": "% of the image's diagonal",
}


_LONGEST = 40
"""Characters of a label."""


def labels(models: Sequence[str]) -> list[str]:
    """A short label for each model (a name or a path): the fewest last parts of its path that no other one has, at most 40
    characters."""
    parts = [PurePath(model).parts for model in models]
    depth = next(
        (d for d in range(1, max(map(len, parts), default=1)) if len({each[-d:] for each in parts}) == len(set(parts))),
        max(map(len, parts), default=1),
    )
    tails = [str(PurePath(*each[-depth:])) for each in parts]
    return [
        tail if len(tail) <= _LONGEST else f"{tail[: _LONGEST // 2 - 1]}..{tail[1 - _LONGEST // 2 :]}" for tail in tails
    ]


def relative(normaliser: str) -> str:
    """The unit of a relative error, by the name that `kptool.evaluation.metrics.normaliser` returns."""
    return _NORMALISERS.get(normaliser, f"% of the {normaliser}")


def data(cache: Cache) -> str:
    """A cache in one sentence: where it lies, its source, size, split and seed."""
    info, held = cache.info, len(cache.index("val"))
    height, width = info.size
    grouped = ", no group in both" if info.grouped else ""
    return (
        f"{cache.path}, from {info.source}: {len(cache) - held} training and {held} validation images{grouped} of"
        f" {width}x{height} px; split by seed {info.seed}."
    )


def measured(cache: Cache, split: str) -> str:
    """What a figure's errors were measured on."""
    return f"Measured on {len(cache.index(split))} {SPLITS[split]} of {data(cache)}"


def model(card: Card) -> str:
    """A model's main settings in one sentence."""
    config, training = card.config, card.training
    named = (("epochs", "epochs"), ("batch_size", "batch size"), ("lr", "learning rate"), ("seed", "seed"))
    said = [f"{config.model}, width {config.width}, loss {config.loss}"]
    said += [f"{text} {_short(training[key])}" for key, text in named if key in training]
    return f"{', '.join(said)}; kptool {__version__}."


def run(card: Card) -> str:
    """A run's settings, data and split in words; of a card of any origin."""
    kept: Mapping[str, Any] = card.data
    source = (
        f" Trained on {kept['train_images']} images of {kept.get('source', 'unknown')}."
        if "train_images" in kept
        else ""
    )
    held = kept.get("val_rows")
    split = f" Validation: {len(held)} other images." if isinstance(held, list) and held else ""
    return f"{model(card)}{source}{split}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
