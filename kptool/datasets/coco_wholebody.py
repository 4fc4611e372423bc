"""COCO-WholeBody: COCO's JSON with keypoints of the feet, the face and both hands beside the body's, 133 in all.

Coordinates and visibility are as in COCO; but in a part where 1 is the highest visibility of all, as in the published faces, it
only says that there is a label, and is read as visible. Parts that the file marks as not valid are all zeros, and so
unlabelled. A part can be chosen as a category, cropped to its own box; "body" are COCO's 17 keypoints alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.data.annotations import Dataset, LabelFile
from kptool.data.formats import coco_document, human, json_kind, values
from kptool.data.formats.human import Layout
from kptool.data.formats.visibility import from_confidence
from kptool.data.notes import counted, listed
from kptool.system.text import read_json

_Row = dict[str, Any]
_BODY, _WHOLE = "body", "whole body"
_HANDS = ("left-hand", "right-hand")
_BODY_PARTS = (_BODY, *human.WHOLE_BODY)


def matches(path: Path) -> bool:
    """Whether `path` is COCO's JSON with keypoints of hands."""
    return json_kind.kind(path) == json_kind.COCO_WHOLEBODY


def read(path: Path, category: str | None = None) -> LabelFile:
    """All people with the keypoints of all parts, or of the part `category`. Raises DataError, naming the annotation."""
    if category is not None and category not in _BODY_PARTS:
        raise DataError(f"{path} has no part {category!r}; choose one of {', '.join(_BODY_PARTS)}")
    document = values.mapping(read_json(path))
    rows = values.objects(str(path), "annotations", document.get("annotations"))
    layouts = _layouts(path, document, rows, category)
    layout = human.joined(list(layouts.values()))
    stated = [_parts(f"{path}, annotation {row.get('id', k)}", row, layouts) for k, row in enumerate(rows)]
    graded = [part for part in layouts if part != _BODY and _is_graded(stated, part)]
    counts: Counter[str] = Counter()
    kept = [each for row, parts in zip(rows, stated, strict=True) for each in _row(row, parts, graded, counts)]
    named = {"id": 1, "name": category or _WHOLE, "keypoints": list(layout.names)}
    file = coco_document.labels(path, {**document, "annotations": kept, "categories": [named]})
    faint = [part for part in layouts if part != _BODY and part not in graded]
    notes = (
        *counted(counts["invalid"], "{n} part{s} that the file marks as not valid {are} unlabelled"),
        *counted(counts["absent"], "{n} annotation{s} without keypoints of the {part} {are} not used", part=category),
        *((f"no keypoint of {listed(faint)} has a visibility of 2, so 1 is read as visible there",) if faint else ()),
    )
    return replace(file, flip_pairs=layout.pairs, edges=human.edges(layout), notes=(*file.notes, *notes))


def _layouts(path: Path, document: Mapping[str, Any], rows: list[_Row], category: str | None) -> dict[str, Layout]:
    """The layout of each wanted part that some annotation has, in the order of COCO-WholeBody."""
    found: dict[str, Layout] = {}
    for part in _BODY_PARTS if category is None else (category,):
        lengths = {
            len(stated) for row in rows for stated in [row.get(_field(part))] if isinstance(stated, list) and stated
        }
        if len(lengths) > 1 or any(length % 3 for length in lengths):
            raise DataError(
                f"{path}: {_field(part)} has {min(lengths)} to {max(lengths)} numbers; expected x, y, v of each keypoint"
            )
        if not lengths:
            continue
        count = lengths.pop() // 3
        if part == _BODY:
            found[part] = _body(document, count)
        else:
            found[part] = human.of_length((human.WHOLE_BODY[part][1],), count, f"{part}_")
    if not found:
        raise DataError(
            f"{path} has no annotations with keypoints of the {category or _WHOLE}; export them with the labels"
        )
    return found


def _body(document: Mapping[str, Any], count: int) -> Layout:
    """The body's layout: the names that a category gives, else COCO's."""
    categories = document.get("categories")
    names = [values.mapping(each).get("keypoints") for each in (categories if isinstance(categories, list) else [])]
    stated = next((each for each in names if isinstance(each, list) and len(each) == count), None)
    if stated is None:
        return human.of_length((human.COCO,), count)
    own = tuple(map(str, stated))
    return human.COCO if own == human.COCO.names else Layout(own, None)


def _field(part: str) -> str:
    """The name of a part's field in annotations."""
    return "keypoints" if part == _BODY else f"{human.WHOLE_BODY[part][0]}_kpts"


def _parts(where: str, row: _Row, layouts: Mapping[str, Layout]) -> dict[str, NDArray[np.float64]]:
    """x, y, v of the keypoints of each part, (K, 3); zeros for parts that the annotation lacks."""
    found = {}
    for part, layout in layouts.items():
        stated = row.get(_field(part))
        flat = values.numbers(where, _field(part), stated, 3 * len(layout)) if stated else (0.0,) * (3 * len(layout))
        found[part] = np.array(flat).reshape(-1, 3)
    return found


def _is_graded(stated: Sequence[Mapping[str, NDArray[np.float64]]], part: str) -> bool:
    """Whether a part's visibility, or that of the other hand, tells visible from occluded: it exceeds 1 somewhere."""
    same = [name for name in stated[0] if name == part or (part in _HANDS and name in _HANDS)] if stated else []
    return any((parts[name][:, 2] > 1).any() for parts in stated for name in same)


def _row(
    row: _Row, parts: Mapping[str, NDArray[np.float64]], graded: Sequence[str], counts: Counter[str]
) -> Iterator[_Row]:
    """The annotation as COCO's with the keypoints of all parts; none if it lacks the only part that is wanted."""
    flat: list[float] = []
    for part, points in parts.items():
        seen = points[:, 2] if part == _BODY or part in graded else from_confidence(points[:, 2])
        flat += np.column_stack([points[:, :2], seen]).ravel().tolist()
        counts["invalid"] += part != _BODY and row.get(f"{human.WHOLE_BODY[part][0]}_valid") is False
    alone = next(iter(parts)) if len(parts) == 1 else None
    if alone is not None and not any(flat[2::3]):
        counts["absent"] += 1
        return
    box = row.get(f"{human.WHOLE_BODY[alone][0]}_box") if alone in human.WHOLE_BODY else row.get("bbox")
    fields = {key: value for key, value in row.items() if not key.endswith(("_kpts", "_valid", "_box"))}
    yield {**fields, "keypoints": flat, "bbox": box or None, "category_id": 1}


DATASET = Dataset("COCO-WholeBody (json)", matches, read=read)
