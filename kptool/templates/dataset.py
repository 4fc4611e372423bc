"""The dataset format "example": a text file that ends in .example.

    keypoints nose tail
    images/mouse1.png 10.5 20 - -

The first line names the keypoints; every other is a picture, relative to the file's folder, and x and y of each keypoint in
pixels, or "-" where it has no label. Read one with ``kptool extract labels.example --plugin example.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kptool import DataError
from kptool.plugins import Dataset, LabelFile, Labelled


def matches(path: Path) -> bool:
    """Whether `path` looks like a file of this format; called for every file in a folder, so it must be quick."""
    return path.suffix == ".example"


def read(path: Path, category: str | None = None) -> LabelFile:
    """The labels of a file. Raises DataError, naming the file and the line."""
    if category is not None:
        raise DataError(f"{path} has no categories, so --category {category} has no meaning; leave it out")
    head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    names = tuple(head.split()[1:])
    if not head.startswith("keypoints ") or not names:
        raise DataError(f"{path}, line 1: expected the word keypoints and their names; got {head[:80]!r}")
    return LabelFile(names, [_labelled(path, i, line, len(names)) for i, line in enumerate(lines, 2) if line.strip()])


def _labelled(path: Path, number: int, line: str, keypoints: int) -> Labelled:
    picture, *cells = line.split()
    try:
        points = np.array([float("nan") if cell == "-" else float(cell) for cell in cells]).reshape(keypoints, 2)
    except ValueError:
        raise DataError(f"{path}, line {number}: expected a picture and {2 * keypoints} numbers; correct it") from None
    labelled = np.isfinite(points).all(1)
    visibility = np.where(labelled, 2, 0).astype(np.uint8)  # 0: unlabelled, 1: occluded, 2: visible
    return Labelled(picture, np.where(labelled[:, None], points, 0), visibility)


DATASET = Dataset("a text file ending in .example, a line for each picture", matches, read=read)
