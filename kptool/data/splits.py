"""Train/validation splits and folds that keep groups (a person, a video) intact, and the splits that data sets state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError

TRAIN, VAL = 0, 1
SPLITS = {"train": TRAIN, "val": VAL}
TEST, TO_DRAW = 2, -1
"""Further codes in a data set's own split: kept out of training and validation; not stated, so drawn at random."""
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
"""Names of a data set's parts. A picture in several parts belongs to the one that comes last here."""


def part_of(text: str) -> str:
    """The part ("train", "val", "test") that a name such as train2017 or valid contains; "" for none or several."""
    found = {PARTS[word] for word in re.findall("[a-z]+", text.lower()) if word in PARTS}
    return found.pop() if len(found) == 1 else ""


def own_split(parts: Sequence[str]) -> NDArray[np.int8] | None:
    """The data set's own split (N,): 0 train, 1 val, 2 test, -1 to be drawn; None if it has none.

    parts: "train", "val", "test" or "" for each sample. Training and validation are adopted only if both exist and every
    sample has a part; a test part is adopted if other samples remain.
    """
    codes = np.array([{"train": TRAIN, "val": VAL, "test": TEST}.get(part, TO_DRAW) for part in parts], np.int8)
    rest = codes != TEST
    if {TRAIN, VAL} != set(codes[rest].tolist()):
        codes[rest] = TO_DRAW
    return codes if rest.any() and (codes != TO_DRAW).any() else None


def read_groups(path: Path) -> NDArray[np.int64]:
    """The group of each source row, (rows,), -1 where none is stated, from a csv with the columns row and group.

    Raises DataError if the file cannot be read, or a row is invalid or stated twice.
    """
    import pandas as pd  # slow to import

    try:
        table = pd.read_csv(path, usecols=["row", "group"], skip_blank_lines=False).dropna(how="all")
        table = table.convert_dtypes()  # blank lines turn integers into floats
        lines, rows, groups = (each.to_numpy() for each in (table.index + 2, table["row"], table["group"]))
    except OSError as error:
        raise DataError(f"the groups file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; save it as UTF-8, which Excel calls 'CSV UTF-8'") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: expected a csv with the columns row and group ({error})") from error
    if not (np.issubdtype(rows.dtype, np.integer) and np.issubdtype(groups.dtype, np.integer)) or (rows < 0).any():
        raise DataError(f"{path}: row and group must be whole numbers, row from 0")
    if len(rows) and rows.max() > 10**8:
        raise DataError(f"{path}: row {rows.max()} is larger than any source kptool reads")
    twice = np.flatnonzero(pd.Series(rows).duplicated().to_numpy())
    if len(twice):
        row, line = rows[twice[0]], lines[twice[0]]
        first = lines[np.flatnonzero(rows == row)[0]]
        raise DataError(f"{path}, line {line}: row {row} has a group already, in line {first}; remove one of them")
    result = np.full(int(rows.max(initial=-1)) + 1, -1, dtype=np.int64)
    result[rows] = groups
    return result


def groups_of(groups: NDArray[np.int64] | None, rows: NDArray[np.int64], path: Path | None) -> NDArray[np.int64]:
    """The group (N,) of each sample by its source row; -1 for all if `groups` is None.

    groups: as `read_groups` returns them from `path`. rows: (N,). Raises DataError if a sample has no group.
    """
    if groups is None:
        return np.full(len(rows), -1, dtype=np.int64)
    known = rows < len(groups)
    assigned = np.where(known, groups[np.where(known, rows, 0)] if len(groups) else -1, -1)
    if (assigned < 0).any():
        row = rows[np.flatnonzero(assigned < 0)[0]]
        raise DataError(f"{path}: there is no group for row {row} of the source; give every row one")
    return assigned


def span_pictures(groups: NDArray[np.int64] | None, pictures: Sequence[str] | None) -> bool:
    """Whether groups (N,) are coarser than `pictures` (N,), as those of videos and people are."""
    return groups is not None and pictures is not None and len(np.unique(groups)) < len(set(pictures))


def no_val_note(split: str, share: float, val: int) -> tuple[str, ...]:
    """A note if a split by similarity left no validation samples (`val`) although a `share` was asked for."""
    if split != "similar" or share <= 0 or val:
        return ()
    return (
        "all images look alike, so none is kept for validation; --groups FILE says what belongs together, --split random"
        " draws some regardless",
    )


def choose_split(groups: NDArray[np.int64], share: float, seed: int) -> NDArray[np.uint8]:
    """A split (N,): 0 (train) or 1 (val), about `share` of the samples in val, and every group entirely in one of them.

    groups: (N,); a sample of group -1 is a group of its own. Groups are visited in an order drawn from `seed` and taken
    for val while they fit. With two groups or more, neither train nor val is empty unless `share` is 0.
    """
    count = len(groups)
    unique, member, sizes = _members(groups)
    split = np.zeros(count, dtype=np.uint8)
    wanted = round(share * count)
    if share <= 0 or len(unique) < 2:
        return split
    order = np.random.default_rng(seed).permutation(len(unique))
    chosen = np.zeros(len(unique), dtype=bool)
    taken = 0
    for group in order[:-1]:
        if taken + sizes[group] <= wanted:
            chosen[group] = True
            taken += sizes[group]
    if not chosen.any():
        chosen[order[np.argmin(sizes[order])]] = True
    split[chosen[member]] = VAL
    return split


def folds(groups: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """The fold (N,), 0..count-1, of each sample for cross-validation: folds of about equal size that keep groups intact.

    Groups go to the smallest fold in order of decreasing size; `seed` orders groups of equal size. Raises ConfigError if
    there are fewer groups than folds.
    """
    unique, member, sizes = _members(groups)
    if not 2 <= count <= len(unique):
        raise ConfigError(f"cross-validation wants 2 to {len(unique)} folds (the number of groups); got {count}")
    order = np.random.default_rng(seed).permutation(len(unique))
    fold, filled = np.zeros(len(unique), dtype=np.int64), np.zeros(count, dtype=np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return np.asarray(fold[member])


def merge_groups(groups: NDArray[np.int64], clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """The finest groups (N,) that keep both groups and clusters intact; -1 where a sample is in neither."""
    first, before = np.arange(len(groups)), None
    while before is None or not np.array_equal(first, before):  # propagates the smallest index through both
        before = first.copy()
        for labels in (groups, clusters):
            known = labels >= 0
            least = np.full(int(labels.max(initial=-1)) + 1, len(groups))
            np.minimum.at(least, labels[known], first[known])
            first[known] = least[labels[known]]
    return np.where((groups < 0) & (clusters < 0), -1, first).astype(np.int64)


def _members(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    """Distinct groups, the index of each sample's group, and the group sizes; -1 is a group of its own."""
    keys = np.where(groups >= 0, groups, -1 - np.arange(len(groups)))
    return np.unique(keys, return_inverse=True, return_counts=True)
