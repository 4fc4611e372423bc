"""Matching of found boxes to labelled ones, and the score threshold at which finding is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

OVERLAP = 0.3
"""Intersection over union from which a found box is a labelled one's: its crop then shows the instance."""
_THINNEST = 0.5
"""Least ratio of the sides of boxes that are compared."""
_RECALL = 3.0
"""How much more recall weighs than precision: a score tells later what may be no instance, and nothing what was not found."""
_LOWEST, _HIGHEST = 0.2, 0.6
"""Limits of the threshold: a few validation pictures say little about rare mistakes."""


@dataclass(frozen=True)
class Detections:
    """The boxes found in one picture that count. scores: (n,). right: bool (n,), a labelled box's. labelled: the number of
    labelled boxes."""

    scores: Floats
    right: NDArray[np.bool_]
    labelled: int


def overlaps(a: Floats, b: Floats, *, smaller: bool = False) -> Floats:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4): left and top edge, width, height; over the area of the
    `smaller` one if asked."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = a[:, None, 2:].prod(-1), b[None, :, 2:].prod(-1)
    total = np.minimum(*areas) if smaller else areas[0] + areas[1] - shared
    return np.asarray(shared / np.maximum(total, 1e-12), np.float64)


def distinct(boxes: Floats, scores: Floats, most: float = 0.65, within: float = 1.0) -> NDArray[np.int64]:
    """Non-maximum suppression: the indices, from the highest score to the lowest, of boxes (n, 4) that overlap no better one
    by more than `most` of their union, or `within` of the smaller one."""
    kept: list[int] = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        one, others = boxes[best : best + 1], boxes[left]
        apart = (overlaps(others, one) <= most) & (overlaps(others, one, smaller=True) <= within)
        left = left[apart[:, 0]]
    return np.array(kept, np.int64)


def match(boxes: Floats, scores: Floats, labelled: Floats, counts: NDArray[np.bool_]) -> Detections:
    """Match the boxes (n, 4) found in one picture to the labelled ones (m, 4), best score first, each to one at most.

    Thin boxes are compared as wider ones: those made from the keypoints of a long object are slivers at some angles, and the
    crop follows the longer side.
    Boxes that match, or lie mostly in, a labelled one that does not count (m,) are neither right nor wrong.
    """
    kept = distinct(boxes, scores)
    boxes, scores = boxes[kept], scores[kept]
    free = counts.copy()
    right, relevant = np.zeros(len(boxes), bool), np.ones(len(boxes), bool)
    apart = overlaps(_plump(boxes), _plump(labelled))
    for i, row in enumerate(apart):
        own = np.where(free, row, 0)
        if len(own) and own.max() >= OVERLAP:
            free[own.argmax()] = False
            right[i] = True
        else:
            relevant[i] = not _mostly_inside(boxes[i], labelled[~counts])
    return Detections(scores[relevant], right[relevant], int(counts.sum()))


def _plump(boxes: Floats) -> Floats:
    """Boxes (n, 4) about the same centres, with sides of at least half the longer one."""
    sides = np.maximum(boxes[:, 2:], _THINNEST * boxes[:, 2:].max(1, keepdims=True, initial=0))
    return np.concatenate([boxes[:, :2] - (sides - boxes[:, 2:]) / 2, sides], 1)


def _mostly_inside(box: Floats, areas: Floats) -> bool:
    """Whether more than half of a box (4,) lies in one of the areas (m, 4)."""
    low = np.maximum(box[:2], areas[:, :2])
    high = np.minimum(box[:2] + box[2:], areas[:, :2] + areas[:, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    return bool((shared > 0.5 * box[2:].prod()).any())


def best_threshold(pictures: Sequence[Detections]) -> tuple[float, dict[str, float | int]]:
    """The score with the highest F3 (the middle between the last score that is taken and the next), within limits, and
    recall and precision with it."""
    scores = np.concatenate([each.scores for each in pictures])
    right = np.concatenate([each.right for each in pictures])
    labelled = sum(each.labelled for each in pictures)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    weight = _RECALL**2
    f_score = (1 + weight) * hits / (np.arange(1, len(order) + 1) + weight * labelled)
    best = int(f_score.argmax()) if len(f_score) else 0
    middle = 0.3
    if len(f_score):
        after = float(scores[order[best + 1]]) if best + 1 < len(order) else 0.0
        middle = (float(scores[order[best]]) + after) / 2
    threshold = round(min(max(middle, _LOWEST), _HIGHEST), 4)
    taken = scores >= threshold
    true = int((right & taken).sum())
    return threshold, {
        "instances": labelled,
        "recall": true / max(labelled, 1),
        "precision": true / max(int(taken.sum()), 1),
    }
