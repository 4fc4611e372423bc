"""Which keypoints change places when a picture is mirrored: told by their names, or by where they lie, or not at all.

Swapping the wrong ones, or none, teaches a model nonsense, so what is not sure is off: then nothing is mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base import face68
from kptool.base.geometry import apply_affine, fit_similarity
from kptool.data import shapes, side_names
from kptool.data.midline import off_axis
from kptool.data.notes import listed
from kptool.data.side_names import Pairs, by_name

_MOST_SAMPLES, _MOST_DISTANCES = 1500, 20_000_000
_PARTS, _LEAST_IN_PART, _LEAST_SAMPLES = 3, 6, 4
_SYMMETRIC = 0.12
"""Largest misfit of a mirrored mean shape, relative to its radius, that counts as the same shape."""
_PLAUSIBLE = 2.0
"""How many times as far from the mean shape mirrored shapes may lie as the shapes themselves."""


@dataclass(frozen=True)
class FlipPairs:
    """Index pairs that swap, whether images may be mirrored at all, and why, in words."""

    pairs: Pairs
    mirror: bool
    why: str


def infer(
    names: Sequence[str],
    points: NDArray[np.floating] | None = None,
    visibility: NDArray[np.uint8] | None = None,
) -> FlipPairs:
    """The pairs among keypoints of these names, confirmed by labelled points (N, K, 2) where there are any.

    Names that tell sides are believed unless the points contradict them; what then has no side must lie in the middle.
    Without such names, points that are mirror-symmetric in one way, and in one way only, tell the pairs.
    """
    pairs, lonely = by_name(names)
    if lonely:
        return _off(f"{names[lonely[0]]!r} has no counterpart on the other side")
    if pairs and (points is None or visibility is None):
        return _by_name_alone(names, pairs)
    if pairs and points is not None and visibility is not None:
        return _by_name(names, pairs, points, visibility > 0)
    whole = None if points is None or visibility is None else _complete(points, visibility)
    if whole is None or len(names) < 4:
        return _off("neither names nor points tell left from right")
    if len(names) == len(face68.MIRROR) and _confirmed(whole, face68.FLIP_PAIRS):
        return FlipPairs(face68.FLIP_PAIRS, True, "the usual 68 points of a face, confirmed by where they lie")
    found = _agreed(whole)
    if found is None:
        return _off("neither names nor points tell left from right")
    return FlipPairs(found, True, f"{len(found)} left/right pairs, by where the points lie")


def _off(why: str) -> FlipPairs:
    return FlipPairs((), False, f"{why}; images are not mirrored")


def _by_name_alone(names: Sequence[str], pairs: Pairs) -> FlipPairs:
    """What names say where there are no points to see: a long row of numbers is on no axis, but may be a face's."""
    pairs, middle = _with_face(names, pairs)
    row = side_names.too_many(names, middle)
    if row is not None:
        return _off(f"{names[row[0]]} to {names[row[-1]]} have no side by their names")
    return FlipPairs(pairs, True, f"{len(pairs)} left/right pairs, by name")


def _with_face(names: Sequence[str], pairs: Pairs) -> tuple[Pairs, list[int]]:
    """The pairs with those of the usual 68 points of a face, where these are among the others; and what is in neither."""
    middle = side_names.unsided(names, pairs)
    face = side_names.face_of_68(names, middle)
    if face is None:
        return pairs, middle
    more = tuple(sorted((min(face[a], face[b]), max(face[a], face[b])) for a, b in face68.FLIP_PAIRS))
    return (*pairs, *more), [k for k in middle if k not in set(face)]


def _by_name(
    names: Sequence[str], pairs: Pairs, points: NDArray[np.floating], labelled: NDArray[np.bool_]
) -> FlipPairs:
    """Pairs by name, and the usual 68 points of a face among the others, unless points (N, K, 2) contradict them."""
    every, middle = _with_face(names, pairs)
    if len(names) < 3:
        return FlipPairs(every, True, f"{len(every)} left/right pairs, by name")
    ends = sorted({k for pair in pairs for k in pair})
    face = [k for k in range(len(names)) if k not in set(ends) and k not in set(middle)]
    seen = [k for k in middle if labelled[:, k].any()]
    told = _telling(labelled, every)
    unsure = [k for k in (*seen, *face) if not side_names.says_middle(names[k])]
    if told < _LEAST_SAMPLES and unsure:
        which = listed([names[k] for k in unsure])
        return _off(f"{which} without a side by name may lie anywhere, and {told} samples are too few to see it")
    if told < _LEAST_SAMPLES:
        return FlipPairs(every, True, f"{len(every)} left/right pairs, by name")
    if not _agrees(points, labelled & ~np.isin(np.arange(len(names)), middle), every) or (
        face and not _face_agrees(points[:, face], labelled[:, face])
    ):
        return _off("the names tell left and right, but the points do not lie so")
    why = off_axis(names, points, labelled, pairs=every, middle=seen)
    if why is not None:
        return _off(why)
    return FlipPairs(every, True, f"{len(every)} left/right pairs, by name, confirmed by where they lie")


def _telling(labelled: NDArray[np.bool_], pairs: Pairs) -> int:
    """In how many samples, labelled where (N, K) says so, a pair and a third point can be seen."""
    both = labelled[:, [a for a, _ in pairs]] & labelled[:, [b for _, b in pairs]]
    return int((both.sum(axis=1) > 0)[labelled.sum(axis=1) >= shapes.LEAST_POINTS].sum())


def _face_agrees(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> bool:
    """Whether points (N, 68, 2) lie as the usual 68 of a face do; False where too few are labelled to see it."""
    enough = labelled.mean(1) >= 0.5
    return int(enough.sum()) >= _LEAST_SAMPLES and _agrees(points[enough], labelled[enough], face68.FLIP_PAIRS)


def _agrees(points: NDArray[np.floating], labelled: NDArray[np.bool_], pairs: Pairs) -> bool:
    """Whether mirrored shapes, their pairs swapped, lie about as near to the mean shape as the shapes themselves."""
    mean = shapes.mean_shape(points, labelled)
    if mean is None:
        return True
    order = _order(points.shape[1], pairs)
    own = shapes.distances(points, labelled, mean)
    other = shapes.distances((points * [-1.0, 1.0])[:, order], labelled[:, order], mean)
    return bool(np.nanmedian(other) <= max(_PLAUSIBLE * float(np.nanmedian(own)), _SYMMETRIC))


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
