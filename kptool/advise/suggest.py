"""Chooses the images to label next: those that models disagree on, and that differ from each other and from labelled ones.

    images -> predictions of several models for each, and for shifted copies -> their disagreement
    -> without the images of least disagreement -> repeatedly, the image farthest from all labelled or chosen ones

Models trained on the same labels agree where those labels determine the prediction (query by committee: Seung, Opper &
Sompolinsky, COLT 1992). The images of most disagreement alone are often near-duplicates, such as frames of one video, or
outliers, and are worse than random ones. So disagreement only excludes images that have little to teach, and the others
are covered by the core-set method (Sener & Savarese, ICLR 2018, greedy farthest-first rule) over histograms of gradients.
benchmarks/suggest_experiment.py measures it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import Size
from kptool.data import gradients, images
from kptool.data.pictures import InputPicture
from kptool.evaluation import evaluation
from kptool.network.keypoint_model import KeypointModel
from kptool.system.progress import Progress, silent

_SHIFT = 1 / 32
"""The shift of the copies, as a share of the longer side: within the range of the training augmentation."""
VARIANTS = 3
"""Predictions of each model for each image: unshifted, and shifted both ways."""
_AGREED = 0.4
"""The share of images, those of least disagreement, that is excluded."""
_BLOCK, _SAME = 1024, 1e-5


@dataclass(frozen=True)
class Suggestion:
    """An image worth labelling. disagreement: the spread of predictions, as a share of the image's longer side."""

    file: str
    disagreement: float


def read(
    found: Iterable[InputPicture], size: Size, channels: int
) -> tuple[list[str], NDArray[np.uint8], list[InputPicture]]:
    """Whole pictures resized to a cache's size: names, images (N, H, W) or (N, 3, H, W), and pictures that cannot be read.

    Raises DataError where none can be read.
    """
    names, fitted, failed = [], [], []
    for picture in found:
        if picture.pixels is None:
            failed.append(picture)
            continue
        names.append(picture.name)
        fitted.append(images.resize_for(picture.pixels, size, channels)[0])
    if not fitted:
        raise DataError(f"no picture could be read; the first one: {failed[0].error}" if failed else "there is none")
    return names, np.stack(fitted), failed


def suggest(
    names: Sequence[str],
    pool: NDArray[np.uint8],
    labelled: NDArray[np.uint8],
    models: Sequence[KeypointModel],
    count: int,
    *,
    learnt: NDArray[np.bool_] | None = None,
    progress: Progress = silent,
) -> list[Suggestion]:
    """The `count` images of `pool` (N, ...), called `names`, to label next, in order; `labelled` (M, ...) have labels.

    `learnt` (K,): which keypoints the models had labels of; the others do not count.
    """
    apart = disagreement(models, pool, learnt, progress=progress)
    seen = directions(np.concatenate([pool, labelled]))
    return [Suggestion(names[i], float(apart[i])) for i in choose(apart, seen[: len(pool)], seen[len(pool) :], count)]


def disagreement(
    models: Sequence[KeypointModel],
    pictures: NDArray[np.uint8],
    learnt: NDArray[np.bool_] | None = None,
    *,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """The disagreement (N,) of predictions for each image, as a share of its longer side.

    Each model predicts for the image and for two copies shifted along the diagonal. A keypoint's standard deviation over
    all these predictions is averaged over keypoints, those that are `learnt` (K,).
    """
    height, width = pictures.shape[-2:]
    step = max(1, round(max(height, width) * _SHIFT))
    predicted = []
    for number, model in enumerate(models):
        for turn, by in enumerate((0, step, -step)):
            found = evaluation.run([model], shifted(pictures, by))
            predicted.append(found.points - by)
            progress("pictures", VARIANTS * number + turn + 1, VARIANTS * len(models))
    each = np.sqrt(np.var(np.stack(predicted), axis=0, dtype=np.float64).sum(-1))
    return np.asarray(each[:, ... if learnt is None else learnt].mean(-1) / max(height, width))


def shifted(pictures: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Images (..., H, W) shifted `by` pixels to the right and down; the edge is repeated into the gap."""
    height, width = pictures.shape[-2:]
    rows, columns = (np.clip(np.arange(side) - by, 0, side - 1) for side in (height, width))
    return pictures[..., rows[:, None], columns]


def directions(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Descriptors (N, D) of images (N, ...): gradient features relative to the usual ones, scaled to unit length."""
    seen = gradients.features(np.array_split(pictures, len(pictures) // _BLOCK + 1))
    return np.asarray(seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6))


def choose(apart: NDArray[np.float64], pool: NDArray[np.float32], known: NDArray[np.float32], count: int) -> list[int]:
    """Indices of at most `count` images, in order, each the farthest from `known` (M, D) and those chosen before.

    `pool` (N, D) and `known` have unit length. The 40 % of images with the smallest disagreement `apart` (N,) are excluded,
    or fewer where `count` needs them. Without known images, the first is that of most disagreement. An image equal to a
    known one is never chosen.
    """
    order = np.argsort(-apart, kind="stable")
    some = np.sort(order[: max(count, round((1 - _AGREED) * len(order)))])
    near = np.full(len(some), np.inf, np.float32)
    for start in range(0, len(known), _BLOCK):
        near = np.minimum(near, _distance(pool[some], known[start : start + _BLOCK]).min(1))
    chosen: list[int] = []
    while len(chosen) < min(count, len(some)):
        best = int(near.argmax()) if len(known) or chosen else int(apart[some].argmax())
        if near[best] <= 0:
            break
        chosen.append(int(some[best]))
        near = np.minimum(near, _distance(pool[some], pool[some[best]][None])[:, 0])
    return chosen


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances (N, M) between vectors of unit length; those within float32's rounding error of 0 are 0."""
    squared = 2.0 - 2.0 * (a @ b.T)
    return np.where(squared < _SAME, np.float32(0), squared)
