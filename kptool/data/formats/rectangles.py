"""Assigns the keypoints of a picture to its rectangles, by relations that annotators drew and by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kptool.base.errors import DataError
from kptool.base.geometry import Box

Place = tuple[float, float]
"""x and y."""
Point = tuple[str, str, Place]
"""Id, label, and position."""
Places = dict[str, Place]
"""Positions by label."""


def owners(
    where: str, points: Sequence[Point], boxes: Mapping[str, Box], ties: Sequence[tuple[str, str]], wanted: set[str]
) -> list[str | None]:
    """The key in `boxes` of each point's rectangle, or None if it has none.

    ties: pairs of ids that a relation connects; a point belongs to the rectangle it is connected to, directly or through
    others. An unconnected point belongs to the only rectangle; of several, to the one that contains it. If overlapping
    rectangles contain it, those in `wanted` take precedence, then the one that lacks a point of its label. Raises
    DataError, beginning with `where`, if that leaves several.
    """
    tied = _tied(where, boxes, ties)
    chosen = [tied.get(identity) for identity, _, _ in points]
    if len(boxes) == 1:
        return [owner if owner is not None else next(iter(boxes)) for owner in chosen]
    around = [
        _around(place, boxes) if owner is None else [] for owner, (_, _, place) in zip(chosen, points, strict=True)
    ]
    around = [[key for key in keys if key in wanted] or keys for keys in around]
    for i, keys in enumerate(around):
        if len(keys) == 1:
            chosen[i] = keys[0]
    waiting = [i for i, keys in enumerate(around) if len(keys) > 1]
    while waiting:
        taken = {(owner, label) for owner, (_, label, _) in zip(chosen, points, strict=True) if owner is not None}
        free = {i: [key for key in around[i] if (key, points[i][1]) not in taken] for i in waiting}
        decided = [i for i in waiting if len(free[i]) == 1]
        if not decided:
            label = points[waiting[0]][1]
            raise DataError(
                f"{where}: {label} lies in {len(around[waiting[0]])} rectangles; tie it to its own with a"
                " relation, or choose a label of rectangles with --category"
            )
        for i in decided:
            chosen[i] = free[i][0]
        waiting = [i for i in waiting if chosen[i] is None]
    return chosen


def _tied(where: str, boxes: Mapping[str, Box], ties: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The rectangle that each id is connected to. Raises DataError if an id is connected to several."""
    near: dict[str, list[str]] = {}
    for one, other in ties:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    owner: dict[str, str] = {}
    for key in boxes:
        todo = [key]
        while todo:
            for other in near.get(todo.pop(), ()):
                if other in boxes or owner.get(other) == key:
                    continue
                if other in owner:
                    raise DataError(f"{where}: a keypoint is tied to 2 rectangles; remove the relations that are wrong")
                owner[other] = key
                todo.append(other)
    return owner


def _around(place: Place, boxes: Mapping[str, Box]) -> list[str]:
    """The rectangles that contain a position, edges included."""
    x, y = place
    return [
        key for key, (left, top, wide, high) in boxes.items() if left <= x <= left + wide and top <= y <= top + high
    ]
