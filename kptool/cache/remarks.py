"""Notes of an extraction on its samples: how images were converted to 8 bits, constant images, missing labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kptool.data import intensity
from kptool.data.annotations import Samples
from kptool.data.notes import listed, never_labelled
from kptool.data.splits import VAL


class RemarkCollector:
    """Collects remarks on the images of samples that pass through it. `pictures` has the file of each row, if any."""

    def __init__(self, pictures: Sequence[str] | None = None) -> None:
        self._pictures = pictures
        self._remarks: list[tuple[str, tuple[str, ...]]] = []
        self.rows = 0
        """number of samples so far"""

    def watch(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """Yield the same blocks, and collect remarks on them."""
        for samples in blocks:
            self.rows += len(samples)
            flat = intensity.are_flat(samples.images).tolist()
            for i, row in enumerate(samples.rows.tolist()):
                remarks = samples.remarks[i] if samples.remarks else ()
                if flat[i] and intensity.FLAT not in remarks:
                    remarks = (*remarks, intensity.FLAT)
                if remarks:
                    self._remarks.append((f"row {row}" if self._pictures is None else self._pictures[row], remarks))
            yield samples

    def notes(self) -> tuple[str, ...]:
        """How images were converted to 8 bits, and which are nearly constant."""
        return intensity.remark_notes(self._remarks)


def label_notes(names: Sequence[str], labels: NDArray[np.int64], split: NDArray[np.uint8]) -> Iterator[str]:
    """Notes on keypoints without labels in all images, or in the training images.

    labels: (2, K), the number of labels of each keypoint in training and validation. split: (N,), 0 train, 1 val.
    """
    nowhere = never_labelled(names, labels.sum(0), len(split))
    if nowhere is not None:
        yield nowhere
    only = [name for name, (train, val) in zip(names, labels.T, strict=True) if val and not train]
    if only:
        training = int((split != VAL).sum())
        yield f"{listed(only)} {'is' if len(only) == 1 else 'are'} labelled in none of {training} training images"
