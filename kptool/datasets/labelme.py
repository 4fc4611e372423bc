"""LabelMe's JSON, one file for each picture: shapes of the type "point", and rectangles around instances.

Coordinates are pixels measured from the image's edges. Shapes with the same `group_id` are one instance. `imagePath` is
relative to the JSON file; if there is no such picture, the one embedded as `imageData` is used. A point is occluded if one of
its flags says so, if X-AnyLabeling marks it as difficult, or if the model that placed it gave it a score below 0.6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kptool.base.errors import DataError
from kptool.base.geometry import box_from_edges, from_edges
from kptool.data.annotations import ANY_SUFFIX, Dataset, LabelFile
from kptool.data.formats import json_kind, named_points, values
from kptool.data.formats.named_points import Picture, Point, Rectangle
from kptool.data.formats.visibility import flag_kind
from kptool.data.notes import counted
from kptool.system.text import is_file, read_json


def matches(path: Path) -> bool:
    """Whether `path` is LabelMe's JSON, or a folder with one for each picture in it or below it."""
    if path.is_dir():
        return json_kind.is_folder_of(path, json_kind.LABELME)
    return json_kind.kind(path) == json_kind.LABELME


def read(path: Path, category: str | None = None) -> LabelFile:
    """The points of all files, or only those in rectangles labelled `category`. Raises DataError, naming the file."""
    return _read(path, category, embedded=True)


def read_apart(path: Path, category: str | None, images: Path) -> LabelFile:
    """As `read`, with the pictures in the folder `images`, so that embedded ones are not used."""
    return _read(path, category, embedded=False)


def _read(path: Path, category: str | None, *, embedded: bool) -> LabelFile:
    files, others = json_kind.files_of(path, json_kind.LABELME, "LabelMe's json")
    base = path if path.is_dir() else path.parent
    unused: Counter[str] = Counter()
    pictures = [_picture(file, base, unused, embedded) for file in files]
    inside = unused.pop("embedded", 0)
    flags = unused.pop("flags", 0)
    shapes = ", ".join(f"{kind[:40]} {n}" for kind, n in unused.most_common(8))
    notes = (
        *counted(
            sum(unused.values()),
            "{n} shape{s} other than points and rectangles {are} not used ({shapes})",
            shapes=shapes,
        ),
        *counted(flags, "{n} flag{s} of points {are} not used, as only those on visibility have a meaning"),
        *counted(inside, "{n} picture{s} {are} read from the json, as imagePath leads to none"),
        *counted(others, "{n} other json file{s} in the folder {are} not used"),
    )
    return named_points.label_file(path, pictures, category, files, notes)


def _picture(file: Path, base: Path, unused: Counter[str], embedded: bool) -> Picture:
    """The points and rectangles of one file; other shapes are counted."""
    document = read_json(file)
    if not isinstance(document, dict):
        raise DataError(f"{file} is not LabelMe's json, an object with shapes and imagePath; save it again")
    place = PurePosixPath(file.relative_to(base).parent.as_posix())
    stated = document.get("imagePath")
    name = file.stem + ANY_SUFFIX
    if isinstance(stated, str) and stated:
        name = str(place / stated.replace("\\", "/"))
    if embedded and isinstance(document.get("imageData"), str) and not is_file(base / name):
        name = str(place / file.name)
        unused["embedded"] += 1
    size = values.size(document.get("imageHeight"), document.get("imageWidth"))
    picture = Picture(str(file), name, size)
    for number, shape in enumerate(values.objects(str(file), "shapes", document.get("shapes"))):
        _add(picture, f"{file}, shape {number}", shape, unused)
    return picture


def _add(picture: Picture, where: str, shape: Mapping[str, Any], unused: Counter[str]) -> None:
    """Add a point or a rectangle to the picture; anything else is counted."""
    kind, corners = shape.get("shape_type"), shape.get("points")
    corners = corners if isinstance(corners, list) else []
    label, group = _text(shape.get("label")), _text(shape.get("group_id")) or None
    if kind == "point" or (kind is None and len(corners) == 1):
        if len(corners) != 1:
            raise DataError(f"{where}: a point must have one position, but has {len(corners)}; correct it")
        x, y = values.numbers(where, f"the place of {label[:60]}", corners[0], 2)
        picture.points.append(Point(label, (from_edges(x), from_edges(y)), group, _flags(shape, unused)))
    elif kind == "rectangle" and len(corners) in (2, 4):
        places = [values.numbers(where, "a corner of a rectangle", corner, 2) for corner in corners]
        xs, ys = zip(*places, strict=True)
        box = box_from_edges(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
        picture.rectangles.append(Rectangle(label, box, group))
    else:
        unused[str(kind or "polygon")] += 1


def _text(value: Any) -> str:
    """A label or group as text; empty if there is none."""
    return "" if value is None else str(value).strip()


def _flags(shape: Mapping[str, Any], unused: Counter[str]) -> dict[str, str]:
    """Texts by the kind of visibility flag; other flags that are set are counted.

    A field `visible` of the shape itself is a setting of X-AnyLabeling's display.
    """
    found: dict[str, str] = {}
    stated = {**values.mapping(shape.get("attributes")), **values.mapping(shape.get("flags"))}
    for name, value in stated.items():
        kind = flag_kind(str(name))
        if kind is not None:
            found[kind] = "" if value is None else str(value)
        elif value:
            unused["flags"] += 1
    if shape.get("difficult") is True:
        found.setdefault("occluded", "true")
    score = shape.get("score")
    if isinstance(score, int | float) and not isinstance(score, bool) and 0 < score <= 1:
        found.setdefault("confidence", str(score))
    return found


DATASET = Dataset("LabelMe's json, or a folder of them", matches, read=read, read_apart=read_apart)
