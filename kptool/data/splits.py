"""Who trains and who is kept apart: splits that never part the samples of one group (one person, one video)."""

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
"""In the split that data bring along: kept out of training and validation; and left to be drawn."""
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
"""What the parts of a set are called, in the order in which the later one takes a picture that stands in several."""


def part_of(text: str) -> str:
    """The part of a set that a name speaks of, as train2017 or valid: "train", "val", "test"; "" where none or several."""
    found = {PARTS[word] for word in re.findall("[a-z]+", text.lower()) if word in PARTS}
    return found.pop() if len(found) == 1 else ""


def own_split(parts: Sequence[str]) -> NDArray[np.int8] | None:
    """The split that data bring along, (N,): 0 train, 1 val, 2 test, -1 to be drawn; None where they have none.

    `parts` has "train", "val", "test" or "" for each sample. Training and validation are the data's own only where both
    are there, and every sample says where it belongs; a test part counts where there is anything else.
    """
    codes = np.array([{"train": TRAIN, "val": VAL, "test": TEST}.get(part, TO_DRAW) for part in parts], np.int8)
    rest = codes != TEST
    if {TRAIN, VAL} != set(codes[rest].tolist()):
        codes[rest] = TO_DRAW
    return codes if rest.any() and (codes != TO_DRAW).any() else None


def read_groups(path: Path) -> NDArray[np.int64]:
    """The group of each source row, (rows,), -1 where none is given, from a csv with columns row and group."""
    import pandas as pd  # takes longer to import than most groups files to read

    try:
        table = pd.read_csv(path, usecols=["row", "group"], skip_blank_lines=False).dropna(how="all")
        table = table.convert_dtypes()  # a blank line made the numbers fractions
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


def assign(groups: NDArray[np.int64] | None, rows: NDArray[np.int64], path: Path | None) -> NDArray[np.int64]:
    """The group of each sample, by its source row. Raises DataError where a sample has none."""
    if groups is None:
        return np.full(len(rows), -1, dtype=np.int64)
    known = rows < len(groups)
    assigned = np.where(known, groups[np.where(known, rows, 0)] if len(groups) else -1, -1)
    if (assigned < 0).any():
        row = rows[np.flatnonzero(assigned < 0)[0]]
        raise DataError(f"{path}: there is no group for row {row} of the source; give every row one")
    return assigned


def hold_several(groups: NDArray[np.int64] | None, pictures: Sequence[str] | None) -> bool:
    """Whether groups (N,) hold more than one of the `pictures` (N,) each, as those of videos and people do."""
    return groups is not None and pictures is not None and len(np.unique(groups)) < len(set(pictures))


def none_kept(split: str, share: float, val: int) -> tuple[str, ...]:
    """That nothing could be kept for validation, where likeness is what forbids it, in a sentence."""
    if split != "similar" or share <= 0 or val:
        return ()
    return (
        "all images look alike, so none is kept for validation; --groups FILE says what belongs together, --split random"
        " draws some whatever they look like",
    )


def choose_split(groups: NDArray[np.int64], share: float, seed: int) -> NDArray[np.uint8]:
    """0 (train) or 1 (val) for each sample, (N,): about `share` of the samples are val, and no group is on both sides.

    Samples of group -1 stand for themselves. Groups are visited in an order drawn from `seed`, and taken while they
    fit, so the share is met as closely as the groups allow; with two groups or more, both sides get some.
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
    """The fold 0..count-1 of each sample, (N,), for cross-validation: of about equal size, groups whole.

    Groups of equal size are dealt in an order drawn from `seed`, large ones first, each to the smallest fold. Raises
    ConfigError where there are fewer groups than folds.
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


def joined(groups: NDArray[np.int64], clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups (N,) that part neither the samples of a group nor those of a cluster; -1 in both stands for itself."""
    first, before = np.arange(len(groups)), None
    while before is None or not np.array_equal(first, before):  # the least member spreads through both
        before = first.copy()
        for labels in (groups, clusters):
            known = labels >= 0
            least = np.full(int(labels.max(initial=-1)) + 1, len(groups))
            np.minimum.at(least, labels[known], first[known])
            first[known] = least[labels[known]]
    return np.where((groups < 0) & (clusters < 0), -1, first).astype(np.int64)


def _members(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    """Distinct groups, the one of each sample, and their sizes; -1 stands for a group of its own."""
    keys = np.where(groups >= 0, groups, -1 - np.arange(len(groups)))
    return np.unique(keys, return_inverse=True, return_counts=True)
