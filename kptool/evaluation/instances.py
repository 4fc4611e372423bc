"""Accuracy of predicted instances in whole pictures, given which prediction is whose: precision and recall, PCK, distances.

NumPy only. What counts neither way, see `kptool.evaluation.coco`, is in none of the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.skeleton import VISIBLE
from kptool.data.truth import LabelledPicture
from kptool.evaluation.coco import FoundInstances, Matches
from kptool.evaluation.metrics import distances

LEVELS = (0.1, 0.2)
"""Distances, as shares of the larger side of an instance's box, within which PCK counts a keypoint as correct."""


@dataclass(frozen=True)
class Keypoint:
    """One keypoint. labelled: the number of its labels. distance: the mean, in pixels, of visible labels of found instances;
    None without any. pck: by level, see `InstanceMetrics.pck`, None without a label."""

    labelled: int
    distance: float | None
    pck: dict[str, float | None]


@dataclass(frozen=True)
class InstanceMetrics:
    """found: labelled instances with a prediction that matches; missed: those without; extra: predictions that match none.

    precision: found / (found + extra); recall: found / (found + missed); None if that is 0 / 0. pck: by level, the share
    of the labelled keypoints, of all labelled instances, whose prediction is within that share of the larger side of the
    instance's box; a missed instance's keypoints are wrong. pck_found: the same of the found instances alone. distance: the
    mean distance in pixels between label and prediction, of visible keypoints (visibility 2) of found instances.
    keypoints: by name. ignored: instances that count neither way.
    """

    instances: int
    found: int
    missed: int
    extra: int
    ignored: int
    precision: float | None
    recall: float | None
    pck: dict[str, float | None]
    pck_found: dict[str, float | None]
    distance: float | None
    keypoints: dict[str, Keypoint]


def measure(
    truth: Sequence[LabelledPicture],
    found: Sequence[FoundInstances],
    matches: Sequence[Matches],
    names: Sequence[str],
) -> InstanceMetrics:
    """The metrics of the predictions `found` of the pictures `truth`, of which `matches` are the matches."""
    pairs = [_pair(*each) for each in zip(truth, found, matches, strict=True)]
    k = len(names)
    apart, seen = (np.concatenate([part[i] for part in pairs] or [np.empty((0, k))]) for i in (0, 1))
    relative, hit = (np.concatenate([part[i] for part in pairs] or [np.empty(0)]) for i in (2, 3))
    hit = hit.astype(np.bool_)
    extra = sum(part[4] for part in pairs)
    good = int(hit.sum())
    shares = apart / relative.reshape(-1, 1)
    visible = (seen == VISIBLE) & hit[:, None] & np.isfinite(apart)
    return InstanceMetrics(
        instances=len(hit),
        found=good,
        missed=len(hit) - good,
        extra=extra,
        ignored=sum(int(each.ignored.sum()) for each in truth),
        precision=_ratio(good, good + extra),
        recall=_ratio(good, len(hit)),
        pck=_pck(shares, seen > 0),
        pck_found=_pck(shares[hit], seen[hit] > 0),
        distance=_mean(apart, visible),
        keypoints={
            name: Keypoint(
                int((seen[:, i] > 0).sum()), _mean(apart[:, i], visible[:, i]), _pck(shares[:, i], seen[:, i] > 0)
            )
            for i, name in enumerate(names)
        },
    )


def _pair(
    truth: LabelledPicture, found: FoundInstances, matches: Matches
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_], int]:
    """For the n instances of a picture that count: distances (n, K) of their predictions, infinite without one; visibility
    (n, K); larger sides of their boxes (n,); which are found (n,). And the number of predictions that match none."""
    counts = ~truth.ignored
    apart = np.full(truth.visibility.shape, np.inf)
    hit = np.zeros(len(counts), np.bool_)
    for one in np.flatnonzero(matches.truth >= 0).tolist():
        whose = matches.truth[one]
        apart[whose] = distances(found.points[one].astype(np.float64), truth.points[whose])
        hit[whose] = True
    extra = int((matches.counts & (matches.truth < 0)).sum())
    return apart[counts], truth.visibility[counts], truth.boxes[counts, 2:].max(1), hit[counts], extra


def relative_errors(
    truth: Sequence[LabelledPicture], found: Sequence[FoundInstances], matches: Sequence[Matches]
) -> NDArray[np.float64]:
    """The errors (N, K) of the N found instances, as shares of the square root of their areas; NaN without a label or a
    position."""
    parts = []
    for each, predicted, match in zip(truth, found, matches, strict=True):
        for one in np.flatnonzero(match.counts & (match.truth >= 0)).tolist():
            whose = match.truth[one]
            apart = distances(predicted.points[one].astype(np.float64), each.points[whose])
            known = (each.visibility[whose] > 0) & np.isfinite(apart)
            parts.append(np.where(known, apart / np.sqrt(each.areas[whose]), np.nan))
    return np.array(parts, np.float64).reshape(len(parts), truth[0].visibility.shape[1])


def _pck(shares: NDArray[np.float64], labelled: NDArray[np.bool_]) -> dict[str, float | None]:
    known = shares[labelled]
    return {f"{level:g}": float((known <= level).mean()) if known.size else None for level in LEVELS}


def _mean(values: NDArray[Any], chosen: NDArray[np.bool_]) -> float | None:
    return float(values[chosen].mean()) if chosen.any() else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
