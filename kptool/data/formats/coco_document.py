"""The contents of COCO keypoint JSON, for the readers of COCO and of the formats that extend it.

An integer keypoint is a pixel's centre; a box is measured from the image's edge. `v` is 0 unlabelled, 1 occluded,
2 visible; true and false, or a model's confidence, are accepted. Ids may be numbers in one list and text in another. An
image may state its part of the data set as ``"split": "val"``, which is an extension of COCO's format.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import box_from_edges
from kptool.base.skeleton import VISIBLE, numbered_names
from kptool.data.annotations import LabelFile, Labelled, bounded
from kptool.data.formats import coco_extras
from kptool.data.formats.unread import named
from kptool.data.formats.visibility import drop_placeholders, from_numbers
from kptool.data.notes import counted
from kptool.data.splits import part_of

_Row = dict[str, Any]
_TABLES = ("images", "annotations", "categories")
_LABELS = {"keypoints", "bbox", "segmentation"}


def labels(path: Path, document: Any, category: str | None = None) -> LabelFile:
    """All annotations of one category that have keypoints. Raises DataError, naming the annotation, for invalid ones."""
    tables = _tables(path, document)
    kinds = _Ids(path, "category", tables["categories"])
    pictures = _Ids(path, "image", tables["images"])
    crowds = [row for row in tables["annotations"] if row.get("iscrowd") and row.get("keypoints")]
    labelled = [row for row in tables["annotations"] if row.get("keypoints") and not row.get("iscrowd")]
    chosen, wanted = _category(path, tables["categories"], kinds, labelled, category)
    rows = [row for row in labelled if wanted is None or kinds.key(row.get("category_id")) in wanted]
    names = _names(path, chosen, rows)
    bounded(path, names, len(tables["annotations"]))
    numbers = {id(row): number for number, row in enumerate(tables["annotations"])}
    where = [f"{path}, annotation {row.get('id', number)}" for number, row in enumerate(rows)]
    flat = [_flat(place, row["keypoints"], names) for place, row in zip(where, rows, strict=True)]
    seen, how = _visibility(where, rows, flat)
    seen, notes = drop_placeholders(np.array(flat)[..., :2] if flat else np.empty((0, 1, 2)), seen)
    instances = [
        _instance(place, row, pictures, points[:, :2], visible, numbers[id(row)])
        for place, row, points, visible in zip(where, rows, flat, seen, strict=True)
    ]
    edges = coco_extras.edges(chosen, len(names))
    notes = (
        *_unnamed(chosen, names),
        *counted(
            len(chosen.get("skeleton") or ()) - len(edges), "{n} line{s} of the skeleton {are} not between keypoints"
        ),
        *how,
        *notes,
        *counted(len(crowds), "{n} annotation{s} of crowds {are} not used"),
        *_unused_annotations(tables, kinds, labelled, rows),
        *_unused_fields(document, rows),
        *(note for ids in (pictures, kinds) for note in ids.notes()),
    )
    pairs = _flip_pairs(path, chosen, len(names))
    model, empty = coco_extras.model(document), coco_extras.empty(tables, pictures.key, pictures.rows, names)
    kind = coco_extras.kind(kinds.key, kinds.rows, rows)
    file = LabelFile(names, instances, pairs, (path,), notes, edges=edges, category=kind)
    bare = [row for row in tables["annotations"] if row.get("iscrowd") or not row.get("keypoints")]
    mine = {numbers[id(row)]: row for row in bare if wanted is None or kinds.key(row.get("category_id")) in wanted}
    areas = _areas(mine, pictures, len(names))
    return replace(file, predicted_by=model, empty=empty, crowds=areas)


def _tables(path: Path, document: Any) -> dict[str, list[_Row]]:
    """COCO's three lists, of which categories may be missing. Raises DataError if this is not COCO's format."""
    tables = {}
    for name in _TABLES:
        table = document.get(name, [] if name == "categories" else None)
        if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
            other = named(document)
            if other:
                raise DataError(f"{path} {other}")
            raise DataError(f"{path}: expected COCO's keypoint format, with a list of objects called {name}")
        tables[name] = table
    return tables


class _Ids:
    """The rows of one of COCO's lists by their ids. Raises DataError for two different rows with the same id."""

    def __init__(self, path: Path, kind: str, rows: list[_Row]) -> None:
        self.kind, self._by_text = kind, 0
        self.rows: dict[Any, _Row] = {}
        self._texts: dict[str, list[Hashable]] = {}
        for row in rows:
            before = self.rows.get(row.get("id"))
            if before is not None and before != row:
                raise DataError(f"{path}: two {kind} rows have the id {row.get('id')!r:.40}; give each its own")
            if before is None:
                self._texts.setdefault(_canonical(row.get("id")), []).append(row.get("id"))
            self.rows[row.get("id")] = row

    def key(self, stated: Any) -> Any:
        """The id that a reference means: an equal one, else the only one with the same text, as 1 and "1"; else None."""
        if stated in self.rows:
            return stated
        same = self._texts.get(_canonical(stated), [])
        return same[0] if len(same) == 1 else None

    def find(self, stated: Any) -> _Row | None:
        """The row that a reference means, or None; counts references of another type than the id."""
        key = self.key(stated)
        self._by_text += key is not None and type(key) is not type(stated)
        return None if key is None else self.rows[key]

    def notes(self) -> tuple[str, ...]:
        """How many ids were matched by their text only."""
        return counted(
            self._by_text,
            "{n} {kind} id{s} {are} text in one part and a number in another, and matched",
            kind=self.kind,
        )


