"""What an extraction notices of the samples that pass through it: a sentence for each kind of thing at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.data import intensity, patches
from kptool.data.annotations import Samples
from kptool.data.notes import counted


class Noticed:
    """Listens to blocks of samples, of `pictures` (each row's file) where rows are files."""

    def __init__(self, pictures: Sequence[str] | None = None) -> None:
        self._pictures = pictures
        self._remarks: list[tuple[str, tuple[str, ...]]] = []
        self.rows = 0

    def listen(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """The same blocks."""
        for samples in blocks:
            self.rows += len(samples)
            for i, row in enumerate(samples.rows.tolist()):
                told = samples.remarks[i] if samples.remarks else ()
                if intensity.is_flat(samples.images[i]) and intensity.FLAT not in told:
                    told = (*told, intensity.FLAT)
                if told:
                    self._remarks.append((f"row {row}" if self._pictures is None else self._pictures[row], told))
            yield samples

    def sentences(self) -> tuple[str, ...]:
        """How pictures were brought to 0..255, and which are all but constant."""
        return intensity.remark_notes(self._remarks)


def unused_groups(groups: NDArray[np.int64] | None, rows: int, where: object) -> tuple[str, ...]:
    """A sentence where a groups file, (R,) with -1 for none, speaks of rows that a source of `rows` rows lacks."""
    beyond = [] if groups is None else (np.flatnonzero(groups[rows:] >= 0) + rows).tolist()
    if not beyond:
        return ()
    return (f"{len(beyond)} rows of {where} are not used, from row {beyond[0]} on: the source has {rows} rows",)


def corrected(path: Path | None, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence on how many corrections the patch at `path` made, each of which has its row, or `patched` has raised."""
    count = 0 if path is None else sum(map(len, patches.read(path, names).changes.values()))
    return counted(count, "{n} correction{s} of {path} {are} applied", path=path)


def patched(
    blocks: Callable[[], Iterator[Samples]],
    path: Path,
    names: Sequence[str],
    flip_pairs: Sequence[tuple[int, int]],
    counts: Counter[str],
) -> Iterator[Samples]:
    """The samples as a person corrected them in the patch at `path`; those to be left out are counted.

    Raises DataError for a patch that cannot be read, that exchanges sides which there are none of, and, at the end, for
    one that names rows which the source does not have.
    """
    patch = patches.read(path, names)
    swapped = next((row for row, some in patch.changes.items() if any(each.action == "swap" for each in some)), None)
    if swapped is not None and not flip_pairs:
        raise DataError(
            f"{path}: row {swapped} swaps left and right, of which this source has no pairs; name them with --flips"
        )
    unused = set(patch.changes)
    for samples in blocks():
        unused -= set(samples.rows.tolist())
        kept = patch.apply(samples, flip_pairs)
        gone = len(samples) - len(kept)
        if gone:
            counts["rows"] += gone
            counts["left out by the patch"] += gone
        if len(kept):
            yield kept
    if unused:
        more = f" and {len(unused) - 1} more rows that it names" if len(unused) > 1 else ""
        raise DataError(
            f"{path}: the source does not have row {min(unused)}{more}; give the source that the patch was made for, or"
            " remove what is too much"
        )
