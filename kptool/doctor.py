"""`kptool doctor`: what looks wrong in a cache, sample by sample. It reads, reports, and changes nothing.

Every check is a function from the cache's arrays to findings; a finding names the sample, its row in the source and
what was seen, so that a person can go and look, and what a patch would do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kptool import gradients, similar, suspects
from kptool.cache import Cache
from kptool.geometry import apply_affine, invert_affine
from kptool.patches import Change
from kptool.progress import Progress, silent
from kptool.similar import Looks
from kptool.splits import VAL, joined
from kptool.suspects import Suspicion

CHECKS = ("outside", "swapped", "constant", "duplicate", "leak", "label")
_FLAT, _SAME = 2.0, 0.95
"""Standard deviation of an image without contrast; correlation of thumbnails from which images are the same scene."""
_EDGE = 0.01
_UNITS, _FAR = 12.0, 0.05
"""From how many times the usual error, and what share of the image's size, on a label is reported."""


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong. `sample` is the index in the cache, `row` the row in its source, `other` a sample that
    it is compared with; `keypoint` an index, and `suggested` where a model sees it, in pixels of the cache's images."""

    check: str
    sample: int
    row: int
    detail: str
    other: int | None = None
    keypoint: int | None = None
    suggested: tuple[float, float] | None = None


@dataclass(frozen=True)
class Data:
    """What the checks look at; points (N, K, 2), visibility (N, K), and what may be said of labels."""

    cache: Cache
    points: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    looks: Looks
    suspicion: Suspicion = field(repr=False)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which keypoints have a label, (N, K)."""
        return self.visibility > 0


def examine(
    cache: Cache, found: NDArray[np.float64] | None = None, progress: Progress = silent
) -> tuple[list[Finding], Suspicion]:
    """All findings of a cache, check by check, and what labels were judged by.

    `found` (N, K, 2) is what a trained model says of images that it was not trained on, NaN for the others; without it a
    linear model is fitted and cross-validated.
    """
    points, visibility = cache.read("keypoints"), cache.read("visibility")
    progress("images", 0, 3)
    looks = Looks.of(cache.blocks("images"))
    progress("images", 1, 3)
    if found is None:
        pairs = similar.pairs(looks)
        clusters = similar.components(len(points), pairs.a, pairs.b)
        seen = gradients.features(cache.blocks("images"))
        suspicion = suspects.linear(seen, points, visibility > 0, joined(cache.read("group"), clusters))
    else:
        suspicion = suspects.predicted(points, visibility > 0, found)
    progress("images", 3, 3)
    data = Data(cache, points, visibility, looks, suspicion)
    outside, swapped = list(_outside(data)), list(_swapped(data))
    turned = {finding.sample for finding in swapped}  # every point of theirs is far off, for that one reason
    if cache.info.margin is not None:  # a crop that was cut around a wrong label says nothing of the others
        turned |= {finding.sample for finding in outside}
    said = {(finding.sample, finding.keypoint) for finding in outside}
    labels = [f for f in _labels(data) if f.sample not in turned and (f.sample, f.keypoint) not in said]
    return [*outside, *swapped, *_constant(data), *_duplicates(data), *_leaks(data), *labels], suspicion


def proposals(findings: list[Finding], cache: Cache) -> list[Change]:
    """What a patch would do about findings, one change for each row and keypoint: for a person to read and edit."""
    changes: dict[tuple[int, int | str], Change] = {}
    actions = {"swapped": "swap", "constant": "drop", "duplicate": "drop", "outside": "unlabel", "label": "unlabel"}
    back = invert_affine(cache.read("affine"))
    for finding in findings:
        action = actions.get(finding.check)
        if action is None:
            continue
        reason = finding.detail
        if finding.suggested is not None:
            x, y = apply_affine(back[finding.sample], np.array([finding.suggested]))[0]
            reason += f"; it should be near ({x:.1f}, {y:.1f}) of the source"
        keypoint = finding.keypoint if action == "unlabel" else None
        key = (finding.row, action if keypoint is None else keypoint)
        changes.setdefault(key, Change(finding.row, action, keypoint, reason=reason))
    return list(changes.values())


_Found = Iterator[Finding]


def _outside(data: Data) -> _Found:
    """Labelled keypoints that are not numbers, or lie outside of the picture that was labelled, or of their image.

    A crop is cut around all its labels, so one beyond the picture's edge can only be seen in the picture's pixels.
    """
    cache, sizes = data.cache, data.cache.picture_sizes()
    looks = [(data.points, np.broadcast_to(cache.info.size, (len(cache), 2)), "image")]
    if sizes is not None:
        looks.insert(0, (apply_affine(invert_affine(cache.read("affine")), data.points), sizes, "picture"))
    rows, left = cache.read("row"), data.labelled
    for points, size, what in looks:
        wrong = left & ~_within(points, size[:, None])
        left = left & ~wrong
        for sample, k in np.argwhere(wrong):
            (x, y), (height, width) = points[sample, k], size[sample]
            detail = f"{cache.info.names[k]} ({x:.1f}, {y:.1f}) is outside the {width}x{height} {what}"
            yield Finding("outside", int(sample), int(rows[sample]), detail, keypoint=int(k))


def _within(points: NDArray[np.floating], size: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether points (..., 2) lie in pictures of `size` (..., 2), H and W, but for what float32 makes of an edge."""
    return np.asarray(((points >= -0.5 - _EDGE) & (points <= size[..., ::-1] - 0.5 + _EDGE)).all(-1))


