"""VGG Image Annotator (VIA): the JSON or csv export, and projects of version 1, 2 and 3, with "point" regions.

Versions 1 and 2 round to whole pixels of the image, where an integer is a pixel's centre; version 3 has fractions, measured from
the image's edges. A keypoint's name is the value of one of its region's attributes. Another attribute may state the
instance, and others the visibility.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from kptool.base.geometry import box_from_edges, from_edges
from kptool.data.annotations import Dataset, LabelFile
from kptool.data.formats import json_kind, named_points, values, via_attributes, via_files
from kptool.data.formats.named_points import Picture, Point, Rectangle
from kptool.data.formats.via_attributes import Roles
from kptool.data.formats.via_files import Entry, Region
from kptool.data.notes import counted
from kptool.system.text import first_line


def matches(path: Path) -> bool:
    """Whether `path` is VIA's JSON, or a csv with VIA's columns."""
    if path.suffix.lower() == ".csv":
        return via_files.is_csv(first_line(path))
    return json_kind.kind(path) == json_kind.VIA


def read(path: Path, category: str | None = None) -> LabelFile:
    """The points of all pictures, or only those in rectangles whose name is `category`. Raises DataError, naming the region."""
    unused: Counter[str] = Counter()
    entries = list(via_files.entries(path, unused))
    regions = [region for entry in entries for region in entry.regions if region.shape == "point"]
    groups = [[region.attributes for region in entry.regions if region.shape == "point"] for entry in entries]
    roles = via_attributes.roles(path, groups)
    pictures = [_picture(entry, roles, unused) for entry in entries]
    videos, files = unused.pop("videos", 0), unused.pop("files", 0)
    shapes = ", ".join(f"{kind[:40]} {n}" for kind, n in unused.most_common(8))
    notes = (
        *counted(
            sum(unused.values()),
            "{n} region{s} other than points and rectangles {are} not used ({shapes})",
            shapes=shapes,
        ),
        *counted(videos, "{n} region{s} of videos and sounds {are} not used"),
        *counted(files, "the attributes of {n} file{s} are not used"),
        *roles.notes(regions),
    )
    return named_points.label_file(path, pictures, category, (path,), notes)


def _picture(entry: Entry, roles: Roles, unused: Counter[str]) -> Picture:
    """The points and rectangles of one picture; other shapes are counted."""
    picture = Picture(entry.where, entry.name, split=entry.split)
    number = 0
    for region in entry.regions:
        if region.shape == "point":
            number += 1
            picture.points.append(_point(region, roles, number))
        elif region.shape == "rect":
            picture.rectangles.append(_rectangle(region, roles))
        else:
            unused[region.shape] += 1
    return picture


def _point(region: Region, roles: Roles, number: int) -> Point:
    """A point with its name, or its number in the picture if regions have no names."""
    x, y = values.numbers(region.where, "cx, cy of a point", region.places, 2)
    place = (from_edges(x), from_edges(y)) if region.from_edges else (x, y)
    name = region.attributes.get(roles.name, "") if roles.name else f"p{number:02d}"
    return Point(name, place, region.attributes.get(roles.instance) or None, roles.flags(region.attributes))


def _rectangle(region: Region, roles: Roles) -> Rectangle:
    """A rectangle, of which whole pixels count as edges."""
    left, top, width, height = values.numbers(region.where, "x, y, width, height of a rect", region.places, 4)
    label = region.attributes.get(roles.name, "") or next(iter(region.attributes.values()), "")
    group = region.attributes.get(roles.instance) or None
    return Rectangle(label, box_from_edges(left, top, width, height), group)


DATASET = Dataset("VGG Image Annotator's json, csv or project (VIA)", matches, read=read)
