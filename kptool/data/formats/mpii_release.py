"""The people of MPII Human Pose's own release, the MATLAB struct RELEASE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import Box
from kptool.base.skeleton import OCCLUDED, VISIBLE
from kptool.data.annotations import LabelFile, Labelled, bounded
from kptool.data.formats import human, values
from kptool.data.notes import counted

NAME = "RELEASE"
_COUNT = len(human.MPII)


def read(path: Path, release: Any) -> LabelFile:
    """All people with points. release: the struct, as SciPy has it. Raises DataError, naming picture and person."""
    pictures = _many(getattr(release, "annolist", None))
    trained = _many(getattr(release, "img_train", None))
    counts: Counter[str] = Counter()
    things = []
    for number, picture in enumerate(pictures):
        found = list(_people(path, number, picture, counts))
        counts["test"] += not found and number < len(trained) and not trained[number]
        things += found
    if not things:
        raise DataError(
            f"{path} has no people with points in {NAME}.annolist; take the file of the data set's training part"
        )
    bounded(path, human.MPII.names, len(things))
    notes = (
        *counted(counts["pointless"], "{n} person{s} without points {are} not used"),
        *counted(counts["test"], "{n} picture{s} of the test part {have} no labels, and {are} not used"),
        *counted(counts["boxless"], "{n} person{s} {have} no scale and position, and so no box"),
        "the boxes of heads, activities and videos are not used",
    )
    return LabelFile(human.MPII.names, things, human.MPII.pairs, (path,), notes, edges=human.edges(human.MPII))


def _people(path: Path, number: int, picture: Any, counts: Counter[str]) -> Iterator[Labelled]:
    """The people in one picture who have points."""
    name = getattr(getattr(picture, "image", None), "name", None)
    for index, person in enumerate(_many(getattr(picture, "annorect", None))):
        where = f"{path}, picture {number + 1} ({str(name)[:60]}), person {index + 1}"
        points = _many(getattr(getattr(person, "annopoints", None), "point", None))
        if not points:
            counts["pointless"] += 1
            continue
        if not isinstance(name, str) or not name:
            raise DataError(f"{where}: the picture has no image.name; add it")
        places, seen = np.full((_COUNT, 2), np.nan), np.zeros(_COUNT, np.uint8)
        for point in points:
            k, place, visible = _point(where, point)
            if seen[k]:
                raise DataError(f"{where}: {human.MPII.names[k]} is there twice; remove one")
            places[k], seen[k] = place, visible
        box = _box(where, person)
        counts["boxless"] += box is None
        yield Labelled(name, places, seen, box)


def _point(where: str, point: Any) -> tuple[int, tuple[float, float], int]:
    """Index, position in pixels, and visibility of a point."""
    (index,) = values.numbers(where, "the id of a point", [getattr(point, "id", None)], 1)
    if index not in range(_COUNT):
        raise DataError(f"{where}: a point has the id {index:g}, but ids are 0 to {_COUNT - 1}; correct it")
    what = f"x, y of {human.MPII.names[int(index)]}"
    x, y = values.numbers(where, what, [getattr(point, "x", None), getattr(point, "y", None)], 2)
    hidden = str(getattr(point, "is_visible", "")).strip() in ("0", "0.0")
    return int(index), (x - human.MPII_FIRST, y - human.MPII_FIRST), OCCLUDED if hidden else VISIBLE


def _box(where: str, person: Any) -> Box | None:
    """The square of a person; None without scale and position."""
    scale, place = getattr(person, "scale", None), getattr(person, "objpos", None)
    stated = [getattr(place, "x", None), getattr(place, "y", None), scale]
    if any(value is None or np.size(value) == 0 for value in stated):
        return None
    x, y, size = values.numbers(where, "objpos and scale", stated, 3)
    return human.mpii_square(x - human.MPII_FIRST, y - human.MPII_FIRST, size)


def _many(value: Any) -> list[Any]:
    """The items of an array; one item may stand alone, and nothing may be an empty array."""
    if value is None:
        return []
    return list(value.ravel()) if isinstance(value, np.ndarray) else [value]
