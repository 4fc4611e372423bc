"""dlib's XML, as imglab writes it: boxes in images, with named parts.

An integer is a pixel's centre, as it is an index of a pixel in dlib; a box covers whole pixels. A part that is not there is
unlabelled. The label of a box is its category. Boxes that dlib ignores in training are not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import Box, pixel_edges
from kptool.data.annotations import Dataset, LabelFile
from kptool.data.formats import named_points, values
from kptool.data.formats.named_points import Picture, Point, Rectangle
from kptool.data.formats.xml_kind import is_dlib, read_xml
from kptool.data.notes import counted

_ATTRIBUTES = ("occluded", "difficult", "truncated")
_TRUE = ("1", "true")


def matches(path: Path) -> bool:
    """Whether `path` is an XML file that begins as dlib's data sets do."""
    return is_dlib(path)


def read(path: Path, category: str | None = None) -> LabelFile:
    """All boxes with parts, or those labelled `category`. Raises DataError, naming the image and box, for invalid ones."""
    root = read_xml(path)
    unused: Counter[str] = Counter()
    pictures = [_picture(path, image, unused) for image in root.iter("image")]
    return named_points.label_file(path, pictures, category, (path,), tuple(_notes(unused)))


def _picture(path: Path, image: ElementTree.Element, unused: Counter[str]) -> Picture:
    """The boxes and parts of one image; ignored boxes and marks of boxes are counted."""
    name = image.get("file", "").replace("\\", "/")
    where = f"{path}, image {name!r}"
    if not name:
        raise DataError(f"{path}: an image has no attribute file; add it")
    picture = Picture(where, name, values.size(image.get("height"), image.get("width")))
    for number, box in enumerate(image.findall("box")):
        if box.get("ignore", "0").lower() in _TRUE:
            unused["ignored"] += 1
            continue
        parts = list(_parts(f"{where}, box {number}", str(number), box))
        label = (box.findtext("label") or "").strip()
        unused.update(mark for mark in _ATTRIBUTES if parts and box.get(mark, "0").lower() in _TRUE)
        picture.points.extend(parts)
        picture.rectangles.append(Rectangle(label, _edges(f"{where}, box {number}", box.attrib), str(number)))
    return picture


def _edges(where: str, stated: Mapping[str, str]) -> Box:
    """The box (x, y, width, height) of the pixels from left and top on."""
    sides = ("left", "top", "width", "height")
    left, top, width, height = values.numbers(
        where, "left, top, width, height", [stated.get(side) for side in sides], 4
    )
    (x, y), _ = pixel_edges(np.array([left, top]))
    return float(x), float(y), width, height


def _parts(where: str, group: str, box: ElementTree.Element) -> Iterator[Point]:
    """The parts of a box."""
    for part in box.findall("part"):
        name = part.get("name", "").strip()
        x, y = values.numbers(where, f"x, y of the part {name[:60]}", [part.get("x"), part.get("y")], 2)
        yield Point(name, (x, y), group)


def _notes(unused: Counter[str]) -> Iterator[str]:
    """Notes on what is not used."""
    yield from counted(unused["ignored"], "{n} box{es} with ignore='1' {are} not used")
    for mark in _ATTRIBUTES:
        yield from counted(unused[mark], "the mark {mark} of {n} box{es} is not used", mark=mark)


DATASET = Dataset("dlib's xml (imglab)", matches, read=read)
