"""Reads the files of VGG Image Annotator (VIA), versions 1 to 3, json and csv, into one form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.data.formats.values import mapping
from kptool.data.splits import PARTS
from kptool.system.text import pad_rows, read_json, read_rows

_MAX_BYTES = 1 << 28
_COLUMNS = ("filename", "region_shape_attributes", "region_attributes", "file_attributes")
_PLACES = {"point": ("cx", "cy"), "rect": ("x", "y", "width", "height")}
_SHAPES = ("", "point", "rect", "circle", "ellipse", "line", "polyline", "polygon")
"""Shapes of version 3, by their number."""
_PICTURE, _SPLIT = 2, ("split", "subset", "partition")
"""The number of pictures among version 3's types of files; file attributes that state the part of the data set."""


@dataclass(frozen=True)
class Region:
    """A shape and its attributes as text. places: its numbers as stated. from_edges: whether these are measured from edges."""

    where: str
    shape: str
    places: list[Any]
    attributes: Mapping[str, str]
    from_edges: bool = False


@dataclass(frozen=True)
class Entry:
    """A picture and its regions. where: file and picture, for messages."""

    where: str
    name: str
    regions: list[Region] = field(default_factory=list)
    split: str = ""


def is_csv(header: str) -> bool:
    """Whether a csv's first line is that of VIA's export."""
    return "region_shape_attributes" in header and "filename" in header


def entries(path: Path, unused: Counter[str]) -> Iterator[Entry]:
    """The pictures of a file. Regions of videos, and file attributes without a meaning here, are counted in `unused`."""
    if path.suffix.lower() == ".csv":
        return iter(_from_csv(path, unused))
    document = read_json(path)
    if not isinstance(document, dict):
        raise DataError(f"{path} is not VIA's json; export it again")
    if "project" in document and "config" in document:
        return _from_version_3(path, document, unused)
    return _from_json(path, mapping(document.get("_via_img_metadata", document)), unused)


def _from_json(path: Path, document: Mapping[str, Any], unused: Counter[str]) -> Iterator[Entry]:
    """The pictures of a JSON export or project of versions 1 and 2."""
    for stated in document.values():
        row = mapping(stated)
        name = row.get("filename")
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: an entry has no filename; export it again from VIA")
        where = f"{path}, picture {name!r}"
        regions = row.get("regions") or []
        listed = list(regions.values()) if isinstance(regions, dict) else regions
        if not isinstance(listed, list):
            raise DataError(f"{where}: regions must be a list; export it again from VIA")
        parsed = [_region(f"{where}, region {k}", mapping(region)) for k, region in enumerate(listed)]
        yield Entry(where, name, parsed, _split(row.get("file_attributes"), unused))


def _region(where: str, stated: Mapping[str, Any]) -> Region:
    shape = mapping(stated.get("shape_attributes"))
    kind = str(shape.get("name") or "none")
    places = [shape.get(key) for key in _PLACES.get(kind, ())]
    return Region(where, kind, places, _texts(stated.get("region_attributes")))


def _from_csv(path: Path, unused: Counter[str]) -> list[Entry]:
    """The pictures of a csv export, in which each region has a row."""
    rows, _ = read_rows(path, _MAX_BYTES)
    head = [cell.lstrip("#") for cell in rows[0][1]]
    missing = [column for column in _COLUMNS[:3] if column not in head]
    if missing:
        raise DataError(f"{path} has no column {missing[0]}, as VIA's csv has; export it again")
    cells, _ = pad_rows(path, rows[1:], len(head))
    found: dict[str, Entry] = {}
    for (line, _), texts in zip(rows[1:], cells, strict=True):
        row = dict(zip(head, texts, strict=True))
        where, name = f"{path}, line {line}", row["filename"]
        if not name:
            raise DataError(f"{where}: there is no filename; add it")
        if name not in found:
            split = _split(_parsed(where, row.get("file_attributes", "")), unused)
            found[name] = Entry(f"{path}, picture {name!r}", name, [], split)
        shape = _parsed(where, row["region_shape_attributes"])
        if shape:
            attributes = _parsed(where, row["region_attributes"])
            found[name].regions.append(_region(where, {"shape_attributes": shape, "region_attributes": attributes}))
    return list(found.values())


def _parsed(where: str, text: str) -> Mapping[str, Any]:
    """The object in a cell; an empty cell is an empty one. Raises DataError for anything else."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a json object, but got {text[:60]!r}; export it again from VIA")
    return value


def _from_version_3(path: Path, document: Mapping[str, Any], unused: Counter[str]) -> Iterator[Entry]:
    """The pictures of a project of version 3, whose views show one file or several."""
    attributes = {key: mapping(each) for key, each in mapping(document.get("attribute")).items()}
    shapes: dict[str, list[Region]] = {}
    for key, stated in mapping(document.get("metadata")).items():
        row = mapping(stated)
        stated_xy = row.get("xy")
        numbers = stated_xy if isinstance(stated_xy, list) else []
        code = numbers[0] if numbers and isinstance(numbers[0], int) else 0
        kind = _SHAPES[code] if 0 <= code < len(_SHAPES) else "other"
        if kind and not row.get("z"):
            texts = _texts(
                {_name(attributes, aid): _option(attributes, aid, v) for aid, v in mapping(row.get("av")).items()}
            )
            region = Region(f"{path}, region {key}", kind, numbers[1:], texts, from_edges=True)
            shapes.setdefault(str(row.get("vid")), []).append(region)
        else:
            unused["videos"] += 1
    files = mapping(document.get("file"))
    for vid, view in mapping(document.get("view")).items():
        shown = mapping(view).get("fid_list")
        listed = [mapping(files.get(str(fid))) for fid in shown] if isinstance(shown, list) else []
        if len(listed) == 1 and listed[0].get("type") == _PICTURE and isinstance(listed[0].get("fname"), str):
            name = listed[0]["fname"]
            yield Entry(f"{path}, picture {name!r}", name, shapes.get(vid, []))
        else:
            unused["videos"] += len(shapes.get(vid, []))


def _name(attributes: Mapping[str, Mapping[str, Any]], key: str) -> str:
    return str(attributes.get(key, {}).get("aname", key))


def _option(attributes: Mapping[str, Mapping[str, Any]], key: str, value: Any) -> Any:
    """The text of the option that was chosen, else the value itself."""
    return mapping(attributes.get(key, {}).get("options")).get(str(value), value)


def _texts(stated: Any) -> dict[str, str]:
    """Attributes as text: of several checked options all, joined with commas; those without a value are left out."""
    found = {}
    for key, value in mapping(stated).items():
        if isinstance(value, dict):
            value = ",".join(str(option) for option, on in value.items() if on)
        if value is not None and str(value).strip():
            found[str(key)] = str(value).strip()
    return found


def _split(stated: Any, unused: Counter[str]) -> str:
    """The part of the data set that file attributes state; others are counted."""
    texts = _texts(stated)
    key = next((key for key in _SPLIT if texts.get(key, "").lower() in PARTS), None)
    part = PARTS[texts.pop(key).lower()] if key else ""
    unused["files"] += bool(texts)
    return part
