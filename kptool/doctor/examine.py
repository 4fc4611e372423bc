"""`kptool doctor`: what looks wrong in a cache, sample by sample. It reads, reports, and changes nothing.

Every check is a function from the cache's arrays to findings; a finding names the sample, its row in the source and
what was seen, so that a person can go and look, and what a patch would do about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import apply_affine
from kptool.cache.store import Cache
from kptool.data import gradients, similar
from kptool.data.patches import Change
from kptool.data.pixel_check import in_first_pixel
from kptool.data.similar import FLAT, Descriptors
from kptool.data.splits import VAL, merge_groups
from kptool.doctor import exchanges, suspects
from kptool.doctor.findings import Data, Finding
from kptool.doctor.leaks import leaks
from kptool.doctor.suspects import Suspicion
from kptool.system.progress import Progress, silent

__all__ = ["CHECKS", "Agreement", "Examination", "Finding", "agree", "examine", "proposals"]

CHECKS = ("unlabelled", "shares", "outside", "swapped", "constant", "duplicate", "leak", "label")
_EDGE = 0.01
"""Pixels that rounding may put a label on the edge beyond it."""
_UNITS, _FAR = 12.0, 0.05
"""From how many times the usual error, and what share of the image's size, on a label is reported."""


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
    """All findings, check by check, what labels were judged by, and how near-duplicates compare with groups, if known.

    `threshold` is the correlation of patterns from which on pictures look alike; `groups` (N,) those that were stated, or
    None.
    """

    findings: list[Finding]
    suspicion: Suspicion
    agreement: Agreement | None
    threshold: float
    groups: NDArray[np.int64] | None

    @property
    def certain(self) -> bool:
        """Whether anything is certainly wrong."""
        return any(finding.certain for finding in self.findings)


def examine(
    cache: Cache,
    found: NDArray[np.float64] | None = None,
    progress: Progress = silent,
    groups: NDArray[np.int64] | None = None,
) -> Examination:
    """All that looks wrong in a cache.

    `found` (N, K, 2) is what a trained model says of images that it was not trained on, NaN for the others; without it a
    linear model is fitted and cross-validated. `groups` (N,) are of people or videos, else those that the cache was
    extracted with.
    """
    progress("images", 0, 3)
    descriptors = Descriptors.of(cache.blocks("images"))
    progress("images", 1, 3)
    known = cache.read("group") if groups is None and cache.info.grouped else groups
    near = similar.near(descriptors, cache.read("split") == VAL, known)
    data = Data.of(cache, descriptors, near, known, _suspicion(cache, found, near.cluster))
    progress("images", 3, 3)
    outside, swapped, leaked = list(_outside(data)), list(_swapped(data)), list(leaks(data))
    turned = {f.sample for f in swapped if f.keypoint is None}  # every point of theirs is far off, for that one reason
    if cache.info.margin is not None:  # a crop that was cut around a wrong label says nothing of the others
        turned |= {finding.sample for finding in outside}
    said = {(finding.sample, finding.keypoint) for finding in outside} | _ends(swapped, cache)
    labels = [f for f in _labels(data) if f.sample not in turned and (f.sample, f.keypoint) not in said]
    findings = [
        *_unlabelled(data),
        *_shares(data),
        *outside,
        *swapped,
        *_constant(data),
        *_duplicates(data),
        *leaked,
        *labels,
    ]
    reported = [leak.sample for leak in leaked if leak.sample is not None]
    agreement = None if known is None else agree(known, near.cluster, cache.read("split") == VAL, reported)
    return Examination(findings, data.suspicion, agreement, near.threshold, known)


def _suspicion(cache: Cache, found: NDArray[np.float64] | None, clusters: NDArray[np.int64]) -> Suspicion:
    """What a run, or else a linear model, says of the labels; nothing of keypoints that nobody labelled."""
    points, labelled = cache.read("keypoints"), cache.read("visibility") > 0
    if found is not None:
        return suspects.predicted(points, labelled, found)
    some, seen = labelled.any(0), gradients.features(cache.blocks("images"))
    said = suspects.linear(seen, points[:, some], labelled[:, some], merge_groups(cache.read("group"), clusters))
    units, suggested = np.full(labelled.shape, np.nan), np.full(points.shape, np.nan)
    units[:, some], suggested[:, some] = said.units, said.suggested
    return Suspicion(units, suggested)


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
    for finding in findings:
        action = actions.get(finding.check)
        if action is None or finding.row is None:
            continue
        keypoint = finding.keypoint if action in ("unlabel", "swap") else None
        key = (finding.row, action if keypoint is None else keypoint)
        changes.setdefault(key, Change(finding.row, action, keypoint, reason=finding.detail))
    return list(changes.values())


_Found = Iterator[Finding]


def _shares(data: Data) -> _Found:
    """Labels that were shares of their pictures and were read as pixels: one finding, of the first image, for all."""
    points = apply_affine(data.back, data.points.astype(np.float64))
    corner, count = in_first_pixel(points, data.labelled), int(data.labelled.any(1).sum())
    if corner.any() and corner.sum() * 2 >= count:
        sample = int(np.argmax(corner))
        what = (
            f"all keypoints of {corner.sum()} of {count} images lie in the first pixel of their pictures: they look like shares"
            " of the pictures' width and height, so extract again from labels in pixels"
        )
        yield Finding("shares", sample, int(data.cache.read("row")[sample]), what)


