"""Which pictures to label next: those that models disagree on, and that are unlike each other and what is labelled.

    pictures -> what several models find in each, and in each moved a little -> how far that lies apart
    -> without the ones that models agree on most -> one after the other, the picture least like all that is labelled

Models that saw the same labels agree where those labels tell them what to find (query by committee: Seung, Opper &
Sompolinsky, COLT 1992). The most disputed pictures alone would be ten frames of one video, each as hard as the next, or
pictures like no other; they are worse than random ones. So disagreement only says which pictures have nothing to teach,
and of the others those are named that leave no picture far from a labelled one (the core-set of Sener & Savarese, ICLR
2018, by its greedy farthest-first rule), over histograms of gradients. benchmarks/suggest_experiment.py measures it.
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
from kptool.evaluate import evaluation
from kptool.network.keypoint_model import KeypointModel
from kptool.system.progress import Progress, silent

_MOVED = 1 / 32
"""How far pictures are moved, as a share of their sides: less than what models are trained to put up with."""
LOOKS = 3
"""How often each model looks at each picture: as it is, and moved both ways."""
_AGREED = 0.4
"""The share of the pictures, those that models agree on most, that is passed over."""
_BLOCK, _SAME = 1024, 1e-5


@dataclass(frozen=True)
class Suggestion:
    """A picture worth labelling. disagreement: how far predictions lie apart, as a share of the picture's side."""

    file: str
    disagreement: float


def read(
    found: Iterable[InputPicture], size: Size, channels: int
) -> tuple[list[str], NDArray[np.uint8], list[InputPicture]]:
    """Pictures, whole, at a cache's size: names, images (N, H, W) or (N, 3, H, W), and those that cannot be read.

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
    """The `count` pictures of `pool` (N, ...) to label next, the first one first; `labelled` (M, ...) are already.

    `learnt` (K,) are the keypoints that have labels; of the others a model says nothing.
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
    """How far predictions for each picture lie apart, (N,), as a share of its longer side.

    Each model looks at the picture, and at it moved both ways along a diagonal. What counts is the standard
    deviation of each keypoint over all looks, averaged over keypoints, those that are `learnt` (K,).
    """
    height, width = pictures.shape[-2:]
    step = max(1, round(max(height, width) * _MOVED))
    looks = []
    for number, model in enumerate(models):
        for turn, by in enumerate((0, step, -step)):
            found = evaluation.run([model], moved(pictures, by))
            looks.append(found.points - by)
            progress("pictures", LOOKS * number + turn + 1, LOOKS * len(models))
    each = np.sqrt(np.var(np.stack(looks), axis=0, dtype=np.float64).sum(-1))
    return np.asarray(each[:, ... if learnt is None else learnt].mean(-1) / max(height, width))


def moved(pictures: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Pictures (..., H, W) moved `by` pixels to the right and down; the edge is repeated where they came from."""
    height, width = pictures.shape[-2:]
    rows, columns = (np.clip(np.arange(side) - by, 0, side - 1) for side in (height, width))
    return pictures[..., rows[:, None], columns]


def directions(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What tells pictures (N, ...) apart: in which direction their gradients differ from the usual, (N, D), unit length."""
    seen = gradients.features(np.array_split(pictures, len(pictures) // _BLOCK + 1))
    return np.asarray(seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6))


def choose(apart: NDArray[np.float64], pool: NDArray[np.float32], known: NDArray[np.float32], count: int) -> list[int]:
    """Indices of at most `count` pictures, the first one first: each the farthest from `known` (M, D) and those before.

    `pool` (N, D) and `known` are of unit length. Of the pictures, the 40 % with the smallest `apart` (N,) are left out, or
    fewer where `count` needs them. Without anything known, the first is where models disagree most. A picture that is
    known already is never chosen.
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
    """Squared distances (N, M) between vectors of unit length; about 0 counts as 0, whatever float32 makes of it."""
    squared = 2.0 - 2.0 * (a @ b.T)
    return np.where(squared < _SAME, np.float32(0), squared)
