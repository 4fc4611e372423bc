"""Applying a patch (`kptool.data.patches`) to the samples of an extraction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kptool.base.errors import DataError
from kptool.data import patches
from kptool.data.annotations import Samples
from kptool.data.notes import counted


def apply_patch(
    blocks: Callable[[], Iterator[Samples]],
    path: Path,
    names: Sequence[str],
    flip_pairs: Sequence[tuple[int, int]],
    counts: Counter[str],
) -> Iterator[Samples]:
    """The samples as corrected by the patch at `path`; those it drops are counted in `counts`.

    Raises DataError if the patch cannot be read, if it swaps left and right in a source without flip pairs, and, at the
    end, if it names rows that the source does not have.
    """
    patch = patches.read(path, names)
    swapped = next((row for row, some in patch.changes.items() if any(each.action == "swap" for each in some)), None)
    if swapped is not None and not flip_pairs:
        raise DataError(
            f"{path}: row {swapped} swaps left and right, but this source has no flip pairs; name them with --flips"
        )
    missing = set(patch.changes)
    for samples in blocks():
        missing -= set(samples.rows.tolist())
        kept = patch.apply(samples, flip_pairs)
        dropped = len(samples) - len(kept)
        if dropped:
            counts["rows"] += dropped
            counts["left out by the patch"] += dropped
        if len(kept):
            yield kept
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{path} names row {min(missing)}{more}, which the source does not have; give the source that the patch was"
            " made for, or remove those lines"
        )


def correction_note(path: Path | None, names: Sequence[str]) -> tuple[str, ...]:
    """How many corrections the patch at `path` made; each was applied, since `apply_patch` raises for missing rows."""
    count = 0 if path is None else sum(map(len, patches.read(path, names).changes.values()))
    return counted(count, "{n} correction{s} of {path} {are} applied", path=path)
