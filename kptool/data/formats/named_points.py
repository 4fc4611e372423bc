"""Groups the named points and rectangles of pictures into instances, and turns these into a label file's contents.

For labelling tools that know points but no skeletons. Points and rectangles with the same group are one instance. A point
without a group belongs to the ungrouped rectangle that it lies in; those in none are one instance in each picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import Box, Size
from kptool.data.annotations import LabelFile, Labelled, bounded
from kptool.data.formats import rectangles
from kptool.data.formats.visibility import from_columns
from kptool.data.notes import counted


@dataclass(frozen=True)
class Point:
    """A keypoint's name and its position in pixels; group: of the instance, or None; flags: texts by kind, see `visibility`."""

    name: str
    place: tuple[float, float]
    group: str | None = None
    flags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rectangle:
    """A box around an instance, its label, and its group."""

    label: str
    box: Box
    group: str | None = None


@dataclass
class Picture:
    """The points and rectangles of one picture. where: file and picture, for messages. Other fields as in `Labelled`."""

    where: str
    name: str
    size: Size | None = None
    points: list[Point] = field(default_factory=list)
    rectangles: list[Rectangle] = field(default_factory=list)
    split: str = ""
    video: str | None = None


@dataclass(frozen=True)
class _Instance:
    """One instance of a picture. points: by name."""

    picture: Picture
    points: Mapping[str, Point]
    box: Box | None


def label_file(
    path: Path,
    pictures: Sequence[Picture],
    category: str | None,
    files: Sequence[Path] = (),
    notes: Sequence[str] = (),
    order: Sequence[str] = (),
) -> LabelFile:
    """The instances of all pictures, or of rectangles labelled `category`.

    order: names that come first, in this order. The others follow as in the instance with most points; if all have
    numbers, by their values. notes: further notes.
    Raises DataError for names that an instance has twice, and if there are no points.
    """
    counts: Counter[str] = Counter()
    labels = {rectangle.label for picture in pictures for rectangle in picture.rectangles} - {""}
    if category is not None and category not in labels:
        known = f"choose one of {', '.join(sorted(labels)[:20])}" if labels else "it has no rectangles with labels"
        raise DataError(f"{path} has no rectangle labelled {category!r}; {known}")
    found = [instance for picture in pictures for instance in _instances(picture, category, counts)]
    names = _ordered(found, order)
    if not names:
        details = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(
            f"{path} has no points{details}; label the keypoints as points, each with its name as the label"
        )
    bounded(path, names, len(found))
    things, remarks = _labelled(names, found)
    notes = (*notes, *_notes(counts, category), *remarks)
    kind = category or (next(iter(labels)) if len(labels) == 1 else None)
    return LabelFile(names, things, None, tuple(files) or (path,), notes, category=kind)


def _ordered(found: Sequence[_Instance], order: Sequence[str]) -> tuple[str, ...]:
    """The names of all points, in the order that `label_file` describes."""
    fullest = sorted(found, key=lambda one: -len(one.points))
    used = tuple(dict.fromkeys(name for one in fullest for name in one.points))
    stated = tuple(name for name in order if name in used)
    rest = tuple(name for name in used if name not in stated)
    return (*stated, *(sorted(rest, key=_by_numbers) if all(re.search("[0-9]", name) for name in rest) else rest))


def _by_numbers(name: str) -> list[tuple[bool, int, str]]:
    """A sort key that compares numbers in names by their values."""
    pieces = [piece for piece in re.split("([0-9]+)", name) if piece]
    return [(piece.isdecimal(), int(piece[:18]) if piece.isdecimal() else 0, piece) for piece in pieces]


def _instances(picture: Picture, category: str | None, counts: Counter[str]) -> Iterator[_Instance]:
    """The instances of one picture; what is not used is counted."""
    groups: dict[str, list[Point]] = {}
    for point in picture.points:
        if point.group is not None:
            groups.setdefault(point.group, []).append(point)
    boxes: dict[str, list[Rectangle]] = {}
    for rectangle in picture.rectangles:
        if rectangle.group is not None:
            boxes.setdefault(rectangle.group, []).append(rectangle)
    for group, points in groups.items():
        own = boxes.pop(group, [])
        wanted = category is None or any(one.label == category for one in own)
        counts["unwanted"] += 0 if wanted else len(points)
        counts["further"] += max(0, len(own) - 1)
        if wanted:
            yield _Instance(picture, _by_name(picture, points), own[0].box if own else None)
    counts["empty"] += sum(map(len, boxes.values()))
    yield from _ungrouped(picture, category, counts)


def _ungrouped(picture: Picture, category: str | None, counts: Counter[str]) -> Iterator[_Instance]:
    """The instances of points without a group: by the rectangle they lie in, else one for all."""
    free = {str(k): one for k, one in enumerate(one for one in picture.rectangles if one.group is None)}
    loose = [point for point in picture.points if point.group is None]
    wanted = {key for key, one in free.items() if category is None or one.label == category}
    named = [(str(k), point.name, point.place) for k, point in enumerate(loose)]
    boxes = {key: one.box for key, one in free.items()}
    owned: dict[str | None, list[Point]] = {}
    for point, owner in zip(loose, rectangles.owners(picture.where, named, boxes, (), wanted), strict=True):
        owned.setdefault(owner, []).append(point)
    counts["empty"] += len(wanted - set(owned))
    counts["loose"] += len(owned.get(None, ())) if free and category is None else 0
    for key, points in owned.items():
        if key in wanted or (key is None and category is None):
            yield _Instance(picture, _by_name(picture, points), None if key is None else boxes[key])
        else:
            counts["unwanted"] += len(points)


def _by_name(picture: Picture, points: Sequence[Point]) -> dict[str, Point]:
    """The points of an instance by their names. Raises DataError for an empty name, and for one that is there twice."""
    found: dict[str, Point] = {}
    for point in points:
        if not point.name:
            raise DataError(f"{picture.where}: a point has no name; label it")
        if point.name in found:
            raise DataError(
                f"{picture.where}: {point.name[:60]} is there twice; remove one, or give each instance a group or a"
                " rectangle around it"
            )
        found[point.name] = point
    return found


def _labelled(names: Sequence[str], found: Sequence[_Instance]) -> tuple[list[Labelled], tuple[str, ...]]:
    """The instances with their points in the order of `names`, and notes on visibility."""
    index = {name: k for k, name in enumerate(names)}
    points = np.full((len(found), len(names), 2), np.nan)
    kinds = {kind for one in found for point in one.points.values() for kind in point.flags}
    columns: dict[str, NDArray[np.object_]] = {kind: np.full(points.shape[:2], "", object) for kind in kinds}
    for row, one in enumerate(found):
        for name, point in one.points.items():
            points[row, index[name]] = point.place
            for kind, text in point.flags.items():
                columns[kind][row, index[name]] = text
    seen, notes = from_columns(lambda row: found[row].picture.where, points, columns)
    things = [
        Labelled(p.name, points[row], seen[row], one.box, p.size, group=p.video, split=p.split)
        for row, one in enumerate(found)
        for p in (one.picture,)
    ]
    return things, notes


def _notes(counts: Counter[str], category: str | None) -> Iterator[str]:
    """A sentence for each count that is not 0."""
    sentences = {
        "unwanted": "{n} point{s} without a rectangle labelled {category} {are} not used",
        "loose": "{n} point{s} in no rectangle {are} read as one more instance in each picture",
        "empty": "{n} rectangle{s} without points {are} not used",
        "further": "{n} further rectangle{s} of instances that have one {are} not used",
    }
    for key, text in sentences.items():
        yield from counted(counts[key], text, category=category)
