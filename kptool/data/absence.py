"""Which keypoints without a label are not there, and which were only left out by whoever labelled the pictures.

A label may be missing because the point is hidden or out of view, or because a part of the pictures was labelled with
fewer points, as most faces of some data sets are. The second kind is recognised by a group of keypoints that are missing
in the same pictures: `countable` leaves such keypoints out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kptool.data.notes import listed

TOGETHER = 0.9
"""Two keypoints are missing together if the pictures without both are at least this share of those without either."""
SHARE, LEAST = 1 / 3, 3
"""A group of keypoints that are missing together was left out on purpose if it is at least this share of all keypoints, and
at least so many."""


def left_out(labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The keypoints (K,) that belong to a group which is missing as a whole, from labels (N, K).

    A group of `LEAST` keypoints, and of `SHARE` of all, is rarely hidden in exactly the same pictures, but is often left
    out by a labelling scheme with fewer points. Keypoints that are always or never labelled belong to no group.
    """
    missing = ~labelled
    count = missing.sum(0)
    both = missing.T.astype(np.int64) @ missing.astype(np.int64)
    either = count[:, None] + count[None, :] - both
    some = (count > 0) & labelled.any(0)
    linked = (both >= TOGETHER * either) & some[:, None] & some[None, :]
    size = linked.sum(1)
    return np.asarray(some & (size >= max(LEAST, SHARE * labelled.shape[1])))


def countable(labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The keypoints (K,) of which a missing label means that the point is not there: labelled in some of the pictures, and
    not `left_out`."""
    return np.asarray(labelled.any(0) & ~left_out(labelled))


def left_out_note(names: Sequence[str], labelled: NDArray[np.bool_]) -> str | None:
    """A sentence on the keypoints that are missing as a group; None if there are none."""
    group = left_out(labelled)
    if not group.any():
        return None
    some = listed([name for name, out in zip(names, group, strict=True) if out])
    return (
        f"{some} lack their labels in the same pictures, {int((~labelled[:, group]).all(1).sum())} of {len(labelled)}, so they"
        " count as not labelled rather than as absent"
    )
