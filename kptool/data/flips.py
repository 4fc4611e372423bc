"""Infers the flip pairs, the keypoints that swap when an image is mirrored, from names and from the labelled positions.

Wrong pairs would corrupt training, so unless the pairs are certain, images are not mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base import face68
from kptool.base.geometry import apply_affine, fit_similarity, swap_order
from kptool.data import shapes, side_names
from kptool.data.midline import off_axis
from kptool.data.notes import listed
from kptool.data.side_names import Pairs, by_name

_MOST_SAMPLES, _MOST_DISTANCES = 1500, 20_000_000
"""Samples, and entries of distance arrays, that inference from positions uses at most."""
_PARTS, _LEAST_IN_PART, _LEAST_SAMPLES = 3, 6, 4
"""Disjoint parts of the data that must agree on the pairs, and the samples needed in each and in all."""
_SYMMETRIC = 0.12
"""Largest misfit of a mirrored mean shape, relative to its radius, at which the shape counts as symmetric."""
_PLAUSIBLE = 2.0
"""Largest ratio of the mirrored shapes' distance from the mean shape to the shapes' own."""


@dataclass(frozen=True)
class FlipPairs:
    """The inferred or stated flip pairs.

    pairs: keypoint indices. mirror: whether images may be mirrored at all. why: how this was decided, for notes.
    """

    pairs: Pairs
    mirror: bool
    why: str


def infer(
    names: Sequence[str],
    points: NDArray[np.floating] | None = None,
    visibility: NDArray[np.uint8] | None = None,
) -> FlipPairs:
    """Infer the flip pairs from keypoint names and labelled points (N, K, 2) with visibility (N, K).

    Names with sides are trusted unless the points contradict them; keypoints without a side must then lie on the midline.
    Without such names, the points decide if they are mirror-symmetric about exactly one axis.
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
    """Pairs by name without points: refused if a long numbered series is unpaired, unless it is the 68 of a face."""
    pairs, middle = _with_face(names, pairs)
    row = side_names.too_many(names, middle)
    if row is not None:
        return _off(f"{names[row[0]]} to {names[row[-1]]} have no side by their names")
    return FlipPairs(pairs, True, f"{len(pairs)} left/right pairs, by name")


def _with_face(names: Sequence[str], pairs: Pairs) -> tuple[Pairs, list[int]]:
    """The pairs, with those of the 68 face keypoints if these are among the unpaired names; and what remains unpaired."""
    middle = side_names.unsided(names, pairs)
    face = side_names.face_of_68(names, middle)
    if face is None:
        return pairs, middle
    more = tuple(sorted((min(face[a], face[b]), max(face[a], face[b])) for a, b in face68.FLIP_PAIRS))
    return (*pairs, *more), [k for k in middle if k not in set(face)]


def _by_name(
    names: Sequence[str], pairs: Pairs, points: NDArray[np.floating], labelled: NDArray[np.bool_]
) -> FlipPairs:
    """Pairs by name and of the 68 face keypoints, unless points (N, K, 2) contradict them."""
    every, middle = _with_face(names, pairs)
    if len(names) < 3:
        return FlipPairs(every, True, f"{len(every)} left/right pairs, by name")
    ends = sorted({k for pair in pairs for k in pair})
    face = [k for k in range(len(names)) if k not in set(ends) and k not in set(middle)]
    seen = [k for k in middle if labelled[:, k].any()]
    seen_in = _informative(labelled, every)
    unsure = [k for k in (*seen, *face) if not side_names.says_middle(names[k])]
    if seen_in < _LEAST_SAMPLES and unsure:
        which = listed([names[k] for k in unsure])
        return _off(
            f"{which} without a side in the name may lie off the midline, and {seen_in} samples are too few to tell"
        )
    if seen_in < _LEAST_SAMPLES:
        return FlipPairs(every, True, f"{len(every)} left/right pairs, by name")
    if not _agrees(points, labelled & ~np.isin(np.arange(len(names)), middle), every) or (
        face and not _face_agrees(points[:, face], labelled[:, face])
    ):
        return _off("the names state left and right, but the points contradict them")
    why = off_axis(names, points, labelled, pairs=every, middle=seen)
    if why is not None:
        return _off(why)
    return FlipPairs(every, True, f"{len(every)} left/right pairs, by name, confirmed by where they lie")


def _informative(labelled: NDArray[np.bool_], pairs: Pairs) -> int:
    """The number of samples with both keypoints of a pair and a third one labelled (N, K)."""
    both = labelled[:, [a for a, _ in pairs]] & labelled[:, [b for _, b in pairs]]
    return int((both.sum(axis=1) > 0)[labelled.sum(axis=1) >= shapes.LEAST_POINTS].sum())


