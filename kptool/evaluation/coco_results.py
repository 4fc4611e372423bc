"""Predictions as COCO's results, for other tools to measure: a list with image_id, category_id, keypoints and score of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.errors import ConfigError
from kptool.data.formats import json_kind
from kptool.data.truth import LabelledPictures
from kptool.evaluation.coco import FoundInstances, found_rows
from kptool.evaluation.shared_keypoints import SharedKeypoints
from kptool.system.files import write_text
from kptool.system.text import read_json


def write(target: Path, source: LabelledPictures, same: SharedKeypoints, found: Sequence[FoundInstances]) -> None:
    """Write the predictions `found` for the pictures of `source` to `target`, with the labels' keypoints in their order.

    `found` has the keypoints of `same`; of others, v is 0. Ids of images and of the category are those of the labels if they
    are COCO's json, else images are numbered from 1. Raises ConfigError where the labels' keypoints are not the model's own.
    """
    if any(len(group) > 1 for group in same.truth):
        raise ConfigError("--coco writes the labels' keypoints, and the model has others; leave it out")
    category = _category(source)
    rows = []
    for number, (picture, each) in enumerate(zip(source.pictures, found, strict=True), 1):
        points = np.full((len(each.scores), len(source.names), 2), np.nan)
        points[:, [group[0] for group in same.truth]] = each.points
        rows += found_rows(
            number if picture.image is None else picture.image, FoundInstances(points.round(6), each.scores), category
        )
    write_text(target, json.dumps(rows) + "\n")


def _category(source: LabelledPictures) -> Any:
    """The category's id in labels that are one json of COCO's; else 1."""
    if len(source.files) != 1 or json_kind.kind(source.files[0]) not in (json_kind.COCO, json_kind.COCO_WHOLEBODY):
        return 1
    rows = [
        row for row in read_json(source.files[0]).get("categories", []) if row.get("keypoints") == list(source.names)
    ]
    named = [row for row in rows if row.get("name") == source.category]
    return next((row["id"] for row in (*named, *rows) if "id" in row), 1)
