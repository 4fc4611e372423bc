"""`kptool doctor`: what looks wrong in a cache, sample by sample. It reads, reports, and changes nothing.

Every check is a function from the cache's arrays to findings; a finding names the sample, its row in the source and
what was seen, so that a person can go and look, and what a patch would do about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kptool import gradients, similar, suspects
from kptool.cache import Cache
from kptool.coordinates import in_first_pixel
from kptool.geometry import apply_affine, invert_affine
from kptool.patches import Change
from kptool.progress import Progress, silent
from kptool.similar import Looks, Pairs
from kptool.splits import VAL, joined
from kptool.suspects import Suspicion

CHECKS = ("shares", "outside", "swapped", "constant", "duplicate", "leak", "label")
_FLAT, _EDGE = 2.0, 0.01
"""Standard deviation of an image without contrast; pixels that rounding may put a label on the edge beyond it."""
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
class Agreement:
    """How near-duplicates compare with groups that are known, of people or of videos; None where there is no such pair.

    precision: of the pairs in one cluster, the share of one group. recall: of the pairs of one group, the share in one
    cluster. leaking: validation images whose group is in training, and `found` of them reported.
    """

    precision: float | None
    recall: float | None
    leaking: int
    found: int


@dataclass(frozen=True)
class Examination:
    """All findings, check by check, what labels were judged by, and how near-duplicates compare with groups, if known."""

    findings: list[Finding]
    suspicion: Suspicion
    agreement: Agreement | None


@dataclass(frozen=True)
class Data:
    """What the checks look at; points (N, K, 2), visibility (N, K), near-duplicates, and what may be said of labels."""

    cache: Cache
    points: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    looks: Looks
    pairs: Pairs
    clusters: NDArray[np.int64]
    suspicion: Suspicion = field(repr=False)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which keypoints have a label, (N, K)."""
        return self.visibility > 0


def examine(
    cache: Cache,
    found: NDArray[np.float64] | None = None,
    progress: Progress = silent,
    groups: NDArray[np.int64] | None = None,
) -> Examination:
    """All that looks wrong in a cache.

    `found` (N, K, 2) is what a trained model says of images that it was not trained on, NaN for the others; without it a
    linear model is fitted and cross-validated. `groups` (N,) are what near-duplicates are compared with, else the cache's.
    """
    points, visibility = cache.read("keypoints"), cache.read("visibility")
    progress("images", 0, 3)
    looks = Looks.of(cache.blocks("images"))
    progress("images", 1, 3)
    pairs = similar.pairs(looks)
    clusters = similar.components(len(points), pairs.a, pairs.b)
    if found is None:
        seen = gradients.features(cache.blocks("images"))
        suspicion = suspects.linear(seen, points, visibility > 0, joined(cache.read("group"), clusters))
    else:
        suspicion = suspects.predicted(points, visibility > 0, found)
    progress("images", 3, 3)
    data = Data(cache, points, visibility, looks, pairs, clusters, suspicion)
    outside, swapped, leaks = list(_outside(data)), list(_swapped(data)), list(_leaks(data))
    turned = {finding.sample for finding in swapped}  # every point of theirs is far off, for that one reason
    if cache.info.margin is not None:  # a crop that was cut around a wrong label says nothing of the others
        turned |= {finding.sample for finding in outside}
    said = {(finding.sample, finding.keypoint) for finding in outside}
    labels = [f for f in _labels(data) if f.sample not in turned and (f.sample, f.keypoint) not in said]
    findings = [*_shares(data), *outside, *swapped, *_constant(data), *_duplicates(data), *leaks, *labels]
    known = cache.read("group") if groups is None else groups
    agreement = agree(known, clusters, cache.read("split") == VAL, [leak.sample for leak in leaks])
    made = groups is None and agreement is not None and agreement.precision == agreement.recall == 1
    return Examination(
        findings, suspicion, None if made else agreement
    )  # made of the clusters, by extract --split similar


def agree(
    groups: NDArray[np.int64], clusters: NDArray[np.int64], val: NDArray[np.bool_], leaks: Sequence[int]
) -> Agreement | None:
    """Clusters (N,) and reported samples against groups (N,), -1 for none; None where no group has two samples."""
    right, of_group = _pairs_within(groups, clusters), _pairs_within(groups)
    of_cluster = _pairs_within(np.where(groups < 0, -1, clusters))
    if not of_group:
        return None
    leaking = val & (groups >= 0) & np.isin(groups, groups[~val])
    return Agreement(
        precision=right / of_cluster if of_cluster else None,
        recall=right / of_group,
        leaking=int(leaking.sum()),
        found=int(leaking[list(leaks)].sum()),
    )


def _pairs_within(*labels: NDArray[np.int64]) -> int:
    """How many pairs of samples have all their labels in common, those with a -1 aside."""
    rows = np.stack(labels, axis=1)
    counts = np.unique(rows[(rows >= 0).all(1)], axis=0, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


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


def _shares(data: Data) -> _Found:
    """Labels that were shares of their pictures and were read as pixels: one finding, of the first image, for all."""
    points = apply_affine(invert_affine(data.cache.read("affine")), data.points.astype(np.float64))
    corner, count = in_first_pixel(points, data.labelled), int(data.labelled.any(1).sum())
    if corner.any() and corner.sum() * 2 >= count:
        sample = int(np.argmax(corner))
        what = (
            f"all keypoints of {corner.sum()} of {count} images lie in the first pixel of their pictures: they look like shares"
            " of the pictures' width and height, so extract again from labels in pixels"
        )
        yield Finding("shares", sample, int(data.cache.read("row")[sample]), what)


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
    """Validation images that have near-duplicates among the training images: what `extract --split similar` keeps together."""
    val, rows = data.cache.read("split") == VAL, data.cache.read("row")
    seen = set()
    for i in np.argsort(-data.pairs.alike, kind="stable"):
        a, b = int(data.pairs.a[i]), int(data.pairs.b[i])
        sample, other = (a, b) if val[a] else (b, a)
        if val[a] != val[b] and sample not in seen:
            seen.add(sample)
            what = (
                f"nearly the same image as training row {rows[other]} (patterns correlate by {data.pairs.alike[i]:.3f})"
            )
            yield Finding("leak", sample, int(rows[sample]), what, other=other)
    of, first = np.unique(np.where(val, -1, data.clusters), return_index=True)
    trained = dict(zip(of.tolist(), first.tolist(), strict=True))
    for sample in np.flatnonzero(val & (data.clusters >= 0)).tolist():
        near = trained.get(int(data.clusters[sample]))
        if near is not None and sample not in seen:
            what = (
                f"nearly the same image as one that is nearly that of training row {rows[near]}, or is so by more steps"
            )
            yield Finding("leak", sample, int(rows[sample]), what, other=near)


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
