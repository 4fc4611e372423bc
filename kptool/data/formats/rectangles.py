"""Which rectangle each keypoint of a picture belongs to, where people drew both and tied some of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kptool.base.errors import DataError
from kptool.base.geometry import Box

Place = tuple[float, float]
Point = tuple[str, str, Place]
"""Id, label, and x and y."""
Places = dict[str, Place]


def owners(
    where: str, points: Sequence[Point], boxes: Mapping[str, Box], ties: Sequence[tuple[str, str]], wanted: set[str]
) -> list[str | None]:
    """The key in `boxes` of the rectangle that each point belongs to, or None.

    What is tied together, in any number of steps, is one thing. A point that is not tied belongs to the only rectangle
    there is; of several, to the one it lies in, or, where they overlap, to the one of these that is `wanted`, or that lacks
    its label. Raises DataError where that does not decide.
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
    """The rectangle of everything that is tied to one. Raises DataError where something is tied to several."""
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
    """The rectangles that a place lies in, their edges included."""
    x, y = place
    return [
        key for key, (left, top, wide, high) in boxes.items() if left <= x <= left + wide and top <= y <= top + high
    ]
