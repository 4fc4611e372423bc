"""MPII's annotations as JSON: a list of people, with `joints` (HRNet, MMPose) or `joint_self` (Convolutional Pose Machines).

The centre of the first pixel is (1, 1), as in MATLAB. `joints_vis` of 0 is unlabelled; the third number of `joint_self` is 1
visible, 0 occluded, or unlabelled at 0,0, and 2 unlabelled. The box is the square that MMPose makes of `center` and
`scale`: 200 px times the scale, moved down by 15 px times the scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import Box
from kptool.base.skeleton import OCCLUDED, UNLABELLED, VISIBLE
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import human, json_kind, values
from kptool.data.notes import counted
from kptool.system.text import read_json

_VARIANTS = (("joints", "image", "center", "scale"), ("joint_self", "img_paths", "objpos", "scale_provided"))


def matches(path: Path) -> bool:
    """Whether `path` is a JSON list of people with joints."""
    return json_kind.kind(path) == json_kind.MPII


def read(path: Path, category: str | None = None) -> LabelFile:
    """All people. Raises DataError, naming the entry, for invalid ones."""
    if category is not None:
        raise DataError(f"{path} has no categories, so --category {category} has no meaning; leave it out")
    rows = values.objects(str(path), "the file", read_json(path))
    counts: Counter[str] = Counter()
    things = []
    for number, row in enumerate(rows):
        things.append(_person(f"{path}, entry {number}", row, counts))
    lengths = Counter(len(thing.visibility) for thing in things)
    if len(lengths) > 1:
        raise DataError(f"{path} has people with {min(lengths)} to {max(lengths)} joints; keep those of one kind")
    if not lengths:
        raise DataError(f"{path} has no people with joints; give the labels of the training or validation part")
    layout = human.of_length((human.MPII,), next(iter(lengths)))
    bounded(path, layout.names, len(things))
    notes = (
        *counted(counts["against"], "{n} joint{s} {have} a place and a flag that says unlabelled; {they_are} not used"),
        *counted(counts["placeless"], "{n} joint{s} at -1,-1 or 0,0 {are} marked as labelled, but taken as missing"),
        *counted(
            counts["others"], "the other people stated with {n} person{s} are not used, as each has an entry of its own"
        ),
        *counted(counts["boxless"], "{n} person{s} {have} no valid center and scale, and so no box"),
    )
    return LabelFile(layout.names, things, layout.pairs, (path,), notes, edges=human.edges(layout))


def _person(where: str, row: Mapping[str, Any], counts: Counter[str]) -> Labelled:
    """One entry. Raises DataError if it has no picture or no valid joints."""
    joints, image, center, scale = next((keys for keys in _VARIANTS if keys[0] in row), _VARIANTS[0])
    name = row.get(image)
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: there is no {image} with the picture's name; add it")
    listed = row.get(joints)
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{where}: {joints} must be a list of joints, as training and validation parts have; add it")
    width = 2 if joints == "joints" else 3
    stated = np.array([values.numbers(where, "a joint", joint, width) for joint in listed])
    points = stated[:, :2] - human.MPII_FIRST
    if width == 2:
        flags = np.array(values.numbers(where, "joints_vis", row.get("joints_vis", [1] * len(listed)), len(listed)))
        seen = np.where(flags > 0, VISIBLE, UNLABELLED)
        if not np.isin(flags, (0, 1)).all():
            raise DataError(f"{where}: joints_vis must be 0 or 1 for each joint, but is {flags.max():g}; correct it")
    else:
        seen = _self_visibility(where, stated)
    placeless = _placeless(stated)
    counts["against"] += int(((seen == UNLABELLED) & ~placeless).sum())
    counts["placeless"] += int(((seen > UNLABELLED) & placeless).sum())
    counts["others"] += bool(row.get("joint_others"))
    box = _box(where, row.get(center), row.get(scale))
    counts["boxless"] += box is None
    split = "" if "isValidation" not in row else "val" if row["isValidation"] else "train"
    return Labelled(
        name.replace("\\", "/"), points, np.where(placeless, UNLABELLED, seen).astype(np.uint8), box, split=split
    )


def _placeless(stated: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which joints (K, 2 or 3) are at one of the two placeholders for no label."""
    return np.asarray((stated[:, :2] == -1).all(1) | (stated[:, :2] == 0).all(1))


def _self_visibility(where: str, stated: NDArray[np.float64]) -> NDArray[np.int64]:
    """Visibility (K,) from the third numbers of `joint_self` (K, 3)."""
    flags = stated[:, 2]
    if not np.isin(flags, (0, 1, 2)).all():
        raise DataError(f"{where}: a joint's third number is {flags.max():g}, but must be 0, 1 or 2; correct it")
    return np.select([flags == 1, (flags == 0) & ~_placeless(stated)], [VISIBLE, OCCLUDED], UNLABELLED)


def _box(where: str, center: Any, scale: Any) -> Box | None:
    """The square of a person; None if center and scale are missing or not positive."""
    if center is None or scale is None:
        return None
    x, y = values.numbers(where, "the center", center, 2)
    (size,) = values.numbers(where, "the scale", [scale], 1)
    return human.mpii_square(x - human.MPII_FIRST, y - human.MPII_FIRST, size)


DATASET = Dataset("MPII's json (HRNet, MMPose)", matches, read=read)
