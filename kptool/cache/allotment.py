"""Whether an extraction keeps the split that the data bring along or draws one, and what it says about that.

The data's test part is in neither training nor validation, whichever split that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.data.annotations import Samples, Source
from kptool.data.notes import counted, listed, never_labelled
from kptool.data.splits import TEST, TRAIN, VAL

_SHARE = 0.1
_TESTED = "of the data's own test part"


def kept(source: Source, split: str, val: float | None) -> NDArray[np.int8] | None:
    """The source's own split (total,), 0 train, 1 val, 2 test, where `split` ("own", "auto", ...) keeps it; else None.

    Raises ConfigError where it is asked for and not there, and where `val` asks for another share.
    """
    own = source.split if source.split is not None and (source.split == VAL).any() else None
    if split == "own" and own is None:
        raise ConfigError(f"{source.label} has no split of its own, so --split own has no meaning; leave it away")
    if split not in ("auto", "own") or own is None:
        return None
    if val is not None:
        raise ConfigError(
            f"{source.label} has a validation part of its own, so --val has no meaning; leave it away, or draw another split"
            " with --split random"
        )
    return own


def share(val: float | None, own: NDArray[np.int8] | None) -> float:
    """The share of samples for validation: of the data's own split, or what a split that is drawn aims at."""
    if own is not None:
        return float((own[own != TEST] == VAL).mean())
    return _SHARE if val is None else val


def untested(source: Source, counts: Counter[str]) -> Iterator[Samples]:
    """The source's samples without those of its own test part, which are counted."""
    for samples in source.blocks():
        tested = np.zeros(len(samples), bool) if source.split is None else source.split[samples.rows] == TEST
        counts["rows"] += int(tested.sum())
        if tested.any():
            counts[_TESTED] += int(tested.sum())
        if not tested.all():
            yield samples.select(~tested)


def taken(
    own: NDArray[np.int8], rows: NDArray[np.int64], groups: NDArray[np.int64], path: Path | None
) -> NDArray[np.uint8]:
    """The own split of the samples at `rows`, (N,): 0 train, 1 val.

    Raises DataError where it parts one of `groups` (N,) that the file at `path` states; with None, none are stated.
    """
    split = own[rows].astype(np.uint8)
    for group in np.unique(groups if path is not None else ()):
        inside = groups == group
        if len(set(split[inside].tolist())) > 1:
            train, val = (rows[inside & (split == side)][0] for side in (TRAIN, VAL))
            raise DataError(
                f"{path}: group {group} is on both sides of the data's own split, row {train} in train and row {val} in"
                " val; correct the file, or draw a split that keeps groups whole with --split random"
            )
    return split


def said(own: NDArray[np.int8] | None, counts: Counter[str], splits: dict[str, int]) -> tuple[str, ...]:
    """Notes on a split of the data's own, and on their test part."""
    sizes = f"{splits['train']} to train and {splits['val']} for validation"
    return (
        *((f"the split is the data's own, {sizes}; --split random draws another",) if own is not None else ()),
        *counted(counts[_TESTED], "{n} image{s} of the data's own test part {are} kept out of training and validation"),
    )


def unlabelled(names: Sequence[str], labels: NDArray[np.int64], split: NDArray[np.uint8]) -> Iterator[str]:
    """What to know of keypoints without labels: `labels` (2, K) are how many each has in training images and the others."""
    nowhere = never_labelled(names, labels.sum(0), len(split))
    if nowhere is not None:
        yield nowhere
    only = [name for name, (train, val) in zip(names, labels.T, strict=True) if val and not train]
    if only:
        training = int((split != VAL).sum())
        yield f"{listed(only)} {'is' if len(only) == 1 else 'are'} labelled in none of {training} training images"