def _unlabelled(data: Data) -> _Found:
    """Keypoints that have a label in no image: of no row, so nothing that a row could be mended by."""
    for k in np.flatnonzero(~data.labelled.any(0)).tolist():
        what = f"{data.cache.info.names[k]} is labelled in none of {len(data.cache)} images"
        yield Finding("unlabelled", None, None, what, keypoint=k, certain=False)


def _outside(data: Data) -> _Found:
    """Labelled keypoints that are not numbers, or lie outside of the picture that was labelled, or of their image.

    A crop is cut around all its labels, so one beyond the picture's edge can only be seen in the picture's pixels.
    """
    cache, sizes = data.cache, data.cache.picture_sizes()
    descriptors = [(data.points, np.broadcast_to(cache.info.size, (len(cache), 2)), "image")]
    if sizes is not None:
        descriptors.insert(0, (apply_affine(data.back, data.points), sizes, "picture"))
    rows, left = cache.read("row"), data.labelled
    for points, size, what in descriptors:
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
    """Samples whose left and right are exchanged by their handedness, in all pairs or in some; see `kptool.doctor.exchanges`."""
    info, rows = data.cache.info, data.cache.read("row")
    pairs = info.flip_pairs if info.mirror else ()
    for exchange in exchanges.find(data.points, data.labelled, pairs):
        sample, known = exchange.sample, [pairs[p] for p in exchange.pairs]
        how = (
            f"{exchange.before:.0f} times the usual from where the others have it, exchanged {exchange.after:.1f} times"
        )
        if exchange.whole:
            which = "the one labelled pair" if len(known) == 1 else f"all {len(known)} labelled pairs"
            what = f"left and right are exchanged in {which}: the shape is {how}"
            yield Finding("swapped", sample, int(rows[sample]), what)
            continue
        a, b = known[0]
        apart = np.linalg.norm(np.subtract(*data.in_picture(sample, data.points[sample, [a, b]])))
        what = f"{info.names[a]} and {info.names[b]} are exchanged, {apart:.1f} px apart in the picture: each is {how}"
        yield Finding("swapped", sample, int(rows[sample]), what, keypoint=a)


def _ends(swapped: Sequence[Finding], cache: Cache) -> set[tuple[int | None, int | None]]:
    """The samples and keypoints of pairs that are exchanged."""
    partner = {a: b for pair in cache.info.flip_pairs for a, b in (pair, pair[::-1])}
    mine = [(finding.sample, finding.keypoint) for finding in swapped if finding.keypoint is not None]
    return {(sample, k) for sample, keypoint in mine for k in (keypoint, partner[keypoint])}


def _constant(data: Data) -> _Found:
    rows = data.cache.read("row")
    for sample in np.flatnonzero(data.descriptors.contrast < FLAT):
        what = f"the image has almost no contrast (standard deviation {data.descriptors.contrast[sample]:.2f} of 255)"
        yield Finding("constant", int(sample), int(rows[sample]), what)


def _duplicates(data: Data) -> _Found:
    """Images that are the same, byte for byte, as an earlier one; and whether their labels are, too."""
    rows = data.cache.read("row")
    hashes = data.descriptors.digest
    order = np.argsort(hashes, kind="stable")
    for _, group in groupby(order.tolist(), key=lambda i: int(hashes[i])):
        first, *others = list(group)
        for sample in others:
            if data.descriptors.contrast[sample] < FLAT:
                continue
            labels = _compared(data, first, sample)
            what = f"the image of row {rows[first]} again, with {labels}"
            yield Finding("duplicate", int(sample), int(rows[sample]), what, other=int(first))


def _compared(data: Data, one: int, other: int) -> str:
    """How the labels of two samples of one image differ, in words; pixels of the picture."""
    both = data.labelled[one] & data.labelled[other]
    apart = data.in_picture(one, data.points[one]) - data.in_picture(one, data.points[other])
    far = float(np.linalg.norm(apart, axis=-1)[both].max(initial=0))
    return "the same labels" if far == 0 else f"labels up to {far:.1f} px apart"


def _labels(data: Data) -> _Found:
    """Labels far from where a model that never saw them, or the other keypoints, say they are.

    A thing that is seen from the other side is no mistake: its shape is that of the others in a mirror.
    """
    rows, units, names = data.cache.read("row"), np.nan_to_num(data.suspicion.units), data.cache.info.names
    distance = np.linalg.norm(data.points - data.suspicion.suggested, axis=-1)
    far = np.nan_to_num(distance) > _FAR * max(data.cache.info.size)
    far &= ~suspects.mirrored(data.points, data.labelled)[:, None]
    for sample in data.suspicion.ranking():
        for k in np.flatnonzero((units[sample] > _UNITS) & far[sample] & data.labelled[sample]):
            x, y = (float(v) for v in data.suspicion.suggested[sample, k])
            was, wanted = data.in_picture(sample, np.stack([data.points[sample, k], (x, y)]))
            away = float(np.linalg.norm(was - wanted))
            what = (
                f"{names[k]} is {away:.1f} px from where it should be, near ({wanted[0]:.1f}, {wanted[1]:.1f}) of the"
                f" picture, {units[sample, k]:.0f} times the usual"
            )
            yield Finding("label", int(sample), int(rows[sample]), what, keypoint=int(k), suggested=(x, y))
