"""Which keypoints change places when a picture is mirrored: told by their names, or by where they lie, or not at all.

Swapping the wrong ones, or none, teaches a model nonsense, so what is not sure is off: then nothing is mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.geometry import apply_affine, fit_similarity

Pairs = tuple[tuple[int, int], ...]

_SIDES = {"left": "right", "l": "r", "lft": "rgt", "lt": "rt"}
_OTHER = {**_SIDES, **{right: left for left, right in _SIDES.items()}}
_MOST_SAMPLES, _MOST_DISTANCES = 1500, 20_000_000
_PARTS, _LEAST_IN_PART = 3, 6
_SYMMETRIC = 0.12
"""Largest misfit of a mirrored mean shape, relative to its radius, that counts as the same shape."""
_PLAUSIBLE = 2.0
"""How many times as far from the mean shape mirrored shapes may lie as the shapes themselves."""
IBUG68: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
"""Each point's mirror image in the 68-point scheme of 300-W (Sagonas et al., ICCV workshops 2013), from 0."""
IBUG68_PAIRS: Pairs = tuple((k, other) for k, other in enumerate(IBUG68) if k < other)


@dataclass(frozen=True)
class Sides:
    """Index pairs that swap, whether images may be mirrored at all, and why, in words."""

    pairs: Pairs
    mirror: bool
    why: str


def infer(
    names: Sequence[str],
    points: NDArray[np.floating] | None = None,
    visibility: NDArray[np.uint8] | None = None,
) -> Sides:
    """The pairs among keypoints of these names, confirmed by labelled points (N, K, 2) where there are any.

    Names that tell sides are believed unless the points contradict them; without such names, points that are
    mirror-symmetric in one way, and in one way only, tell the pairs.
    """
    pairs, lonely = by_name(names)
    if lonely:
        return Sides((), False, f"{names[lonely[0]]!r} has no counterpart on the other side; images are not mirrored")
    shapes = None if points is None or visibility is None else _complete(points, visibility)
    if pairs:
        if shapes is None or len(names) < 4:
            return Sides(pairs, True, f"{len(pairs)} left/right pairs, by name")
        if _confirmed(shapes, pairs):
            return Sides(pairs, True, f"{len(pairs)} left/right pairs, by name, confirmed by where they lie")
        return Sides((), False, "the names tell left and right, but the points do not lie so; images are not mirrored")
    if shapes is None or len(names) < 4:
        return Sides((), False, "neither names nor points tell left from right; images are not mirrored")
    if len(names) == len(IBUG68) and _confirmed(shapes, IBUG68_PAIRS):
        return Sides(IBUG68_PAIRS, True, "the usual 68 points of a face, confirmed by where they lie")
    found = _agreed(shapes)
    if found is None:
        return Sides((), False, "neither names nor points tell left from right; images are not mirrored")
    return Sides(found, True, f"{len(found)} left/right pairs, by where the points lie")


def by_name(names: Sequence[str]) -> tuple[Pairs, list[int]]:
    """Pairs of names that differ in their side alone ("left_eye", "eyeR", "l-ear", "Lhip"), and sided names without partner.

    left and right always say a side; l and r, or a leading L and R, do once a pair of names is told by them.
    """
    parts = [_tokens(name) for name in names]
    index = {tuple(part): k for k, part in enumerate(parts)}
    partner: dict[int, int] = {}
    told: dict[int, str] = {}
    sided: dict[int, set[str]] = {}
    for k, (name, part) in enumerate(zip(names, parts, strict=True)):
        prefix = {"L": "R", "R": "L"}.get(name[:1])
        if prefix and prefix + name[1:] in names:
            partner[k], told[k] = names.index(prefix + name[1:]), "prefix"
        swaps = [i for i, token in enumerate(part) if token in _OTHER]
        for i in swaps:
            other = index.get((*part[:i], _OTHER[part[i]], *part[i + 1 :]))
            if other is not None:
                partner[k], told[k] = other, _word(part[i])
        sided[k] = {_word(part[i]) for i in swaps} | ({"prefix"} if prefix and name[1:2].islower() else set())
    pairs = tuple((k, other) for k, other in partner.items() if k < other and partner.get(other) == k)
    paired = {k for pair in pairs for k in pair}
    used = {"left"} | {told[k] for k in paired}
    return pairs, [k for k, words in sided.items() if k not in paired and words & used]


def _word(token: str) -> str:
    """What both sides' words are filed under: the left one."""
    return token if token in _SIDES else _OTHER[token]


