"""How reliable a model's calibrated scores are on the images of a cache, some of whose keypoints are absent.

`kptool.evaluation.presence` fits the scores and defines which keypoints count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kptool.cache.store import Cache
from kptool.data import absence
from kptool.evaluation.evaluation import read_truth, split_index, trained_on
from kptool.evaluation.presence import BINS, Floats, Reliability, counted_labels
from kptool.network.cards import Card


@dataclass(frozen=True)
class ScoreCheck:
    """The reliability of scores against labels.

    there, absent: how many keypoints with and without a label count. calibrated_on: how many of the images are known to be
    among those that the scores were calibrated on, for which they are a little too good.
    """

    there: int
    absent: int
    calibrated_on: int
    reliability: Reliability

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the numbers, and of each fifth of 0..1 the scores in it, their mean and the share that is there."""
        found = self.reliability
        keys = ("from", "to", "keypoints", "mean_score", "share_there")
        return {
            "there": self.there,
            "absent": self.absent,
            "calibrated_on": self.calibrated_on,
            "brier": found.brier,
            "auc": None if math.isnan(found.auc) else found.auc,
            "bins": [
                dict(zip(keys, (k / BINS, (k + 1) / BINS, *each), strict=True)) for k, each in enumerate(found.bins)
            ],
        }

    def rows(self) -> list[tuple[str, str]]:
        """Names and texts of a table."""
        return [
            ("keypoints there, absent", f"{self.there}, {self.absent}"),
            ("Brier score of the scores", f"{self.reliability.brier:.3f}"),
            ("ROC AUC of the scores", f"{self.reliability.auc:.3f}"),
        ]


def check_scores(cache: Cache, split: str, heights: Floats, card: Card) -> ScoreCheck | None:
    """Compare the scores that a model's `card` makes of the peaks' heights (N, K) with the labels of a split.

    None where the scores are not calibrated, or no keypoint that counts is absent or none is there: then nothing can be told
    apart.
    """
    calibration = card.presence
    if calibration is None:
        return None
    index = split_index(cache, split)
    truth, every = read_truth(cache, index), read_truth(cache, np.arange(len(cache))).labelled
    countable = absence.countable(every) & calibration.known
    counted = counted_labels(truth.points, truth.labelled, cache.info.size, countable)
    there = truth.labelled[counted]
    if there.all() or not there.any():
        return None
    scores = calibration.apply(heights)[counted].astype(np.float64)
    known = isinstance(card.data.get("val_rows"), list) and card.data.get("source_sha256") == cache.info.source_sha256
    seen = len(index) - trained_on(card.data, cache, split) if known else 0
    return ScoreCheck(int(there.sum()), int((~there).sum()), seen, Reliability.of(scores, there))
