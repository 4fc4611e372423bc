"""The checks of `kptool doctor`: suspected problems in a cache, sample by sample. Read-only.

Each check is a generator of findings from the cache's arrays. A finding gives the sample, its row in the source and a
description, so that a person can verify it; `proposals` turns findings into a patch.
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
from kptool.diagnosis import suspects, swaps
from kptool.diagnosis.findings import Data, Finding
from kptool.diagnosis.leaks import leaks
from kptool.diagnosis.suspects import Suspicion
from kptool.system.progress import Progress, silent

__all__ = ["CHECKS", "Agreement", "Examination", "Finding", "agree", "examine", "proposals"]

CHECKS = ("unlabelled", "shares", "outside", "swapped", "constant", "duplicate", "leak", "label")
_EDGE = 0.01
"""Tolerance in pixels for labels on a picture's edge, for rounding to float32."""
_UNITS, _FAR = 12.0, 0.05
"""A label is reported if its error exceeds both this multiple of the typical error and this share of the image's size."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of near-duplicate clusters with known groups, of people or videos.

    precision: share of the pairs within a cluster that are of one group. recall: share of the pairs within a group that
    are in one cluster. Either is None if there are no such pairs. leaking: number of validation images whose group is in
    training; found: number of those reported.
    """

    precision: float | None
    recall: float | None
    leaking: int
    found: int


@dataclass(frozen=True)
class Examination:
    """All findings, check by check, and what they are based on.

    suspicion: how far labels are from their expected positions. agreement: of near-duplicates with groups, None without
    groups. threshold: the correlation of descriptors above which images are near-duplicates. groups: (N,), or None.
    """

    findings: list[Finding]
    suspicion: Suspicion
    agreement: Agreement | None
    threshold: float
    groups: NDArray[np.int64] | None

    @property
    def certain(self) -> bool:
        """Whether any finding is certain."""
        return any(finding.certain for finding in self.findings)


def examine(
    cache: Cache,
    found: NDArray[np.float64] | None = None,
    progress: Progress = silent,
    groups: NDArray[np.int64] | None = None,
) -> Examination:
    """Run all checks on a cache.

    `found` (N, K, 2) are out-of-fold predictions of a trained model, NaN for images without one; if it is None, a linear
    model is fitted and cross-validated. `groups` (N,), of people or videos, default to those stored in the cache.
    """
    progress("images", 0, 3)
    descriptors = Descriptors.of(cache.blocks("images"))
    progress("images", 1, 3)
    known = cache.read("group") if groups is None and cache.info.grouped else groups
    near = similar.near(descriptors, cache.read("split") == VAL, known)
    data = Data.of(cache, descriptors, near, known, _suspicion(cache, found, near.cluster))
    progress("images", 3, 3)
    outside, swapped, leaked = list(_outside(data)), list(_swapped(data)), list(leaks(data))
    explained = {f.sample for f in swapped if f.keypoint is None}  # the swap explains why all their labels are far off
    if cache.info.margin is not None:  # in a crop made around a wrong label, the other labels cannot be judged
        explained |= {finding.sample for finding in outside}
    reported = {(finding.sample, finding.keypoint) for finding in outside} | _ends(swapped, cache)
    labels = [f for f in _labels(data) if f.sample not in explained and (f.sample, f.keypoint) not in reported]
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
    leaking = [leak.sample for leak in leaked if leak.sample is not None]
    agreement = None if known is None else agree(known, near.cluster, cache.read("split") == VAL, leaking)
    return Examination(findings, data.suspicion, agreement, near.threshold, known)


def _suspicion(cache: Cache, found: NDArray[np.float64] | None, clusters: NDArray[np.int64]) -> Suspicion:
    """How far labels are from the predictions `found`, or else a linear model's; NaN for keypoints without any label."""
    points, labelled = cache.read("keypoints"), cache.read("visibility") > 0
    if found is not None:
        return suspects.predicted(points, labelled, found)
    some, seen = labelled.any(0), gradients.features(cache.blocks("images"))
    fitted = suspects.linear(seen, points[:, some], labelled[:, some], merge_groups(cache.read("group"), clusters))
    units, suggested = np.full(labelled.shape, np.nan), np.full(points.shape, np.nan)
    units[:, some], suggested[:, some] = fitted.units, fitted.suggested
    return Suspicion(units, suggested)