def _tokens(name: str) -> list[str]:
    """A name's words in lower case: "LeftEye_2" is left, eye, 2; a leading L or R before a capital is a word."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])", " ", name)
    return [token for token in re.split(r"[^a-z0-9]+", spaced.lower()) if token]


def _agreed(shapes: NDArray[np.float64]) -> Pairs | None:
    """The pairs that all shapes tell, and several parts of them on their own as well; else None."""
    parts = [shapes[i::_PARTS] for i in range(_PARTS)]
    if min(map(len, parts)) < _LEAST_IN_PART:
        return None
    told = {by_geometry(part) for part in (shapes, *parts)}
    return told.pop() if len(told) == 1 else None


def by_geometry(shapes: NDArray[np.float64]) -> Pairs | None:
    """Pairs under which complete shapes (N, K, 2) look the same in the mirror; None where that is not sure.

    The mean shape is mirrored at every axis through its middle, and the axis with the least misfit wins. Not sure: a
    large misfit, or another axis that fits as well and is not ruled out by all things standing upright.
    """
    mean = mean_shape(shapes)
    radius = np.sqrt((mean**2).sum(1).mean())
    angles = np.deg2rad(np.arange(0, 180, 2.0))
    fits = [(_misfit(mean, angle) / radius, angle) for angle in angles]
    misfits = np.array([fit for fit, _ in fits])
    if _upright(shapes, mean):
        tilted = np.abs(np.rad2deg(angles) - 90) > 30  # the axis is meant to be near the vertical one
        misfits = np.where(tilted, np.inf, misfits)
    best = int(misfits.argmin())
    gap = np.abs(np.rad2deg(angles) - np.rad2deg(angles[best]))
    elsewhere = misfits[np.minimum(gap, 180 - gap) > 20]
    if misfits[best] > _SYMMETRIC or (len(elsewhere) and elsewhere.min() < 2 * misfits[best] + 0.02):
        return None
    pairs = _refined(mean, shapes, _match(_mirrored_distance(mean, angles[best])))
    return pairs if pairs and _confirmed(shapes, pairs) else None


def mean_shape(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of shapes (N, K, 2) after each was moved, turned and scaled onto it; its middle at 0."""
    mean = shapes[0] - shapes[0].mean(0)
    for _ in range(3):
        mean = np.mean([apply_affine(fit_similarity(shape, mean), shape) for shape in shapes], axis=0)
        mean -= mean.mean(0)
    return np.asarray(mean)


def _complete(points: NDArray[np.floating], visibility: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Some of the samples whose keypoints all have a label and do not coincide; None where there are fewer than 4."""
    whole = np.flatnonzero((visibility > 0).all(1))
    most = max(4, min(_MOST_SAMPLES, _MOST_DISTANCES // points.shape[1] ** 2))
    shapes = points[whole[:: max(1, -(-len(whole) // most))]].astype(np.float64)
    shapes = shapes[np.ptp(shapes, axis=1).max(1) > 1e-6]
    return shapes if len(shapes) >= 4 else None


def _mirrored_distance(mean: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """How far each mirrored keypoint lies from each keypoint, (K, K); the axis runs through 0 at `angle`."""
    c, s = np.cos(2 * angle), np.sin(2 * angle)
    mirrored = mean @ np.array([[c, s], [s, -c]])
    return np.asarray(np.linalg.norm(mirrored[:, None] - mean[None], axis=-1))


def _match(distance: NDArray[np.float64]) -> Pairs:
    """Partners by symmetric distances (K, K), the nearest two first; one that is nearest to itself is in the middle."""
    a, b = np.triu_indices(len(distance))
    free = np.ones(len(distance), bool)
    pairs = []
    for i in np.argsort(distance[a, b], kind="stable"):
        if free[a[i]] and free[b[i]]:
            free[[a[i], b[i]]] = False
            if a[i] != b[i]:
                pairs.append((int(a[i]), int(b[i])))
    return tuple(sorted(pairs))


def _refined(mean: NDArray[np.float64], shapes: NDArray[np.float64], pairs: Pairs) -> Pairs:
    """Partners matched again by where the mirrored mean shape lies once it fits best, and by how points move.

    Neighbours that all but coincide, as the corners of two lips do, differ in how their distances to others vary: the
    mirror image of a keypoint has the same distances to the mirror images of the others.
    """
    scale = np.sqrt(np.square(shapes - shapes.mean(1, keepdims=True)).sum(-1).mean(1))[:, None, None]
    apart = np.linalg.norm(shapes[:, :, None] - shapes[:, None], axis=-1) / scale
    features = np.stack([apart.mean(0), apart.std(0)], axis=-1)
    radius = np.sqrt((mean**2).sum(1).mean())
    for _ in range(10):
        order = _order(len(mean), pairs)
        mirrored = (mean * [-1.0, 1.0])[order]
        back = apply_affine(fit_similarity(mirrored, mean), mean * [-1.0, 1.0])
        place = np.linalg.norm(back[:, None] - mean[None], axis=-1) / radius
        place = np.sqrt((place**2 + place.T**2) / 2)
        moves = np.sqrt(np.square(features[:, None] - features[:, order][None]).sum(-1).mean(-1))
        again = _match(place + moves + moves.T)
        if again == pairs:
            break
        pairs = again
    return pairs


def _order(count: int, pairs: Pairs) -> NDArray[np.int64]:
    order = np.arange(count)
    for a, b in pairs:
        order[a], order[b] = b, a
    return order


def _misfit(mean: NDArray[np.float64], angle: float) -> float:
    return float(np.sqrt(np.square(_mirrored_distance(mean, angle).min(1)).mean()))


def _upright(shapes: NDArray[np.float64], mean: NDArray[np.float64]) -> bool:
    """Whether nearly all shapes stand the same way round in their pictures as the first one does."""
    maps = np.array([fit_similarity(shape, mean) for shape in shapes])
    return bool((maps[:, 0, 0] > np.cos(np.deg2rad(45)) * np.hypot(maps[:, 0, 0], maps[:, 1, 0])).mean() > 0.95)


def _confirmed(shapes: NDArray[np.float64], pairs: Pairs) -> bool:
    """Whether mirrored shapes, their pairs swapped, lie about as near to the mean shape as the shapes themselves."""
    mean = mean_shape(shapes)
    mirrored = (shapes * [-1.0, 1.0])[:, _order(shapes.shape[1], pairs)]
    own, other = (np.median([_distance(shape, mean) for shape in group]) for group in (shapes, mirrored))
    radius = np.sqrt((mean**2).sum(1).mean())
    return bool(other <= max(_PLAUSIBLE * own, _SYMMETRIC * radius))


def _distance(shape: NDArray[np.float64], mean: NDArray[np.float64]) -> float:
    moved = apply_affine(fit_similarity(shape, mean), shape)
    return float(np.sqrt(np.square(moved - mean).sum(1).mean()))