def _canonical(stated: Any) -> str:
    """The text of an id; numbers without leading zeros."""
    text = str(stated).strip()
    return text.lstrip("0") or "0" if text.isascii() and text.isdigit() else text


def _category(
    path: Path, categories: list[_Row], kinds: _Ids, rows: list[_Row], wanted: str | None
) -> tuple[_Row, set[Any] | None]:
    """The category to read, `wanted` or the only one with annotations, and the ids of categories with its keypoints.

    The ids are None if the file has no categories at all. Raises DataError if `wanted` is unknown, and if it is None
    but there are several categories with different keypoints.
    """
    if not categories and rows and wanted is None:
        return {}, None
    used = {kinds.key(row.get("category_id")) for row in rows} - {None}
    listed = {str(c.get("name", c.get("id"))): c for c in categories if c.get("id") in used or c.get("keypoints")}
    if wanted is not None:
        if wanted not in listed:
            raise DataError(f"{path} has no category {wanted!r} with keypoints; choose one of {', '.join(listed)}")
        return listed[wanted], {listed[wanted].get("id")}
    lists = {name: c for name, c in listed.items() if c.get("id") in used}
    if not lists:
        raise DataError(f"{path} has no annotation with keypoints whose category is there; expected COCO keypoints")
    if len({tuple(map(str, c.get("keypoints") or ())) for c in lists.values()}) > 1:
        raise DataError(
            f"{path} has categories with different keypoints; choose one with --category: {', '.join(lists)}"
        )
    return next(iter(lists.values())), {c.get("id") for c in lists.values()}


