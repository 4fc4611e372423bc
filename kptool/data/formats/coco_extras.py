"""What COCO files state beside annotations: the skeleton's lines, pictures without annotations, and whose predictions it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def edges(category: Mapping[str, Any], count: int) -> tuple[tuple[int, int], ...]:
    """The lines of the category's skeleton as index pairs from 0; COCO counts from 1. Those out of range are left out."""
    stated = category.get("skeleton")
    pairs = stated if isinstance(stated, list) else []
    whole = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2 and {type(k) for k in pair} == {int}]
    return tuple((a - 1, b - 1) for a, b in whole if 1 <= a <= count and 1 <= b <= count and a != b)


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
        )
        for row in bare
    )
