"""Leaks between splits: validation images that are also in training, share a group with it, or are merely similar.

Similarity is no proof: two people in one studio can look more similar than one person in two studios. A leak is certain
only if the pixels are the same or both images have the same given group. Groups that differ outweigh similarity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kptool.data import similar
from kptool.data.splits import VAL
from kptool.diagnosis.findings import Data, Finding


def leaks(data: Data) -> Iterator[Finding]:
    """Validation images with a near-duplicate in training, most similar first; then those linked through others."""
    val = data.cache.read("split") == VAL
    near = np.flatnonzero(val & (data.near.other >= 0))
    reported = set()
    for sample in near[np.argsort(-data.near.alike[near], kind="stable")].tolist():
        finding = _direct(data, sample)
        if finding is not None:
            reported.add(sample)
            yield finding
    yield from (finding for finding in _indirect(data, val) if finding.sample not in reported)


def _direct(data: Data, sample: int) -> Finding | None:
    """The finding for a validation image and its nearest training image; None if they are of different groups."""
    other, alike = int(data.near.other[sample]), float(data.near.alike[sample])
    proof = _proof(data, sample, other)
    if proof is None and data.near.kin[sample] >= 0:
        other, alike = int(data.near.kin[sample]), float(data.near.kin_alike[sample])
    mine, its, rows = _group(data, sample), _group(data, other), data.cache.read("row")
    known = mine is not None and its is not None
    if known and mine != its and proof is None:
        return None
    text = f"nearly the same image as training row {rows[other]}: {proof}"
    if proof is None:
        text = f"similar to training row {rows[other]} (correlation {alike:.3f}, threshold {data.near.threshold:.2f})"
    if known:
        text += f"; both are of group {mine}" if mine == its else f", although it is of group {its}, this one of {mine}"
    return Finding("leak", sample, int(rows[sample]), text, other=other, certain=proof is not None or known)


def _proof(data: Data, sample: int, other: int) -> str | None:
    """How two images are the same, in words; None if their pixels differ."""
    if data.descriptors.digest[sample] == data.descriptors.digest[other]:
        return "the same pixels"
    one, two = (data.cache.read("images", np.array([i]))[0] for i in (sample, other))
    differ = similar.same_pixels(one, two)
    return None if differ is None else f"almost the same pixels (RMS difference {differ:.1f} grey levels)"


def _group(data: Data, sample: int) -> int | None:
    """The given group of a sample, if any."""
    return None if data.groups is None or data.groups[sample] < 0 else int(data.groups[sample])


def _indirect(data: Data, val: NDArray[np.bool_]) -> Iterator[Finding]:
    """Validation images in one cluster with a training image, and in its group if groups are given."""
    rows, clusters = data.cache.read("row"), data.near.cluster
    groups = np.full(len(rows), -1) if data.groups is None else data.groups
    keys = list(zip(clusters.tolist(), groups.tolist(), strict=True))
    trained: dict[tuple[int, int], int] = {}
    for sample in np.flatnonzero(~val & (clusters >= 0)).tolist():
        trained.setdefault(keys[sample], sample)
    for sample in np.flatnonzero(val & (clusters >= 0)).tolist():
        near = trained.get(keys[sample])
        if near is not None:
            detail = f"linked to training row {rows[near]} through other similar images"
            known = int(groups[sample]) >= 0
            detail += f"; both are of group {groups[sample]}" if known else ""
            yield Finding("leak", sample, int(rows[sample]), detail, other=near, certain=known)
