"""CVAT's XML ("CVAT for images"): skeletons with named points, or points elements, in each image.

Coordinates are pixels measured from the image's edges. There are three sorts of instances: a skeleton, a points element
with several points, and all single points of an image together. Those of one label are a category; if categories differ
in their keypoints, only one of them can be read at a time. A box that is grouped with a skeleton is its box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import Box, box_from_edges, from_edges
from kptool.base.skeleton import OCCLUDED, UNLABELLED, VISIBLE
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats.unread import named_xml
from kptool.data.formats.xml_kind import is_dlib, read_xml
from kptool.data.notes import counted
from kptool.system.text import starts_with

_SINGLE_POINTS = "points"
"""The category of the single points of an image."""
_Point = tuple[float, float, int]
"""x and y in pixels, and the visibility."""
_Points = dict[str, _Point]


@dataclass(frozen=True)
class _Instance:
    """One skeleton, one points element, or the single points of an image.

    element: "skeleton", "points" or "single". size: (H, W) of the image. points: by the keypoints' names. box: of the
    same group.
    """

    category: str
    element: str
    picture: str
    size: tuple[int, int]
    points: _Points
    box: Box | None = None


def matches(path: Path) -> bool:
    """Whether `path` is an XML file, other than dlib's."""
    return path.suffix.lower() == ".xml" and starts_with(path, "<") and not is_dlib(path)


def read(path: Path, category: str | None = None) -> LabelFile:
    """All instances, or those of `category`, which is needed if categories differ in their keypoints.

    Raises DataError, naming the image, for invalid labels.
    """
    root = read_xml(path)
    other = named_xml(root)
    if other:
        raise DataError(f"{path} {other}")
    unused: Counter[str] = Counter()
    instances = _distinct([each for image in root.iter("image") for each in _instances(path, image, unused)])
    wanted = _categories(path, instances, category)
    chosen = [instance for instance in instances if instance.category in wanted]
    names = tuple(dict.fromkeys(name for instance in chosen for name in instance.points))
    bounded(path, names, len(chosen))
    others = Counter(instance.category for instance in instances if instance.category not in wanted)
    notes = (
        *_unused_notes(root, unused),
        *_incomplete_notes(chosen),
        *(
            note
            for name, n in others.items()
            for note in counted(n, "{n} instance{s} of the category {name!r} {are} not used", name=name)
        ),
    )
    kinds = {each.category.split(":")[-1] for each in chosen if each.element != "single"}
    things, kind = [_labelled(names, instance) for instance in chosen], kinds.pop() if len(kinds) == 1 else None
    return LabelFile(names, things, None, (path,), notes, edges=_edges(root, wanted, names), category=kind)


def _distinct(instances: list[_Instance]) -> list[_Instance]:
    """The instances; categories of skeletons and points with the same label become ``skeleton:face`` and ``points:face``."""
    elements: dict[str, set[str]] = {}
    for one in instances:
        elements.setdefault(one.category, set()).add(one.element)
    return [
        replace(one, category=f"{one.element}:{one.category}") if len(elements[one.category]) > 1 else one
        for one in instances
    ]


def _incomplete_notes(instances: list[_Instance]) -> Iterator[str]:
    """Notes on points elements that have fewer points than others of their category."""
    most: Counter[str] = Counter()
    for one in instances:
        most[one.category] = max(most[one.category], len(one.points))
    few = Counter(one.category for one in instances if one.element == "points" and len(one.points) < most[one.category])
    for name, n in few.items():
        yield from counted(
            n,
            "{n} instance{s} of the category {name!r} {have} fewer points than others, which have up to {most}; the last ones"
            " are unlabelled there",
            name=name,
            most=most[name],
        )


def _categories(path: Path, instances: list[_Instance], category: str | None) -> set[str]:
    """The categories to read: `category`, or all if they have the same keypoints. Raises DataError otherwise."""
    names: dict[str, set[str]] = {}
    for one in instances:
        names.setdefault(one.category, set()).update(one.points)
    if not names:
        raise DataError(f"{path} has no skeletons or points in images; export as 'CVAT for images'")
    listed = "; ".join(
        f"{name} ({', '.join(sorted(parts)[:4])}{', ...' if len(parts) > 4 else ''})" for name, parts in names.items()
    )
    if category is not None:
        if category not in names:
            raise DataError(f"{path} has no {category!r} with keypoints; choose one of {listed}")
        return {category}
    if len({frozenset(parts) for parts in names.values()}) > 1:
        raise DataError(f"{path} has several categories with different keypoints; choose one with --category: {listed}")
    return set(names)


