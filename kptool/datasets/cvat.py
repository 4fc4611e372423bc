"""CVAT's xml ("CVAT for images"): skeletons with named points, or points elements, in each image.

Places are pixels measured from the picture's edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kptool.annotations import OCCLUDED, VISIBLE, Dataset, LabelFile, Labelled, bounded
from kptool.errors import DataError
from kptool.reading import looks_like, read_text

_MOST_BYTES = 1 << 28
_Places = dict[str, tuple[float, float, int]]


def matches(path: Path) -> bool:
    """Whether `path` is an xml file."""
    return path.suffix.lower() == ".xml" and looks_like(path, b"<")


def read(path: Path, category: str | None = None) -> LabelFile:
    """All skeletons and points; `category` is their label, where there are several. Raises DataError naming the image."""
    text = read_text(path, _MOST_BYTES)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(
            f"{path} defines entities of its own, which CVAT's exports do not; kptool does not read such xml"
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is not valid xml ({error}); it may be cut off, so export it again") from error
    things = [thing for image in root.iter("image") for thing in _things(path, image, category)]
    names = tuple(dict.fromkeys(name for _, _, places in things for name in places))
    if not names:
        raise DataError(f"{path} has no skeletons or points in images; export as 'CVAT for images'")
    bounded(path, names, len(things))
    return LabelFile(names, [_labelled(names, *thing) for thing in things], None, (path,))


def _things(
    path: Path, image: ElementTree.Element, category: str | None
) -> Iterator[tuple[str, tuple[int, int], _Places]]:
    """Picture, size and keypoints of each skeleton; single points of an image belong together."""
    name = image.get("name", "")
    where = f"{path}, image {name!r}"
    try:
        size = int(image.get("height", "")), int(image.get("width", ""))
    except ValueError:
        raise DataError(f"{where}: width and height must be whole numbers; export it again") from None
    single: _Places = {}
    for shape in image:
        label = shape.get("label", "")
        if shape.tag == "skeleton" and category in (None, label):
            yield name, size, {part.get("label", ""): _places(where, part)[0] for part in shape.iter("points")}
        elif shape.tag == "points":
            places = _places(where, shape)
            if len(places) > 1 and category in (None, label):
                yield name, size, {f"{label}{k + 1:02d}": place for k, place in enumerate(places)}
            elif len(places) == 1:
                if label in single:
                    raise DataError(f"{where}: {label} is there twice; remove one, or label with skeletons")
                single[label] = places[0]
    if single and category is None:
        yield name, size, single


def _places(where: str, shape: ElementTree.Element) -> list[tuple[float, float, int]]:
    seen = 0 if shape.get("outside") == "1" else OCCLUDED if shape.get("occluded") == "1" else VISIBLE
    try:
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        return [(float(x) - 0.5, float(y) - 0.5, seen) for x, y in pairs]
    except ValueError:
        raise DataError(f"{where}: points must be x,y pairs with ; between; got {shape.get('points')!r}") from None


def _labelled(names: tuple[str, ...], picture: str, size: tuple[int, int], places: _Places) -> Labelled:
    points, seen = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
    for name, (x, y, visible) in places.items():
        points[names.index(name)], seen[names.index(name)] = (x, y), visible
    return Labelled(picture, points, seen, None, size)


DATASET = Dataset("CVAT for images (xml)", matches, read=read)