def agree(
    groups: NDArray[np.int64], clusters: NDArray[np.int64], val: NDArray[np.bool_], leaks: Sequence[int]
) -> Agreement | None:
    """Compare clusters (N,) and reported leaks (sample indices) with groups (N,), -1 for no cluster or group.

    val (N,): validation images. None if no group has two samples.
    """
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
    """The number of pairs of samples that agree in all `labels` (each (N,)), ignoring samples with a -1."""
    rows = np.stack(labels, axis=1)
    counts = np.unique(rows[(rows >= 0).all(1)], axis=0, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def proposals(findings: list[Finding], cache: Cache) -> list[Change]:
    """Proposed corrections, one for each row and keypoint, for a person to review."""
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
    """Labels that are fractions of the picture's size but were read as pixels: one finding for all images."""
    points = apply_affine(data.back, data.points.astype(np.float64))
    corner, count = in_first_pixel(points, data.labelled), int(data.labelled.any(1).sum())
    if corner.any() and corner.sum() * 2 >= count:
        sample = int(np.argmax(corner))
        what = (
            f"all keypoints of {corner.sum()} of {count} images lie in the first pixel of their pictures: they are probably"
            " fractions of the pictures' width and height; convert the labels to pixels and extract again"
        )
        yield Finding("shares", sample, int(data.cache.read("row")[sample]), what)


def _unlabelled(data: Data) -> _Found:
    """Keypoints without a label in any image; these findings belong to no row."""
    for k in np.flatnonzero(~data.labelled.any(0)).tolist():
        what = f"{data.cache.info.names[k]} is labelled in none of {len(data.cache)} images"
        yield Finding("unlabelled", None, None, what, keypoint=k, certain=False)


def _outside(data: Data) -> _Found:
    """Labelled keypoints that are not finite, or lie outside the source picture or the cache's image.

    A crop includes all its labels, so a label beyond the picture's edge shows only in the picture's pixels.
    """
    cache, sizes = data.cache, data.cache.picture_sizes()
    frames = [(data.points, np.broadcast_to(cache.info.size, (len(cache), 2)), "image")]
    if sizes is not None:
        frames.insert(0, (apply_affine(data.back, data.points), sizes, "picture"))
    rows, unreported = cache.read("row"), data.labelled
    for points, size, frame in frames:
        wrong = unreported & ~_within(points, size[:, None])
        unreported = unreported & ~wrong
        for sample, k in np.argwhere(wrong):
            (x, y), (height, width) = points[sample, k], size[sample]
            detail = f"{cache.info.names[k]} ({x:.1f}, {y:.1f}) is outside the {width}x{height} {frame}"
            yield Finding("outside", int(sample), int(rows[sample]), detail, keypoint=int(k))


def _within(points: NDArray[np.floating], size: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether points (..., 2) lie in pictures of `size` (..., 2) = (H, W), within a tolerance of `_EDGE`."""
    return np.asarray(((points >= -0.5 - _EDGE) & (points <= size[..., ::-1] - 0.5 + _EDGE)).all(-1))


def _swapped(data: Data) -> _Found:
    """Samples with left and right swapped, in all pairs or in single ones; see `kptool.diagnosis.swaps`."""
    info, rows = data.cache.info, data.cache.read("row")
    pairs = info.flip_pairs if info.mirror else ()
    for swap in swaps.find(data.points, data.labelled, pairs):
        sample, known = swap.sample, [pairs[p] for p in swap.pairs]
        how = f"{swap.before:.0f} times the typical distance from the mean shape, {swap.after:.1f} times once swapped"
        if swap.whole:
            which = "the one labelled pair" if len(known) == 1 else f"all {len(known)} labelled pairs"
            what = f"left and right are swapped in {which}: the shape is {how}"
            yield Finding("swapped", sample, int(rows[sample]), what)
            continue
        a, b = known[0]
        apart = np.linalg.norm(np.subtract(*data.in_picture(sample, data.points[sample, [a, b]])))
        what = f"{info.names[a]} and {info.names[b]} are swapped, {apart:.1f} px apart in the picture: they are {how}"
        yield Finding("swapped", sample, int(rows[sample]), what, keypoint=a)


def _ends(swapped: Sequence[Finding], cache: Cache) -> set[tuple[int | None, int | None]]:
    """(sample, keypoint) of both points of each single pair found swapped."""
    partner = {a: b for pair in cache.info.flip_pairs for a, b in (pair, pair[::-1])}
    mine = [(finding.sample, finding.keypoint) for finding in swapped if finding.keypoint is not None]
    return {(sample, k) for sample, keypoint in mine for k in (keypoint, partner[keypoint])}


def _constant(data: Data) -> _Found:
    """Images without contrast."""
    rows = data.cache.read("row")
    for sample in np.flatnonzero(data.descriptors.contrast < FLAT):
        what = f"the image has almost no contrast (standard deviation {data.descriptors.contrast[sample]:.2f} of 255)"
        yield Finding("constant", int(sample), int(rows[sample]), what)


def _duplicates(data: Data) -> _Found:
    """Images with exactly the pixels of an earlier one, and how their labels compare."""
    rows = data.cache.read("row")
    hashes = data.descriptors.digest
    order = np.argsort(hashes, kind="stable")
    for _, group in groupby(order.tolist(), key=lambda i: int(hashes[i])):
        first, *others = list(group)
        for sample in others:
            if data.descriptors.contrast[sample] < FLAT:
                continue
            labels = _compared(data, first, sample)
            what = f"the same image as row {rows[first]}, with {labels}"
            yield Finding("duplicate", int(sample), int(rows[sample]), what, other=int(first))


def _compared(data: Data, one: int, other: int) -> str:
    """How the labels of two samples of one image differ, in words, in pixels of the picture."""
    both = data.labelled[one] & data.labelled[other]
    apart = data.in_picture(one, data.points[one]) - data.in_picture(one, data.points[other])
    far = float(np.linalg.norm(apart, axis=-1)[both].max(initial=0))
    return "the same labels" if far == 0 else f"labels up to {far:.1f} px apart"


def _labels(data: Data) -> _Found:
    """Labels far from the position predicted from the image or from the other keypoints.

    Objects seen from the other side are not reported: their shapes are mirror images of the others'.
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
                f"{names[k]} is {away:.1f} px from its expected position ({wanted[0]:.1f}, {wanted[1]:.1f}) in the"
                f" picture, {units[sample, k]:.0f} times the typical error"
            )
            yield Finding("label", int(sample), int(rows[sample]), what, keypoint=int(k), suggested=(x, y))
