"""Pictures of 200x100 pixels with bright arrows in them, and their labels as COCO json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ["tip", "left", "right"]
SHAPE = np.array([[20.0, 0], [-10, -8], [-10, 8]])
SIZE = (100, 200)


def picture(places: list[tuple[float, float]]) -> Image.Image:
    """A dark picture with an arrow, pointing to the right, at each place."""
    pixels = np.full(SIZE, 40, np.uint8)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for cx, cy in places:
        dx, dy = x - cx, y - cy
        pixels[(dx >= -10) & (dx <= 20) & (abs(dy) <= 8 * (20 - dx) / 30)] = 220
    return Image.fromarray(pixels)


def write_scenes(folder: Path, scenes: list[list[tuple[float, float]]], **more: Any) -> Path:
    """Write a picture for each list of places, and their labels without boxes; `more` are further lists of COCO, whose rows
    are appended."""
    (folder / "images").mkdir(parents=True)
    rows: dict[str, list[Any]] = {"images": [], "annotations": []}
    for number, places in enumerate(scenes):
        name = f"{number:02}.png"
        picture(places).save(folder / "images" / name)
        rows["images"].append({"id": number, "file_name": name, "width": SIZE[1], "height": SIZE[0]})
        for place in places:
            flat = [value for point in SHAPE + place for value in (*point.tolist(), 2)]
            row = {"id": len(rows["annotations"]), "image_id": number, "category_id": 1, "keypoints": flat}
            rows["annotations"].append(row)
    for key, extra in more.items():
        rows[key] += extra
    kinds = [{"id": 1, "name": "arrow", "keypoints": NAMES}]
    path = folder / "labels.json"
    path.write_text(json.dumps({**rows, "categories": kinds}), encoding="utf-8")
    return path


def some_scenes(count: int, seed: int = 0) -> list[list[tuple[float, float]]]:
    """Places for one or two arrows in each of `count` pictures, apart from each other."""
    rng = np.random.default_rng(seed)
    first = rng.uniform([15, 15], [60, 85], (count, 2)).round(1)
    second = rng.uniform([120, 15], [170, 85], (count, 2)).round(1)
    return [
        [(float(a[0]), float(a[1])), *([(float(b[0]), float(b[1]))] if i % 2 else [])]
        for i, (a, b) in enumerate(zip(first, second, strict=True))
    ]
