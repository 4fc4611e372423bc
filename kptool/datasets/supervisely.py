"""A Supervisely project: meta.json, and below each data set's folder ann/NAME.json for each picture img/NAME.

Keypoints are the nodes of "graph" objects, whose names meta.json has, or "point" objects, whose class is their name. Objects
with the same `instance` belong together. Where all coordinates are whole numbers, as Supervisely's SDK writes them, they are
indices of pixels; fractions, as its labelling tool has, are measured from the image's edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.base.geometry import from_edges
from kptool.data.annotations import Dataset, LabelFile
from kptool.data.formats import json_kind, named_points, supervisely_meta, values
from kptool.data.formats.named_points import Picture, Point, Rectangle
from kptool.data.formats.supervisely_meta import META, Meta
from kptool.data.notes import counted
from kptool.data.splits import PARTS, part_of
from kptool.system.text import is_file, read_json
from kptool.system.walking import files_below

_ANNOTATIONS, _IMAGES = "ann", "img"
_POINTS = "points"
"""The category of point objects."""


def matches(path: Path) -> bool:
    """Whether `path` is a project's or data set's folder, its meta.json, or the labels of one picture."""
    if path.is_dir():
        return json_kind.kind(path / META) == json_kind.SUPERVISELY_META or (
            (path / _ANNOTATIONS).is_dir() and (json_kind.is_folder_of(path / _ANNOTATIONS, json_kind.SUPERVISELY))
        )
    return json_kind.kind(path) in (json_kind.SUPERVISELY, json_kind.SUPERVISELY_META)


def read(path: Path, category: str | None = None) -> LabelFile:
    """The graphs of the class `category`, or the points; it is needed if the project has several. Raises DataError."""
    base = path if path.is_dir() else path.parent
    files = [path] if json_kind.kind(path) == json_kind.SUPERVISELY else list(_annotations(base))
    meta_path = supervisely_meta.find(path)
    meta = supervisely_meta.read(meta_path) if meta_path else Meta({})
    unused: Counter[str] = Counter()
    documents = [(file, _document(file)) for file in files]
    chosen = _category(path, meta, documents, category)
    pictures = [_picture(file, base, document, meta, chosen, unused) for file, document in documents]
    moved, how = _in_pixels(pictures)
    others = ", ".join(f"{kind[:40]} {n}" for kind, n in unused.most_common(8))
    hidden = sum(bool(point.flags) for picture in pictures for point in picture.points)
    notes = (
        *counted(sum(unused.values()), "{n} object{s} {are} not used ({others})", others=others),
        *counted(hidden, "{n} disabled node{s} {are} read as occluded"),
        *how,
    )
    read_files = (*files, *((meta_path,) if meta_path else ()))
    file = named_points.label_file(path, moved, None, read_files, notes, meta.nodes(chosen))
    index = {name: k for k, name in enumerate(file.names)}
    lines = [(index[a], index[b]) for a, b in meta.lines.get(chosen, ()) if a in index and b in index]
    return replace(file, edges=tuple(lines))


def _annotations(base: Path) -> Iterator[Path]:
    """The label files below a folder, in folders called ann."""
    for file in files_below(base):
        if file.parent.name == _ANNOTATIONS and file.suffix.lower() == ".json":
            yield file


def _document(file: Path) -> dict[str, Any]:
    """The labels of one picture. Raises DataError if they are not Supervisely's."""
    document = read_json(file)
    if not isinstance(document, dict) or "objects" not in document:
        raise DataError(f"{file} is not Supervisely's json, an object with size and objects; export it again")
    values.objects(str(file), "objects", document.get("objects"))
    return document


def _category(path: Path, meta: Meta, documents: Sequence[tuple[Path, dict[str, Any]]], wanted: str | None) -> str:
    """The category to read: `wanted`, or the only one. Raises DataError if there are none or several."""
    rows = [row for _, document in documents for row in document.get("objects") or ()]
    found = dict.fromkeys(_kind(meta, row) for row in rows)
    found.pop("", None)
    listed = ", ".join(found)
    if not found:
        raise DataError(f"{path} has no objects with keypoints, graphs or points; label some, or export again")
    if wanted is not None and wanted not in found:
        raise DataError(f"{path} has no {wanted!r} with keypoints; choose one of {listed}")
    if wanted is None and len(found) > 1:
        raise DataError(f"{path} has several categories with different keypoints; choose one with --category: {listed}")
    return wanted or next(iter(found))


