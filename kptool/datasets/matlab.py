"""MATLAB files of two data sets of people: `joints` of Leeds Sports Pose, and `RELEASE` of MPII Human Pose.

The centre of the first pixel is (1, 1). Leeds has an array of 3x14xN, whose third row is 1 for an occluded joint, and in its
extended set 14x3xN, whose third column is 1 for a labelled one; the pictures are images/im0001.jpg and so on, in the
extended set with five digits. MPII's struct names its pictures; `is_visible` is 1 visible, 0 occluded, or missing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.skeleton import OCCLUDED, UNLABELLED, VISIBLE
from kptool.data.annotations import ANY_SUFFIX, Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import human, mat_files, mat_hdf5, mat_header, mpii_release
from kptool.data.formats.mat_header import Variable
from kptool.data.notes import counted

_JOINTS, _FIRST = "joints", 1
_LEEDS, _TRAINED = 2000, 1000
"""Pictures of Leeds Sports Pose, and how many of them its authors train on; they test on the others."""


def matches(path: Path) -> bool:
    """Whether `path` is a MATLAB file with joints or MPII's RELEASE."""
    if path.suffix.lower() != ".mat" or not path.is_file():
        return False
    return _wanted(path) is not None or _is_recent(path)


def read(path: Path, category: str | None = None) -> LabelFile:
    """All people. Raises DataError for arrays of another shape, and if the library for the file is not installed."""
    if category is not None:
        raise DataError(f"{path} has no categories, so --category {category} has no meaning; leave it out")
    if _is_recent(path):
        if mat_hdf5.has(path, mpii_release.NAME.encode()):
            raise DataError(
                f"{path} is of MATLAB's version 7.3; load it there, and save {mpii_release.NAME} with the option -v7"
            )
        return _leeds(path, mat_hdf5.read(path))
    wanted = _wanted(path)
    if wanted is None:
        raise DataError(f"{path} has neither joints nor RELEASE; save the labels as a csv with image,NAME_x,NAME_y")
    if wanted.is_struct:
        return mpii_release.read(path, mat_files.struct(path, wanted.name))
    others = [one.name for one in mat_header.variables(path) if one.name not in ("", wanted.name)]
    file = _leeds(path, mat_files.array(path, wanted.name))
    unused = counted(len(others), "{n} other variable{s} {are} not used ({names})", names=", ".join(others[:5]))
    return replace(file, notes=(*file.notes, *unused))


def _is_recent(path: Path) -> bool:
    """Whether the file is of version 7.3 and has labels."""
    return any(mat_hdf5.has(path, name.encode()) for name in (_JOINTS, mpii_release.NAME))


def _wanted(path: Path) -> Variable | None:
    """The variable with the labels, or None."""
    found = mat_header.variables(path)
    release = next((one for one in found if one.name == mpii_release.NAME and one.is_struct), None)
    arrays = (one for one in found if one.name.lower().startswith(_JOINTS) and one.is_numeric and len(one.shape) == 3)
    return release or next((one for one in arrays if {2, 3} & set(one.shape[:2])), None)


def _leeds(path: Path, stated: NDArray[np.float64]) -> LabelFile:
    """The people of an array of 3xKxN, 2xKxN or Kx3xN."""
    if stated.ndim != 3 or not {2, 3} & set(stated.shape[:2]):
        sides = "x".join(map(str, stated.shape))
        raise DataError(f"{path}: joints is an array of {sides}; expected 3xKxN, or Kx3xN, with x, y and a flag")
    extended = stated.shape[0] not in (2, 3)
    rows = stated.transpose(2, 0, 1) if extended else stated.transpose(2, 1, 0)  # (N, K, 2 or 3)
    layout = human.of_length((human.LEEDS,), rows.shape[1])
    bounded(path, layout.names, len(rows))
    points = rows[..., :2] - _FIRST
    placed = np.isfinite(rows[..., :2]).all(-1) & ~(rows[..., :2] == 0).all(-1)
    flags = rows[..., 2] if rows.shape[2] == 3 else np.full(rows.shape[:2], float(extended))
    wrong = ~np.isin(flags, (0, 1))
    if wrong.any():
        row, k = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}, picture {row + 1}: {layout.names[k]} has the flag {flags[row, k]:g}, but must have 0 or 1; correct it"
        )
    said = np.where(flags == 1, VISIBLE, UNLABELLED) if extended else np.where(flags == 1, OCCLUDED, VISIBLE)
    seen = np.where(placed, said, UNLABELLED).astype(np.uint8)
    digits = 5 if extended else 4
    own = len(rows) == _LEEDS and not extended
    things = [
        Labelled(
            f"im{row + 1:0{digits}d}{ANY_SUFFIX}",
            points[row],
            seen[row],
            split="test" if own and row >= _TRAINED else "",
        )
        for row in range(len(rows))
    ]
    against = int((placed & (said == UNLABELLED)).sum())
    notes = (
        *counted(against, "{n} joint{s} {have} a place and a flag that says not labelled; {they_are} not used"),
        *((f"the last {len(rows) - _TRAINED} pictures are for testing, as the data set's authors say",) if own else ()),
    )
    return LabelFile(layout.names, things, layout.pairs, (path,), notes, edges=human.edges(layout))


DATASET = Dataset("Leeds Sports' or MPII's mat (MATLAB)", matches, read=read)
