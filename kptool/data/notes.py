"""Wording of the notes that tell what a source holds: lists of names, counts with singular and plural."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names joined with commas and "and"; of more than `most`, the first ones and the number of the others."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def never_labelled(names: Sequence[str], labels: NDArray[np.int64], images: int, what: str = "images") -> str | None:
    """A sentence naming the keypoints without a single label; None if every keypoint has one.

    labels: (K,), the number of labels of each keypoint in `images` images, which the sentence calls `what`.
    """
    none = [name for name, count in zip(names, labels, strict=True) if not count]
    if not none:
        return None
    verb = "is" if len(none) == 1 else "are"
    return f"{listed(none)} {verb} labelled in none of {images} {what}"


def counted(count: int, sentence: str, **values: object) -> tuple[str, ...]:
    """One note such as "{n} box{es} {are} not used", filled in and in agreement with `count`; none if `count` is 0.

    Placeholders: n (the count), s and es (plural endings), are, have, they_are (verbs); others come from `values`.
    """
    words = {"s": "", "es": "", "are": "is", "have": "has", "they_are": "it is"}
    if count != 1:
        words = {"s": "s", "es": "es", "are": "are", "have": "have", "they_are": "they are"}
    return (sentence.format(n=count, **words, **values),) if count else ()