def _kind(meta: Meta, row: Mapping[str, Any]) -> str:
    """The category of an object with keypoints; empty for others."""
    shape = row.get("geometryType") or meta.shapes.get(str(row.get("classTitle")), "")
    if shape == "graph" or isinstance(row.get("nodes"), dict):
        return str(row.get("classTitle") or "graph")
    return _POINTS if shape == "point" else ""


def _picture(
    file: Path, base: Path, document: Mapping[str, Any], meta: Meta, chosen: str, unused: Counter[str]
) -> Picture:
    """The points and rectangles of one picture, with coordinates as stated; other objects are counted."""
    folder = file.parent.parent.relative_to(base) if file.parent.parent.is_relative_to(base) else Path()
    name = (folder / _IMAGES / file.name.removesuffix(file.suffix)).as_posix()
    if not is_file(base / name) and file.parent.name != _ANNOTATIONS:
        name = file.name.removesuffix(file.suffix)
    stated = values.mapping(document.get("size"))
    size = values.size(stated.get("height"), stated.get("width"))
    picture = Picture(str(file), name, size, split=_split(folder, document))
    for number, row in enumerate(document.get("objects") or ()):
        _add(picture, f"{file}, object {row.get('id', number)}", number, row, meta, chosen, unused)
    return picture


def _split(folder: Path, document: Mapping[str, Any]) -> str:
    """The part of the data set that the picture's tags state, else its data set's name."""
    tags = document.get("tags")
    names = [str(values.mapping(tag).get("name", "")).lower() for tag in tags] if isinstance(tags, list) else []
    return next((PARTS[name] for name in names if name in PARTS), "") or part_of(folder.name)


def _add(
    picture: Picture, where: str, number: int, row: Mapping[str, Any], meta: Meta, chosen: str, unused: Counter[str]
) -> None:
    """Add the points of an object of the `chosen` category, or a rectangle of an instance; anything else is counted."""
    group = str(row["instance"]) if row.get("instance") else None
    kind, title = _kind(meta, row), str(row.get("classTitle") or "")
    places = values.mapping(row.get("points")).get("exterior")
    places = places if isinstance(places, list) else []
    if kind == chosen and kind == _POINTS:
        place = values.numbers(where, f"the place of {title[:60]}", places[0] if places else None, 2)
        picture.points.append(Point(title, (place[0], place[1]), group))
    elif kind == chosen:
        own = group or f"object {number}"
        picture.points.extend(_nodes(where, row, meta, own))
    elif kind == "" and row.get("geometryType") == "rectangle" and len(places) == 2 and (group or chosen == _POINTS):
        corners = [values.numbers(where, "a corner of a rectangle", corner, 2) for corner in places]
        (x, y), (right, bottom) = (tuple(pick(side) for side in zip(*corners, strict=True)) for pick in (min, max))
        picture.rectangles.append(Rectangle(title, (x, y, right - x, bottom - y), group))
    else:
        unused[title or str(row.get("geometryType"))] += 1


def _nodes(where: str, row: Mapping[str, Any], meta: Meta, group: str) -> Iterator[Point]:
    """The nodes of a graph; disabled ones are occluded."""
    for key, stated in values.mapping(row.get("nodes")).items():
        node, name = values.mapping(stated), meta.name(str(row.get("classTitle")), str(key))
        x, y = values.numbers(where, f"the place of {name[:60]}", node.get("loc"), 2)
        yield Point(name, (x, y), group, {"occluded": "true"} if node.get("disabled") is True else {})


def _in_pixels(pictures: Sequence[Picture]) -> tuple[list[Picture], tuple[str, ...]]:
    """The pictures with coordinates in pixels, and a note on how they were read."""
    stated = [value for picture in pictures for point in picture.points for value in point.place]
    whole = all(value == int(value) for value in stated)
    moved = []
    for picture in pictures:
        points = picture.points
        if not whole:
            points = [replace(p, place=(from_edges(p.place[0]), from_edges(p.place[1]))) for p in points]
        boxes = [replace(one, box=_edges(one.box, whole)) for one in picture.rectangles]
        moved.append(replace(picture, points=points, rectangles=boxes))
    how = "indices of pixels" if whole else "measured from the pictures' edges"
    return moved, (f"coordinates are {'whole numbers' if whole else 'fractions'}, and read as {how}",)


def _edges(box: tuple[float, float, float, float], whole: bool) -> tuple[float, float, float, float]:
    """A box between edges; in whole numbers it includes its last pixels."""
    x, y, width, height = box
    more = 1 if whole else 0
    return from_edges(x), from_edges(y), width + more, height + more


DATASET = Dataset("a Supervisely project", matches, read=read)
