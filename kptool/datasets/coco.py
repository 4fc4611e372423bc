"""COCO's keypoint json: images, annotations with keypoints (x, y, v) and a box, categories with the keypoints' names.

An integer keypoint is a pixel's centre; a box is measured from the picture's edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kptool.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.errors import DataError
from kptool.reading import looks_like, read_json


def matches(path: Path) -> bool:
    """Whether `path` is a json file that holds an object."""
    return path.suffix.lower() == ".json" and looks_like(path, b"{")


def read(path: Path, category: str | None = None) -> LabelFile:
    """All annotations that have keypoints, of one category. Raises DataError, naming the annotation, for what is wrong."""
    document = read_json(path)
    tables = {}
    for part in ("images", "annotations", "categories"):
        table = document.get(part)
        if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
            raise DataError(f"{path}: expected COCO's keypoint format, with a list of objects called {part}")
        tables[part] = table
    chosen = _category(path, tables["categories"], tables["annotations"], category)
    names = tuple(map(str, chosen["keypoints"]))
    bounded(path, names, len(tables["annotations"]))
    same = {c.get("id") for c in tables["categories"] if c.get("keypoints") == chosen["keypoints"]}
    ids = same if category is None else {chosen.get("id")}
    pictures = {row.get("id"): row for row in tables["images"]}
    things = [
        _thing(f"{path}, annotation {row.get('id', number)}", row, pictures, len(names))
        for number, row in enumerate(tables["annotations"])
        if row.get("category_id") in ids and row.get("keypoints") and not row.get("iscrowd")
    ]
    return LabelFile(names, things, _pairs(path, chosen, len(names)), (path,))


def _category(
    path: Path, categories: list[dict[str, Any]], annotations: list[dict[str, Any]], wanted: str | None
) -> dict[str, Any]:
    """The category whose keypoints are read: the one asked for, or the only one that is used."""
    named = {str(c.get("name", c.get("id"))): c for c in categories if isinstance(c.get("keypoints"), list)}
    if wanted is not None:
        if wanted not in named:
            raise DataError(f"{path} has no category {wanted!r} with keypoints; choose one of {', '.join(named)}")
        return named[wanted]
    used = {row.get("category_id") for row in annotations if row.get("keypoints")}
    lists = {name: c for name, c in named.items() if c.get("id") in used}
    if not lists:
        raise DataError(f"{path} has no annotation with keypoints whose category names them; expected COCO keypoints")
    if len({tuple(map(str, c["keypoints"])) for c in lists.values()}) > 1:
        raise DataError(
            f"{path} has categories with different keypoints; choose one with --category: {', '.join(lists)}"
        )
    return next(iter(lists.values()))


def _thing(where: str, row: Mapping[str, Any], pictures: Mapping[Any, Mapping[str, Any]], count: int) -> Labelled:
    picture = pictures.get(row.get("image_id"))
    if picture is None or not isinstance(picture.get("file_name"), str):
        raise DataError(f"{where}: there is no image {row.get('image_id')} with a file_name; add it, or remove this")
    try:
        flat = np.array(row["keypoints"], np.float64).reshape(count, 3)
        box = None if row.get("bbox") is None else np.array(row["bbox"], np.float64).reshape(4)
        size = (int(picture["height"]), int(picture["width"])) if "height" in picture and "width" in picture else None
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: expected {count} keypoints as x, y, v each, and bbox as 4 numbers ({error})"
        ) from None
    if not np.isin(flat[:, 2], (0, 1, 2)).all():
        raise DataError(f"{where}: a keypoint's v must be 0 (no label), 1 (hidden) or 2 (visible); correct it")
    given = box is not None and bool(np.isfinite(box).all()) and box[2] > 0 and box[3] > 0
    edges = (box[0] - 0.5, box[1] - 0.5, box[2], box[3]) if box is not None and given else None
    return Labelled(picture["file_name"], flat[:, :2], flat[:, 2].astype(np.uint8), edges, size)


def _pairs(path: Path, category: Mapping[str, Any], count: int) -> tuple[tuple[int, int], ...] | None:
    """`flip_pairs`, which is no part of COCO's format but what kptool adds to it, from 0."""
    stated = category.get("flip_pairs")
    if stated is None:
        return None
    try:
        return tuple((int(a), int(b)) for a, b in stated)
    except (TypeError, ValueError):
        raise DataError(f"{path}: flip_pairs must be pairs of whole numbers below {count}; correct them") from None


DATASET = Dataset("COCO keypoints (json)", matches, read=read)