def _names(path: Path, category: _Row, rows: list[_Row]) -> tuple[str, ...]:
    """The names that the category gives its keypoints, else p01, p02, ..., as many as the annotations have."""
    stated = category.get("keypoints")
    if isinstance(stated, list) and stated:
        return tuple(map(str, stated))
    numbers = Counter(len(_spread(row["keypoints"])) for row in rows)
    length = numbers.most_common(1)[0][0] if numbers else 0
    if len(numbers) > 1:
        raise DataError(
            f"{path}: its category does not name the keypoints, and annotations have {min(numbers)} to {max(numbers)}"
            " numbers; add the names as keypoints of the category"
        )
    return numbered_names(length // 3 if length % 3 == 0 else length // 2)


def _unnamed(category: _Row, names: tuple[str, ...]) -> tuple[str, ...]:
    """A note on keypoints that the category does not name."""
    if category.get("keypoints"):
        return ()
    return (f"its category does not name the keypoints, so they are called {names[0]} to {names[-1]}",)


def _flat(where: str, stated: Any, names: tuple[str, ...]) -> np.ndarray:
    """x, y, v of each keypoint, float64 (K, 3). Raises DataError for another number of values."""
    try:
        flat = np.array(stated, np.float64).ravel()
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected {len(names)} keypoints as x, y, v each ({error})") from None
    if len(flat) == 2 * len(names):
        raise DataError(
            f"{where}: its keypoints are {len(flat)} numbers, x and y of {len(names)}; write x, y, v of each, with v 2 if"
            " it is labelled and 0 if not"
        )
    if len(flat) != 3 * len(names):
        raise DataError(
            f"{where}: expected {len(names)} keypoints as x, y, v each, but got {len(flat)} numbers; correct it"
        )
    return flat.reshape(-1, 3)


def _spread(stated: Any) -> list[Any]:
    """The numbers as one flat list; each keypoint may be a list of its own."""
    return [v for point in stated for v in point] if stated and isinstance(stated[0], list) else list(stated)


def _visibility(where: list[str], rows: list[_Row], flat: list[np.ndarray]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Visibility (n, K) of keypoints `flat` (n of (K, 3)), and notes on how v was read; true means visible."""
    stated = np.array([points[:, 2] for points in flat]) if flat else np.empty((0, 1))
    if any(isinstance(v, bool) for row in rows for v in _spread(row["keypoints"])):
        boolean = np.isin(stated, (0, 1)).all()
        stated = np.where(stated == 1, VISIBLE, stated) if boolean else stated
    try:
        return from_numbers(stated)
    except ValueError as error:
        wrong = ~np.isfinite(stated) | ~np.isin(stated, (0, 1, 2)) & ((stated < 0) | (stated > 1))
        odd = int(np.flatnonzero(wrong.any(1))[0])
        raise DataError(
            f"{where[odd]}: a keypoint's v is {error}, but must be 0 (no label), 1 (occluded) or 2 (visible), or a confidence"
            " from 0 to 1; correct it"
        ) from None


def _instance(where: str, row: _Row, pictures: _Ids, points: np.ndarray, seen: np.ndarray, number: int) -> Labelled:
    """The annotation with this number, with its image's name, size and part of the data set, and its box."""
    picture = pictures.find(row.get("image_id"))
    if picture is None or not isinstance(picture.get("file_name"), str):
        raise DataError(f"{where}: there is no image {row.get('image_id')!r} with a file_name; add it, or remove this")
    try:
        box = None if row.get("bbox") in (None, []) else np.array(row["bbox"], np.float64).reshape(4)
        size = (int(picture["height"]), int(picture["width"])) if "height" in picture and "width" in picture else None
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: expected bbox as 4 numbers, and whole numbers as its image's size ({error})"
        ) from None
    valid = box is not None and bool(np.isfinite(box).all()) and box[2] > 0 and box[3] > 0
    edges = box_from_edges(*box.tolist()) if box is not None and valid else None
    part = part_of(str(picture.get("split", "")))
    score = float(row["score"]) if isinstance(row.get("score"), int | float) else None
    more: _Row = {"area": coco_extras.area(row), "image": coco_extras.image(picture), "number": number}
    return Labelled(picture["file_name"], points, seen, edges, size, split=part, score=score, **more)


def _areas(rows: Mapping[int, _Row], pictures: _Ids, keypoints: int) -> list[Labelled]:
    """The areas of crowds and of instances without keypoints, those of which the picture and the box can be read."""
    nothing = np.full((keypoints, 2), np.nan), np.zeros(keypoints, np.uint8)
    areas = []
    for number, row in rows.items():
        with contextlib.suppress(DataError):
            areas.append(_instance("", row, pictures, *nothing, number))
    return [area for area in areas if area.box is not None]


def _unused_annotations(
    tables: Mapping[str, list[_Row]], kinds: _Ids, labelled: list[_Row], rows: list[_Row]
) -> tuple[str, ...]:
    """Notes on annotations of other categories, and on those without keypoints."""
    ours = {id(row) for row in rows}
    names = {key: str(row.get("name", key)) for key, row in kinds.rows.items()}
    other = Counter(names.get(kinds.key(r.get("category_id")), "none") for r in labelled if id(r) not in ours)
    bare = sum(1 for row in tables["annotations"] if not row.get("keypoints"))
    listed = ", ".join(f"{name[:40]} {count}" for name, count in other.most_common(5))
    return (
        *counted(sum(other.values()), "{n} annotation{s} of other categories {are} not used ({listed})", listed=listed),
        *counted(bare, "{n} annotation{s} without keypoints {are} not used"),
    )


def _unused_fields(document: Mapping[str, Any], rows: list[_Row]) -> tuple[str, ...]:
    """Notes on other fields of the annotations, and other lists in the file, that hold labels."""
    fields = {key for row in rows for key in row if key.endswith("_kpts") or key.startswith("keypoints_")}
    parts = {
        key: len(value)
        for key, value in document.items()
        if key not in _TABLES
        and isinstance(value, list)
        and any(isinstance(row, dict) and _LABELS & set(row) for row in value)
    }
    return (
        *((f"the annotations' {', '.join(sorted(fields))} are not used, only their keypoints",) if fields else ()),
        *(f"the file's part {key[:40]!r}, with {count} rows, is not used" for key, count in parts.items()),
    )


def _flip_pairs(path: Path, category: Mapping[str, Any], count: int) -> tuple[tuple[int, int], ...] | None:
    """`flip_pairs`, index pairs from 0, with which kptool extends COCO's format; None if the category has none."""
    stated = category.get("flip_pairs")
    if stated is None:
        return None
    try:
        return tuple((int(a), int(b)) for a, b in stated)
    except (TypeError, ValueError):
        raise DataError(f"{path}: flip_pairs must be pairs of whole numbers below {count}; correct them") from None
