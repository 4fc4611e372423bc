"""A folder of .pts files (300-W), each for the image of the same name: ``version``, ``n_points``, and a line "x y" per point.

The centre of the first pixel is (1, 1) there. A point with coordinates NaN or -1,-1 is unlabelled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kptool.base.errors import DataError
from kptool.base.skeleton import numbered_names
from kptool.data.annotations import ANY_SUFFIX, Dataset, LabelFile, Labelled
from kptool.data.formats.visibility import from_columns
from kptool.system.text import read_text
from kptool.system.walking import files_below

_MAX_BYTES = 1 << 20


def matches(path: Path) -> bool:
    """Whether `path` is a folder with .pts files anywhere below it."""
    return path.is_dir() and next(_files(path), None) is not None


def read(path: Path, category: str | None = None) -> LabelFile:
    """Every .pts file below the folder, one instance each. Raises DataError, naming the file, for invalid ones."""
    if category is not None:
        raise DataError(f"{path}: .pts files have no categories, so --category {category} has no meaning; leave it out")
    files = sorted(_files(path))
    points = [_points(file) for file in files]
    counts = {len(each) for each in points}
    if len(counts) > 1:
        odd = next(file for file, each in zip(files, points, strict=True) if len(each) != len(points[0]))
        raise DataError(f"{odd} and {files[0]} differ in their number of points; keep files of one kind in the folder")
    names = numbered_names(counts.pop())
    seen, notes = from_columns(lambda row: str(files[row]), np.stack(points), {})
    instances = [
        Labelled(file.relative_to(path).with_suffix(ANY_SUFFIX).as_posix(), each - 1, visible)
        for file, each, visible in zip(files, points, seen, strict=True)
    ]
    return LabelFile(names, instances, None, tuple(files), notes)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in files_below(folder) if file.suffix.lower() == ".pts")


def _points(file: Path) -> np.ndarray:
    """The points of a .pts file, (K, 2), as written there. Raises DataError for anything else."""
    text = read_text(file, _MAX_BYTES)
    before, brace, rest = text.partition("{")
    inside, end, _ = rest.partition("}")
    stated = [line.split(":", 1)[1].strip() for line in before.splitlines() if line.strip().startswith("n_points")]
    try:
        values = np.array(inside.split(), np.float64)
    except ValueError:
        values = np.empty(1)
    if not brace or not end or not len(values) or len(values) % 2 or np.isinf(values).any():
        raise DataError(f"{file} is not a .pts file: expected n_points, and two numbers in each line between {{ and }}")
    if stated and stated[0] != str(len(values) // 2):
        raise DataError(f"{file} holds {len(values) // 2} points but states {stated[0]}; it may be cut off")
    return values.reshape(-1, 2)


DATASET = Dataset("a folder of .pts files and pictures (300-W)", matches, read=read)