def _face_agrees(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> bool:
    """Whether points (N, 68, 2) have the symmetry of the 68 face keypoints; False if too few are labelled."""
    enough = labelled.mean(1) >= 0.5
    return int(enough.sum()) >= _LEAST_SAMPLES and _agrees(points[enough], labelled[enough], face68.FLIP_PAIRS)


def _agrees(points: NDArray[np.floating], labelled: NDArray[np.bool_], pairs: Pairs) -> bool:
    """Whether flipped shapes are about as close to the robust mean shape as the shapes themselves."""
    mean = shapes.mean_shape(points, labelled)
    if mean is None:
        return True
    order = swap_order(points.shape[1], pairs)
    own = shapes.distances(points, labelled, mean)
    other = shapes.distances((points * [-1.0, 1.0])[:, order], labelled[:, order], mean)
    return bool(np.nanmedian(other) <= max(_PLAUSIBLE * float(np.nanmedian(own)), _SYMMETRIC))


def _agreed(shapes: NDArray[np.float64]) -> Pairs | None:
    """The pairs by geometry if all shapes, and each of several parts of them, give the same; else None."""
    parts = [shapes[i::_PARTS] for i in range(_PARTS)]
    if min(map(len, parts)) < _LEAST_IN_PART:
        return None
    found = {by_geometry(part) for part in (shapes, *parts)}
    return found.pop() if len(found) == 1 else None


def by_geometry(shapes: NDArray[np.float64]) -> Pairs | None:
    """The pairs under which complete shapes (N, K, 2) equal their mirror images; None if uncertain.

    The mean shape is mirrored at axes through its centroid in steps of 2 degrees; the axis with the least misfit wins.
    Uncertain are a large misfit, and a second axis that fits as well, unless all shapes are upright and rule it out.
    """
    mean = mean_shape(shapes)
    radius = np.sqrt((mean**2).sum(1).mean())
    angles = np.deg2rad(np.arange(0, 180, 2.0))
    fits = [(_misfit(mean, angle) / radius, angle) for angle in angles]
    misfits = np.array([fit for fit, _ in fits])
    if _upright(shapes, mean):
        tilted = np.abs(np.rad2deg(angles) - 90) > 30  # upright objects have a nearly vertical axis
        misfits = np.where(tilted, np.inf, misfits)
    best = int(misfits.argmin())
    gap = np.abs(np.rad2deg(angles) - np.rad2deg(angles[best]))
    elsewhere = misfits[np.minimum(gap, 180 - gap) > 20]
    if misfits[best] > _SYMMETRIC or (len(elsewhere) and elsewhere.min() < 2 * misfits[best] + 0.02):
        return None
    pairs = _refined(mean, shapes, _match(_mirrored_distance(mean, angles[best])))
    return pairs if pairs and _confirmed(shapes, pairs) else None


def mean_shape(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Procrustes mean (K, 2) of complete shapes (N, K, 2), with its centroid at 0."""
    mean = shapes[0] - shapes[0].mean(0)
    for _ in range(3):
        mean = np.mean([apply_affine(fit_similarity(shape, mean), shape) for shape in shapes], axis=0)
        mean -= mean.mean(0)
    return np.asarray(mean)


def _complete(points: NDArray[np.floating], visibility: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Evenly spaced samples (n, K, 2) with all keypoints labelled and some extent; None if there are fewer than 4."""
    whole = np.flatnonzero((visibility > 0).all(1))
    most = max(4, min(_MOST_SAMPLES, _MOST_DISTANCES // points.shape[1] ** 2))
    shapes = points[whole[:: max(1, -(-len(whole) // most))]].astype(np.float64)
    shapes = shapes[np.ptp(shapes, axis=1).max(1) > 1e-6]
    return shapes if len(shapes) >= 4 else None


def _mirrored_distance(mean: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Distances (K, K) of each keypoint, mirrored at the axis through 0 at `angle` (radians), from each keypoint."""
    c, s = np.cos(2 * angle), np.sin(2 * angle)
    mirrored = mean @ np.array([[c, s], [s, -c]])
    return np.asarray(np.linalg.norm(mirrored[:, None] - mean[None], axis=-1))


def _match(distance: NDArray[np.float64]) -> Pairs:
    """Greedy matching by symmetric distances (K, K), nearest first; a keypoint matched with itself is on the midline."""
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
    """Pairs rematched, until stable, by the best alignment of the mirrored mean shape and by how the keypoints move.

    Motion tells neighbours apart that almost coincide, such as the corners of both lips: a keypoint's mirror image has the
    same distances, in mean and deviation, to the mirror images of the others.
    """
    scale = np.sqrt(np.square(shapes - shapes.mean(1, keepdims=True)).sum(-1).mean(1))[:, None, None]
    apart = np.linalg.norm(shapes[:, :, None] - shapes[:, None], axis=-1) / scale
    features = np.stack([apart.mean(0), apart.std(0)], axis=-1)
    radius = np.sqrt((mean**2).sum(1).mean())
    for _ in range(10):
        order = swap_order(len(mean), pairs)
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


def _misfit(mean: NDArray[np.float64], angle: float) -> float:
    """The root-mean-square distance of mirrored keypoints from their nearest keypoints."""
    return float(np.sqrt(np.square(_mirrored_distance(mean, angle).min(1)).mean()))


def _upright(shapes: NDArray[np.float64], mean: NDArray[np.float64]) -> bool:
    """Whether nearly all shapes have about the orientation of the first one."""
    maps = np.array([fit_similarity(shape, mean) for shape in shapes])
    return bool((maps[:, 0, 0] > np.cos(np.deg2rad(45)) * np.hypot(maps[:, 0, 0], maps[:, 1, 0])).mean() > 0.95)


def _confirmed(shapes: NDArray[np.float64], pairs: Pairs) -> bool:
    """As `_agrees`, for complete shapes (N, K, 2) and their Procrustes mean."""
    mean = mean_shape(shapes)
    mirrored = (shapes * [-1.0, 1.0])[:, swap_order(shapes.shape[1], pairs)]
    own, other = (np.median([_distance(shape, mean) for shape in group]) for group in (shapes, mirrored))
    radius = np.sqrt((mean**2).sum(1).mean())
    return bool(other <= max(_PLAUSIBLE * own, _SYMMETRIC * radius))


def _distance(shape: NDArray[np.float64], mean: NDArray[np.float64]) -> float:
    """The root-mean-square distance of a shape from `mean` after alignment."""
    moved = apply_affine(fit_similarity(shape, mean), shape)
    return float(np.sqrt(np.square(moved - mean).sum(1).mean()))
