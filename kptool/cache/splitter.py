"""The train/validation split of an extraction: the one that the data set defines, or a new one that keeps groups intact.

Samples of a test part that the data set defines are used for neither training nor validation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.cache.store import CacheWriter
from kptool.data import similar
from kptool.data.annotations import Samples, Source
from kptool.data.notes import counted
from kptool.data.splits import TEST, TRAIN, VAL, choose_split, groups_of, merge_groups, no_val_note, read_groups

_DEFAULT_FRACTION = 0.1
_IN_TEST_PART = "of the data's own test part"


@dataclass(frozen=True)
class Splitter:
    """How an extraction splits its samples.

    method: "own", "random", "similar" or "auto", see `kptool.cache.extraction.Options`. predefined: int8 (R,), the split
    that the source itself defines for its R rows (0 train, 1 val, 2 test); None to draw one. groups: int64, the group of
    each source row, -1 for none; None without groups. groups_file: the csv they come from; None if the source defines
    them. val: the fraction of samples for validation, of the predefined split or to aim at.
    """

    method: str
    predefined: NDArray[np.int8] | None
    groups: NDArray[np.int64] | None
    groups_file: Path | None
    val: float
    seed: int

    @classmethod
    def for_source(
        cls, source: Source, method: str, val: float | None, seed: int, groups_file: Path | None = None
    ) -> Splitter:
        """The splitter for `source`; `val` is the fraction asked for, None for the default or that of the data set.

        Raises ConfigError for options that contradict the source, DataError for an invalid groups file.
        """
        predefined = _predefined(source, method, val)
        groups = source.groups if groups_file is None else read_groups(groups_file)
        fraction = _DEFAULT_FRACTION if val is None else val
        if predefined is not None:
            fraction = float((predefined[predefined != TEST] == VAL).mean())
        return cls(method, predefined, groups, groups_file, fraction, seed)

    def split(self, cache: CacheWriter) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The split of the samples written to `cache`, (count,) with 0 train and 1 val, and their groups, (count,).

        Raises DataError for samples without a group in the groups file, and if the predefined split divides a group.
        """
        rows = cache.rows()
        groups = groups_of(self.groups, rows, self.groups_file)
        if self.method == "similar":
            groups = merge_groups(groups, similar.clusters(cache.images()))
        if self.predefined is None:
            return choose_split(groups, self.val, self.seed), groups
        split = self.predefined[rows].astype(np.uint8)
        if self.groups_file is not None:
            _check_groups(split, groups, rows, self.groups_file)
        return split, groups

    def notes(self, counts: Counter[str], train: int, val: int) -> tuple[str, ...]:
        """Notes on a predefined split, with the number of samples in each part, and on samples of the test part."""
        text = f"the split is the data's own, {train} to train and {val} for validation; --split random draws another"
        excluded = "{n} image{s} of the data's own test part {are} kept out of training and validation"
        return (*((text,) if self.predefined is not None else ()), *counted(counts[_IN_TEST_PART], excluded))

    def final_notes(self, rows: int, val: int) -> tuple[str, ...]:
        """Notes on groups of rows beyond the source's `rows`, and on a split without any validation samples."""
        beyond = [] if self.groups is None else (np.flatnonzero(self.groups[rows:] >= 0) + rows).tolist()
        text = f"{len(beyond)} rows of {self.groups_file} are not used, from row {min(beyond, default=0)} on: the source has"
        return (*((f"{text} {rows} rows",) if beyond else ()), *no_val_note(self.method, self.val, val))


def _predefined(source: Source, method: str, val: float | None) -> NDArray[np.int8] | None:
    """The split that the source defines, (R,), if it has a validation part and `method` uses it; else None.

    Raises ConfigError if it is asked for and missing, and if `val` asks for another fraction.
    """
    split = source.split if source.split is not None and (source.split == VAL).any() else None
    if method == "own" and split is None:
        raise ConfigError(f"{source.label} has no split of its own, so --split own has no meaning; leave it out")
    if method not in ("auto", "own") or split is None:
        return None
    if val is not None:
        raise ConfigError(
            f"{source.label} has a validation part of its own, so --val has no meaning; leave it out, or draw another split"
            " with --split random"
        )
    return split


def _check_groups(
    split: NDArray[np.uint8], groups: NDArray[np.int64], rows: NDArray[np.int64], groups_file: Path
) -> None:
    """Raise DataError for the first group with samples in both training and validation; all arrays are (count,)."""
    for group in np.unique(groups):
        inside = groups == group
        if len(set(split[inside].tolist())) > 1:
            train, val = (rows[inside & (split == part)][0] for part in (TRAIN, VAL))
            raise DataError(
                f"{groups_file}: group {group} is in both parts of the data's own split, row {train} in train and row {val}"
                " in val; correct the file, or draw a split that keeps groups intact with --split random"
            )


def without_test(source: Source, counts: Counter[str]) -> Iterator[Samples]:
    """The source's samples except those of its test part, which are counted in `counts`."""
    for samples in source.blocks():
        in_test = np.zeros(len(samples), bool) if source.split is None else source.split[samples.rows] == TEST
        counts["rows"] += int(in_test.sum())
        if in_test.any():
            counts[_IN_TEST_PART] += int(in_test.sum())
        if not in_test.all():
            yield samples.select(~in_test)
