"""What recommendations depend on: facts of a cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kptool.base.config import require
from kptool.base.errors import ConfigError
from kptool.base.geometry import Size
from kptool.base.skeleton import Skeleton
from kptool.cache.store import Cache
from kptool.data import absence, shapes
from kptool.data.notes import never_labelled

_SAMPLE, _MOST_TURNED = 256, 0.95
"""Training images of which the spacing is measured, and the share of the instances that `Facts.turned` is about."""


@dataclass(frozen=True)
class Facts:
    """Facts of a cache. images, val: numbers of training and validation images; unlabelled: the share of keypoints without a
    label, among those labelled in any training image; spacing: the median distance in pixels to the nearest other
    keypoint, None without one; groups: of the training images, 0 where unknown; never: a sentence on keypoints that no
    training image has a label of; absent: the share of keypoints that are not there, as far as a missing label means that;
    left_out: a sentence on the keypoints of which it does not; scenes: the
    number of whole pictures for a finder; turned: how far, in degrees, 95 % of the instances are turned at most."""

    images: int
    val: int
    skeleton: Skeleton
    size: Size
    channels: int
    unlabelled: float
    spacing: float | None
    groups: int
    never: str | None = None
    absent: float = 0.0
    left_out: str | None = None
    scenes: int = 0
    turned: float = 0.0

    @classmethod
    def of(cls, cache: Cache) -> Facts:
        """Read a cache. Raises ConfigError where it has no labelled training image."""
        train, info = cache.index("train"), cache.info
        if not len(train):
            raise ConfigError(f"{cache.path} has no image in its train split; extract again with a smaller --val")
        labelled, groups = cache.read("visibility", train) > 0, cache.read("group", train)
        require(bool(labelled.any()), f"{cache.path}: no training image has a labelled keypoint; label some")
        turns = shapes.turns(cache.read("keypoints", train), labelled)
        some = np.unique(np.linspace(0, len(train) - 1, _SAMPLE).astype(np.int64))
        return cls(
            images=len(train),
            val=len(cache.index("val")),
            skeleton=info.skeleton,
            size=info.size,
            channels=info.channels,
            unlabelled=1 - float(labelled[:, labelled.any(0)].mean()),
            spacing=shapes.spacing(cache.read("keypoints", train[some]), labelled[some]),
            groups=len(np.unique(groups[groups >= 0])),
            never=never_labelled(info.names, labelled.sum(0), len(train), "training images"),
            absent=float((~labelled & absence.countable(labelled)).mean()),
            left_out=absence.left_out_note(info.names, labelled),
            scenes=cache.scenes,
            turned=0.0 if turns is None else float(np.quantile(turns, _MOST_TURNED)),
        )
