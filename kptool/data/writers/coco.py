"""COCO keypoints, with two extensions: flip pairs of the category, and the part of the data set of each image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.geometry import to_edges
from kptool.data.annotations import LabelFile
from kptool.data.flips import FlipPairs
from kptool.data.formats.coco_extras import PREDICTED_BY
from kptool.data.writers.writer import (
    BARE,
    BOXES,
    CATEGORY,
    EDGES,
    EMPTY,
    FLIPS,
    OCCLUSION,
    ORDER,
    PREDICTED,
    SCORES,
    SPLIT,
    Writer,
    by_picture,
    short,
)


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write annotations.json, with extensions: `flip_pairs` of the category (indices from 0), `split` of images, and for
    predictions a `score` of each annotation, and in `info` by which model they are."""
    category: dict[str, Any] = {"id": 1, "name": file.category or "thing", "keypoints": list(file.names)}
    category["skeleton"] = [[a + 1, b + 1] for a, b in file.edges]
    if flips.mirror:
        category["flip_pairs"] = [list(pair) for pair in flips.pairs]
    numbers = {picture.name: number for number, picture in enumerate(by_picture(file), start=1)}
    pictures = [
        {
            "id": numbers[picture.name],
            "file_name": Path(picture.name).name,
            "width": picture.size[1],
            "height": picture.size[0],
            **({"split": picture.split} if picture.split else {}),
        }
        for picture in by_picture(file)
    ]
    annotations: list[dict[str, Any]] = []
    for thing in file.things:
        seen = thing.visibility > 0
        points = np.where(seen[:, None], thing.keypoints, 0)
        flat = np.column_stack([points, thing.visibility]).ravel().tolist()
        assert thing.box is not None
        x, y, width, height = thing.box
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": numbers[thing.picture],
                "category_id": 1,
                "keypoints": [short(v) for v in flat],
                "num_keypoints": int(seen.sum()),
                "bbox": [short(v) for v in (*to_edges(np.array([x, y])), width, height)],
                "area": short(width * height if thing.area is None else thing.area),
                "iscrowd": 0,
                **({} if thing.score is None else {"score": short(thing.score)}),
            }
        )
    info = {"info": {"description": f"{PREDICTED_BY}{file.predicted_by}"}} if file.predicted_by else {}
    document = {**info, "images": pictures, "annotations": annotations, "categories": [category]}
    (folder / "annotations.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
    return folder / "annotations.json"


_KEEPS = {CATEGORY, BOXES, SPLIT, OCCLUSION, FLIPS, EDGES, ORDER, PREDICTED, SCORES, EMPTY, BARE}
COCO = Writer("COCO's json", write, frozenset(_KEEPS), boxed="always")