def _instances(path: Path, image: ElementTree.Element, unused: Counter[str]) -> Iterator[_Instance]:
    """The instances in an image. Other shapes are counted in `unused`, by tag or as "outside"."""
    name = image.get("name", "")
    where = f"{path}, image {name!r}"
    try:
        size = int(image.get("height", "")), int(image.get("width", ""))
    except ValueError:
        raise DataError(f"{where}: width and height must be whole numbers; export it again") from None
    single: _Points = {}
    boxes = _grouped_boxes(where, image)
    for shape in image:
        label = shape.get("label", "")
        if shape.tag == "skeleton" and shape.get("outside") != "1":
            box = boxes.get(shape.get("group_id", ""), (None, None))[1]
            yield _Instance(label, "skeleton", name, size, _skeleton_points(where, label, shape), box)
        elif shape.tag == "box" and any(shape is used for used, _ in boxes.values()):
            continue
        elif shape.tag == "points" and shape.get("outside") != "1":
            points = _points(where, shape)
            if len(points) > 1:
                numbered = {f"{label}{k + 1:02d}": point for k, point in enumerate(points)}
                yield _Instance(label, "points", name, size, numbered)
            elif label in single:
                raise DataError(f"{where}: {label} is there twice; remove one, or label with skeletons")
            else:
                single[label] = points[0]
        else:
            unused["outside" if shape.get("outside") == "1" else shape.tag] += 1
    if single:
        yield _Instance(_SINGLE_POINTS, "single", name, size, single)


def _grouped_boxes(where: str, image: ElementTree.Element) -> dict[str, tuple[ElementTree.Element, Box]]:
    """The box of each group that consists of a box and a skeleton, by the group's id."""
    groups: dict[str, list[ElementTree.Element]] = {}
    for shape in image:
        if shape.get("group_id", "0") != "0" and shape.get("outside") != "1":
            groups.setdefault(shape.get("group_id", ""), []).append(shape)
    found = {}
    for group, shapes in groups.items():
        box = next((shape for shape in shapes if shape.tag == "box"), None)
        if box is None or sorted(shape.tag for shape in shapes) != ["box", "skeleton"] or box.get("rotation"):
            continue
        try:
            left, top, right, bottom = (float(box.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr"))
        except ValueError:
            raise DataError(f"{where}: xtl, ytl, xbr and ybr of a box must be numbers; export it again") from None
        found[group] = box, box_from_edges(left, top, right - left, bottom - top)
    return found


def _edges(root: ElementTree.Element, categories: set[str], names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The lines between keypoints in the drawings of skeletons, which CVAT stores with its labels."""
    wanted = {category.removeprefix("skeleton:") for category in categories}
    found: dict[tuple[int, int], None] = {}
    for label in root.iter("label"):
        if label.findtext("name") not in wanted or not label.findtext("svg"):
            continue
        try:
            drawing = ElementTree.fromstring(f"<svg>{label.findtext('svg')}</svg>")
        except ElementTree.ParseError:
            continue
        nodes = {circle.get("data-node-id"): circle.get("data-label-name") for circle in drawing.iter("circle")}
        for line in drawing.iter("line"):
            ends = [nodes.get(line.get(end)) for end in ("data-node-from", "data-node-to")]
            known = [names.index(end) for end in ends if end in names]
            found.update({(known[0], known[1]): None} if len(known) == 2 else {})
    return tuple(found)


def _skeleton_points(where: str, label: str, skeleton: ElementTree.Element) -> _Points:
    """The points of a skeleton by their names; those of an occluded skeleton are at most occluded."""
    points: _Points = {}
    for part in skeleton.iter("points"):
        name, found = part.get("label", ""), _points(where, part)
        if name in points or len(found) != 1:
            raise DataError(
                f"{where}: the {label} has {name!r} twice, or in several places; correct it, and export again"
            )
        x, y, seen = found[0]
        points[name] = (x, y, min(seen, OCCLUDED) if skeleton.get("occluded") == "1" else seen)
    return points


def _points(where: str, shape: ElementTree.Element) -> list[_Point]:
    """The points of a shape; all of them are unlabelled if it is outside of the image."""
    seen = UNLABELLED if shape.get("outside") == "1" else OCCLUDED if shape.get("occluded") == "1" else VISIBLE
    try:
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        places = from_edges(np.array([(float(x), float(y)) for x, y in pairs]))
    except ValueError:
        raise DataError(
            f"{where}: points must be x,y pairs separated by semicolons; got {shape.get('points')!r}"
        ) from None
    return [(x, y, seen) for x, y in places.tolist()]


def _unused_notes(root: ElementTree.Element, unused: Counter[str]) -> tuple[str, ...]:
    """Notes on shapes without keypoints, on shapes outside of the image, and on tracks."""
    outside = unused.pop("outside", 0)
    tracks = sum(1 for _ in root.iter("track"))
    shapes = ", ".join(f"{tag[:40]} {n}" for tag, n in unused.most_common(8))
    return (
        *counted(
            sum(unused.values()), "{n} shape{s} or tag{s} without keypoints {are} not used ({shapes})", shapes=shapes
        ),
        *counted(outside, "{n} shape{s} that CVAT marks as outside of the picture {are} not used"),
        *counted(tracks, "{n} track{s} of videos {are} not used; export as 'CVAT for images'"),
    )


def _labelled(names: tuple[str, ...], instance: _Instance) -> Labelled:
    """The instance with its points in the order of `names`; those it lacks are unlabelled."""
    points, seen = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
    for name, (x, y, visible) in instance.points.items():
        points[names.index(name)], seen[names.index(name)] = (x, y), visible
    return Labelled(instance.picture, points, seen, instance.box, instance.size)


DATASET = Dataset("CVAT for images (xml)", matches, read=read)
