"""A folder of .pts files, each for the picture of the same name, as 300-W has it: ``version``, ``n_points``, and a line x y
for each point.

The first pixel's centre is (1, 1) there. A point of NaN or -1 twice is no label.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kptool.base.errors import DataError
from kptool.data.annotations import ANY_SUFFIX, Dataset, LabelFile, Labelled
from kptool.data.formats.visibility import from_columns
from kptool.system.text import read_text
from kptool.system.walking import files_below

_MOST_BYTES = 1 << 20


def matches(path: Path) -> bool:
    """Whether `path` is a folder with .pts files in it, or below it."""
    return path.is_dir() and next(_files(path), None) is not None


def read(path: Path, category: str | None = None) -> LabelFile:
    """Every .pts file below the folder, of a picture of the same name. Raises DataError naming the file."""
    if category is not None:
        raise DataError(f"{path}: .pts files are of one kind, so --category {category} has no meaning; leave it out")
    files = sorted(_files(path))
    points = [_points(file) for file in files]
    counts = {len(each) for each in points}
    if len(counts) > 1:
        odd = next(file for file, each in zip(files, points, strict=True) if len(each) != len(points[0]))
        raise DataError(f"{odd} has another number of points than {files[0]}; keep files of one kind in the folder")
    names = tuple(f"p{k + 1:02d}" for k in range(counts.pop()))
    seen, notes = from_columns(lambda row: str(files[row]), np.stack(points), {})
    things = [
        Labelled(file.relative_to(path).with_suffix(ANY_SUFFIX).as_posix(), each - 1, visible)
        for file, each, visible in zip(files, points, seen, strict=True)
    ]
    return LabelFile(names, things, None, tuple(files), notes)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in files_below(folder) if file.suffix.lower() == ".pts")


def _points(file: Path) -> np.ndarray:
    text = read_text(file, _MOST_BYTES)
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
        raise DataError(f"{file} holds {len(values) // 2} points and says {stated[0]}; it may be cut off")
    return values.reshape(-1, 2)


DATASET = Dataset("a folder of .pts files and pictures (300-W)", matches, read=read)
