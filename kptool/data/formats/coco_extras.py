"""What COCO files state beside annotations: the skeleton's lines, pictures without annotations, and whose predictions it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kptool.data.annotations import Labelled
from kptool.data.formats import values
from kptool.data.splits import part_of

PREDICTED_BY = "predicted by "
"""Begins the description of a file of predictions that kptool wrote; the model follows."""


def model(document: Mapping[str, Any]) -> str:
    """The model by which annotations were predicted, if kptool wrote them; else ""."""
    info = document.get("info")
    text = str(info.get("description", "")) if isinstance(info, dict) else ""
    return text.removeprefix(PREDICTED_BY) if text.startswith(PREDICTED_BY) else ""


def area(row: Mapping[str, Any]) -> float | None:
    """The area of an annotation in square pixels; None unless it is a finite number above 0."""
    stated = row.get("area")
    number = isinstance(stated, int | float) and not isinstance(stated, bool)
    return float(stated) if number and 0 < stated < math.inf else None  # type: ignore[operator, arg-type]


def image(row: Mapping[str, Any]) -> int | str | None:
    """The id of an image, a whole number or a text; None for anything else."""
    stated = row.get("id")
    return stated if isinstance(stated, int | str) and not isinstance(stated, bool) else None


def kind(
    key: Callable[[Any], Any], categories: Mapping[Any, dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> str | None:
    """The name of the category, if all annotations `rows` have the same. key: the id in `categories` that a reference means."""
    names = {str((categories.get(key(row.get("category_id"))) or {}).get("name", "")) for row in rows}
    return names.pop() or None if len(names) == 1 else None


def edges(category: Mapping[str, Any], count: int) -> tuple[tuple[int, int], ...]:
    """The lines of the category's skeleton as index pairs from 0. Those that join no two keypoints are left out.

    COCO counts keypoints from 1; a skeleton with a 0 and without the highest number counts them from 0.
    """
    stated = category.get("skeleton")
    pairs = stated if isinstance(stated, list) else []
    whole = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2 and {type(k) for k in pair} == {int}]
    numbers = {k for pair in whole for k in pair}
    first = 0 if 0 in numbers and count not in numbers else 1
    lines = [(a - first, b - first) for a, b in whole]
    return tuple((a, b) for a, b in lines if a != b and 0 <= a < count and 0 <= b < count)


def empty(
    tables: Mapping[str, list[dict[str, Any]]],
    key: Callable[[Any], Any],
    pictures: Mapping[Any, dict[str, Any]],
    names: tuple[str, ...],
) -> tuple[Labelled, ...]:
    """The pictures that no annotation is about, of any category. key: the id in `pictures` that a reference means."""
    used = {key(row.get("image_id")) for row in tables["annotations"]}
    bare = [row for own, row in pictures.items() if own not in used and isinstance(row.get("file_name"), str)]
    nothing = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
    return tuple(
        Labelled(
            row["file_name"],
            *nothing,
            size=values.size(row.get("height"), row.get("width")),
            split=part_of(str(row.get("split", ""))),
            image=image(row),
        )
        for row in bare
    )
