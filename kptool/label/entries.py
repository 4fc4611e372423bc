"""The labels of a picture, as plain values, and what makes them valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kptool.base.errors import DataError

ABSENT, OCCLUDED, VISIBLE = 0, 1, 2
_MOST_INSTANCES, _LARGEST = 1000, 1e6


@dataclass(frozen=True)
class Instance:
    """points: (K,) of (x, y, visibility), pixels, an integer is a pixel's centre; visibility 0 (absent or not placed yet, then
    without a place), 1 (occluded), 2. box: (x, y, width, height) from the picture's edges, None for none. proposed: made by a
    model, and not accepted yet. radii: (K,) of the 90 % radii of what is proposed, in pixels."""

    points: tuple[tuple[float, float, int], ...]
    box: tuple[float, float, float, float] | None = None
    proposed: bool = False
    radii: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class Entry:
    """The instances of one picture. revision: how often they were changed. done: a person has finished it, also if it has no
    instances."""

    instances: tuple[Instance, ...] = ()
    revision: int = 0
    done: bool = False


def check(entry: Entry, count: int) -> None:
    """Raise DataError unless an entry's instances have `count` points each, and finite numbers in range."""
    if len(entry.instances) > _MOST_INSTANCES:
        raise DataError(f"a picture has at most {_MOST_INSTANCES} instances; got {len(entry.instances)}")
    for instance in entry.instances:
        numbers = [value for point in instance.points for value in point] + list(instance.box or ())
        numbers += [radius for radius in instance.radii or () if radius is not None]
        if len(instance.points) != count or (instance.radii is not None and len(instance.radii) != count):
            raise DataError(f"an instance has {count} points; got {len(instance.points)}")
        if not all(math.isfinite(value) and abs(value) <= _LARGEST for value in numbers):
            raise DataError("coordinates must be finite numbers")
        if any(point[2] not in (ABSENT, OCCLUDED, VISIBLE) for point in instance.points):
            raise DataError("a point's visibility is 0, 1 or 2")
        if instance.box is not None and min(instance.box[2:]) <= 0:
            raise DataError("a box has a width and a height above 0")


def entry_of(value: Any) -> Entry:
    """An entry of plain values, as `dataclasses.asdict` gives them. Raises DataError for anything else."""
    try:
        return Entry(
            tuple(
                Instance(
                    tuple((float(x), float(y), int(v)) for x, y, v in each["points"]),
                    None if each.get("box") is None else four(each["box"]),
                    bool(each.get("proposed")),
                    None
                    if each.get("radii") is None
                    else tuple(None if r is None else float(r) for r in each["radii"]),
                )
                for each in value["instances"]
            ),
            int(value["revision"]),
            bool(value.get("done")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"these are no labels ({error!r:.80})") from error


def four(values: Sequence[Any]) -> tuple[float, float, float, float]:
    """A box of plain values."""
    x, y, width, height = map(float, values)
    return x, y, width, height
