"""CVAT's xml ("CVAT for images"): skeletons with named points, or points elements, in each image.

Places are pixels measured from the picture's edges. Skeletons of one label are one kind of thing, points elements of
several points another, and single points, which belong together in an image, a third; a file of several kinds is read one
at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kptool.base.errors import DataError
from kptool.base.skeleton import OCCLUDED, VISIBLE
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats.unread import named_xml
from kptool.data.notes import counted
from kptool.system.text import read_text, starts_with

_MOST_BYTES = 1 << 28
_LOOSE = "points"
"""What --category calls the single points of images."""
_Places = dict[str, tuple[float, float, int]]


@dataclass(frozen=True)
class _Thing:
    """One skeleton, one points element, or the single points of an image: its kind, what it is, picture, size and keypoints."""

    kind: str
    element: str
    picture: str
    size: tuple[int, int]
    places: _Places


def matches(path: Path) -> bool:
    """Whether `path` is an xml file."""
    return path.suffix.lower() == ".xml" and starts_with(path, "<")


def read(path: Path, category: str | None = None) -> LabelFile:
    """All things of one kind; `category` names it, where there are several. Raises DataError naming the image."""
    text = read_text(path, _MOST_BYTES)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(
            f"{path} defines entities of its own, which CVAT's exports do not; kptool does not read such xml"
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is not valid xml ({error}); it may be cut off, so export it again") from error
    other = named_xml(root)
    if other:
        raise DataError(f"{path} {other}")
    left: Counter[str] = Counter()
    things = _apart([thing for image in root.iter("image") for thing in _things(path, image, left)])
    wanted = _kinds(path, things, category)
    chosen = [thing for thing in things if thing.kind in wanted]
    names = tuple(dict.fromkeys(name for thing in chosen for name in thing.places))
    bounded(path, names, len(chosen))
    others = Counter(thing.kind for thing in things if thing.kind not in wanted)
    notes = (
        *_unused(root, left),
        *_ragged(chosen),
        *(
            note
            for kind, n in others.items()
            for note in counted(n, "{n} thing{s} of the kind {kind!r} {are} not used", kind=kind)
        ),
    )
    return LabelFile(names, [_labelled(names, thing) for thing in chosen], None, (path,), notes)


def _apart(things: list[_Thing]) -> list[_Thing]:
    """Things whose kind says also what they are, as skeleton:face, where a label is of skeletons and points alike."""
    elements: dict[str, set[str]] = {}
    for thing in things:
        elements.setdefault(thing.kind, set()).add(thing.element)
    return [
        replace(thing, kind=f"{thing.element}:{thing.kind}") if len(elements[thing.kind]) > 1 else thing
        for thing in things
    ]


def _ragged(things: list[_Thing]) -> Iterator[str]:
    """Notes on points elements of several points that have fewer than others of their kind."""
    most: Counter[str] = Counter()
    for thing in things:
        most[thing.kind] = max(most[thing.kind], len(thing.places))
    few = Counter(t.kind for t in things if t.element == "points" and len(t.places) < most[t.kind])
    for kind, n in few.items():
        yield from counted(
            n,
            "{n} thing{s} of the kind {kind!r} {lack} points that others have, up to {most}; the last ones are unlabelled there",
            kind=kind,
            most=most[kind],
            lack="lack" if n > 1 else "lacks",
        )


def _kinds(path: Path, things: list[_Thing], category: str | None) -> set[str]:
    """The kinds that are read: the one asked for, or all where they have the same keypoints."""
    names: dict[str, set[str]] = {}
    for thing in things:
        names.setdefault(thing.kind, set()).update(thing.places)
    if not names:
        raise DataError(f"{path} has no skeletons or points in images; export as 'CVAT for images'")
    listed = "; ".join(
        f"{kind} ({', '.join(sorted(parts)[:4])}{', ...' if len(parts) > 4 else ''})" for kind, parts in names.items()
    )
    if category is not None:
        if category not in names:
            raise DataError(f"{path} has no {category!r} with keypoints; choose one of {listed}")
        return {category}
    if len({frozenset(parts) for parts in names.values()}) > 1:
        raise DataError(f"{path} has things of several kinds; choose one with --category: {listed}")
    return set(names)


def _things(path: Path, image: ElementTree.Element, left: Counter[str]) -> Iterator[_Thing]:
    """The things of an image; single points of it belong together. What is no keypoint is counted in `left`."""
    name = image.get("name", "")
    where = f"{path}, image {name!r}"
    try:
        size = int(image.get("height", "")), int(image.get("width", ""))
    except ValueError:
        raise DataError(f"{where}: width and height must be whole numbers; export it again") from None
    single: _Places = {}
    for shape in image:
        label = shape.get("label", "")
        if shape.tag == "skeleton" and shape.get("outside") != "1":
            yield _Thing(label, "skeleton", name, size, _parts(where, label, shape))
        elif shape.tag == "points" and shape.get("outside") != "1":
            places = _places(where, shape)
            if len(places) > 1:
                numbered = {f"{label}{k + 1:02d}": place for k, place in enumerate(places)}
                yield _Thing(label, "points", name, size, numbered)
            elif label in single:
                raise DataError(f"{where}: {label} is there twice; remove one, or label with skeletons")
            else:
                single[label] = places[0]
        else:
            left["outside" if shape.get("outside") == "1" else shape.tag] += 1
    if single:
        yield _Thing(_LOOSE, "single", name, size, single)


def _parts(where: str, label: str, skeleton: ElementTree.Element) -> _Places:
    """The points of a skeleton by their names."""
    places: _Places = {}
    for part in skeleton.iter("points"):
        name, found = part.get("label", ""), _places(where, part)
        if name in places or len(found) != 1:
            raise DataError(
                f"{where}: the {label} has {name!r} twice, or in several places; correct it, and export again"
            )
        x, y, seen = found[0]
        places[name] = (x, y, min(seen, OCCLUDED) if skeleton.get("occluded") == "1" else seen)
    return places


def _places(where: str, shape: ElementTree.Element) -> list[tuple[float, float, int]]:
    seen = 0 if shape.get("outside") == "1" else OCCLUDED if shape.get("occluded") == "1" else VISIBLE
    try:
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        return [(float(x) - 0.5, float(y) - 0.5, seen) for x, y in pairs]
    except ValueError:
        raise DataError(f"{where}: points must be x,y pairs with ; between; got {shape.get('points')!r}") from None


def _unused(root: ElementTree.Element, left: Counter[str]) -> tuple[str, ...]:
    """Notes on shapes that have no keypoints, and on tracks."""
    outside = left.pop("outside", 0)
    tracks = sum(1 for _ in root.iter("track"))
    shapes = ", ".join(f"{tag[:40]} {n}" for tag, n in left.most_common(8))
    return (
        *counted(
            sum(left.values()), "{n} shape{s} or tag{s} without keypoints {are} not used ({shapes})", shapes=shapes
        ),
        *counted(outside, "{n} shape{s} outside of the picture, as CVAT says, {are} not used"),
        *counted(tracks, "{n} track{s} of videos {are} not used; export as 'CVAT for images'"),
    )


def _labelled(names: tuple[str, ...], thing: _Thing) -> Labelled:
    points, seen = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
    for name, (x, y, visible) in thing.places.items():
        points[names.index(name)], seen[names.index(name)] = (x, y), visible
    return Labelled(thing.picture, points, seen, None, thing.size)


DATASET = Dataset("CVAT for images (xml)", matches, read=read)