def _swapped(data: Data) -> _Found:
    """Samples in which most flip pairs stand the other way round than in most samples: left and right exchanged.

    A pair that varies much in which way it stands, as in turned heads, says little, and counts as little.
    """
    pairs = np.array(data.cache.info.flip_pairs).reshape(-1, 2)
    if not len(pairs) or not data.cache.info.mirror:
        return
    gap = data.points[:, pairs[:, 0], 0] - data.points[:, pairs[:, 1], 0]
    known = np.logical_and.reduce(data.labelled[:, pairs], axis=-1)
    usual = np.sign(suspects.median(np.where(known, gap, np.nan)))
    wrong = (known & (np.sign(gap) * usual < 0)).sum(1)
    rows = data.cache.read("row")
    for sample in np.flatnonzero(wrong * 2 > known.sum(1).clip(1)):
        what = f"{wrong[sample]} of {known[sample].sum()} left/right pairs stand the other way round"
        yield Finding("swapped", int(sample), int(rows[sample]), what)


def _constant(data: Data) -> _Found:
    rows = data.cache.read("row")
    for sample in np.flatnonzero(data.looks.spread < _FLAT):
        what = f"the image has almost no contrast (standard deviation {data.looks.spread[sample]:.2f} of 255)"
        yield Finding("constant", int(sample), int(rows[sample]), what)


def _duplicates(data: Data) -> _Found:
    """Images that are the same, byte for byte, as an earlier one; and whether their labels are, too."""
    rows = data.cache.read("row")
    hashes = np.array([hash(image.tobytes()) for block in data.cache.blocks("images") for image in block])
    order = np.argsort(hashes, kind="stable")
    for _, group in groupby(order.tolist(), key=lambda i: int(hashes[i])):
        first, *others = list(group)
        for sample in others:
            if data.looks.spread[sample] < _FLAT:
                continue
            apart = np.linalg.norm(data.points[sample] - data.points[first], axis=-1)
            both = data.labelled[sample] & data.labelled[first]
            far = float(apart[both].max()) if both.any() else 0.0
            labels = "the same labels" if far == 0 else f"labels up to {far:.1f} px apart"
            what = f"the image of row {rows[first]} again, with {labels}"
            yield Finding("duplicate", int(sample), int(rows[sample]), what, other=int(first))


def _leaks(data: Data) -> _Found:
    """Validation images that have a near-duplicate among the training images."""
    val = data.cache.read("split") == VAL
    rows = data.cache.read("row")
    pairs = similar.pairs(data.looks)
    thumbs = data.looks.thumbs
    seen = set()
    for i in np.argsort(-pairs.alike, kind="stable"):
        a, b = int(pairs.a[i]), int(pairs.b[i])
        same = float(thumbs[a].astype(np.float32) @ thumbs[b].astype(np.float32))
        if val[a] == val[b] or same < _SAME:
            continue
        sample, other = (a, b) if val[a] else (b, a)
        if sample not in seen:
            seen.add(sample)
            what = f"nearly the same image as training row {rows[other]} (correlation {same:.3f})"
            yield Finding("leak", sample, int(rows[sample]), what, other=other)


def _labels(data: Data) -> _Found:
    """Labels far from where a model that never saw them, or the other keypoints, say they are."""
    rows, units, names = data.cache.read("row"), np.nan_to_num(data.suspicion.units), data.cache.info.names
    distance = np.linalg.norm(data.points - data.suspicion.suggested, axis=-1)
    far = np.nan_to_num(distance) > _FAR * max(data.cache.info.size)
    for sample in data.suspicion.ranking():
        for k in np.flatnonzero((units[sample] > _UNITS) & far[sample] & data.labelled[sample]):
            what = f"{names[k]} is {distance[sample, k]:.1f} px from where it should be, {units[sample, k]:.0f} times the usual"
            x, y = (float(v) for v in data.suspicion.suggested[sample, k])
            yield Finding("label", int(sample), int(rows[sample]), what, keypoint=int(k), suggested=(x, y))
