"""Validation images that training has seen: the same picture, the same group, or a picture that merely descriptors alike.

Likeness is no proof: two people in one studio look more alike than one person in two. What is certain is what has the same
pixels, or a group in common that somebody stated; where groups are known and differ, likeness does not contradict them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kptool.data import similar
from kptool.data.splits import VAL
from kptool.doctor.findings import Data, Finding


def leaks(data: Data) -> Iterator[Finding]:
    """The validation images with a near-duplicate among the training images, the most alike first; then those that are
    near one by steps."""
    val = data.cache.read("split") == VAL
    near = np.flatnonzero(val & (data.near.other >= 0))
    said = set()
    for sample in near[np.argsort(-data.near.alike[near], kind="stable")].tolist():
        finding = _direct(data, sample)
        if finding is not None:
            said.add(sample)
            yield finding
    yield from (finding for finding in _by_steps(data, val) if finding.sample not in said)


def _direct(data: Data, sample: int) -> Finding | None:
    """What is to be said of a validation image and the training images near it; None where groups tell them apart."""
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
        likeness = f"patterns correlate by {alike:.3f}, alike from {data.near.threshold:.2f} on"
        text = f"looks alike: training row {rows[other]} ({likeness})"
    if known:
        text += f"; both are of group {mine}" if mine == its else f", though it is of group {its} and this of {mine}"
    return Finding("leak", sample, int(rows[sample]), text, other=other, certain=proof is not None or known)


def _proof(data: Data, sample: int, other: int) -> str | None:
    """That two images are one, in words; None where their pixels do not prove it."""
    if data.descriptors.digest[sample] == data.descriptors.digest[other]:
        return "the same pixels"
    one, two = (data.cache.read("images", np.array([i]))[0] for i in (sample, other))
    differ = similar.same_pixels(one, two)
    return None if differ is None else f"all but the same pixels (they differ by {differ:.1f} grey levels, RMS)"


def _group(data: Data, sample: int) -> int | None:
    """The group of a sample, where somebody stated it."""
    return None if data.groups is None or data.groups[sample] < 0 else int(data.groups[sample])


def _by_steps(data: Data, val: NDArray[np.bool_]) -> Iterator[Finding]:
    """Validation images in one cluster with a training image, and in its group where groups are known."""
    rows, clusters = data.cache.read("row"), data.near.cluster
    groups = np.full(len(rows), -1) if data.groups is None else data.groups
    keys = list(zip(clusters.tolist(), groups.tolist(), strict=True))
    trained: dict[tuple[int, int], int] = {}
    for sample in np.flatnonzero(~val & (clusters >= 0)).tolist():
        trained.setdefault(keys[sample], sample)
    for sample in np.flatnonzero(val & (clusters >= 0)).tolist():
        near = trained.get(keys[sample])
        if near is not None:
            what = f"looks alike by steps: it looks like an image that looks like training row {rows[near]}, or by more"
            known = int(groups[sample]) >= 0
            what += f"; both are of group {groups[sample]}" if known else ""
            yield Finding("leak", sample, int(rows[sample]), what, other=near, certain=known)
