"""COCO keypoints, with two extensions: flip pairs of the category, and the part of the data set of each image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.geometry import to_edges
from kptool.data.annotations import LabelFile
from kptool.data.flips import FlipPairs
from kptool.data.writers.writer import BOXES, EDGES, EMPTY, FLIPS, OCCLUSION, ORDER, SCORES, SPLIT, Writer, short


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write annotations.json, with two extensions: `flip_pairs` of the category (indices from 0), `split` of images."""
    category: dict[str, Any] = {"id": 1, "name": "thing", "keypoints": list(file.names)}
    category["skeleton"] = [[a + 1, b + 1] for a, b in file.edges]
    if flips.mirror:
        category["flip_pairs"] = [list(pair) for pair in flips.pairs]
    numbers: dict[str, int] = {}
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for thing in file.things:
        if thing.picture not in numbers:
            numbers[thing.picture] = len(numbers) + 1
            assert thing.size is not None
            name, size = Path(thing.picture).name, {"width": thing.size[1], "height": thing.size[0]}
            part = {"split": thing.split} if thing.split else {}
            pictures.append({"id": numbers[thing.picture], "file_name": name, **size, **part})
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
                "area": short(width * height),
                "iscrowd": 0,
            }
        )
    document = {"images": pictures, "annotations": annotations, "categories": [category]}
    (folder / "annotations.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
    return folder / "annotations.json"


COCO = Writer(
    "COCO's json", write, frozenset({BOXES, SPLIT, OCCLUSION, FLIPS, EDGES, ORDER, SCORES, EMPTY}), boxed="always"
)
