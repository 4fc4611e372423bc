"""Measure whether cropping and resizing shifted a data set's pictures relative to their labels.

    python benchmarks/label_grid.py faces15/dataset.h5 faces68/annotations.json faces68/images

Matches faces of the cache to photos: their 15 points equal, up to scale and translation, points derived from a photo's
68. The exact map from the photo's labels to the cache's predicts where in the photo the picture was cut out, if an
integer is a pixel's centre in both. Registering the picture to the photo gives its deviation from that place, in pixels
of the cache.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kptool.base import face68
from kptool.base.skeleton import FACE15
from kptool.cache.store import Cache

Floats = NDArray[np.float64]
_MARGIN = 8


def normalised(points: Floats) -> Floats:
    """Points (N, K, 2) with translation and scale removed, (N, 2 K)."""
    moved = points - points[:, 2:3]
    shape: Floats = (moved / np.linalg.norm(moved, axis=(1, 2), keepdims=True)).reshape(len(points), -1)
    return shape


def similarity(image: NDArray[np.uint8], photo: NDArray[np.float32], scale: float, place: Floats, by: Floats) -> float:
    """Correlation of a picture with the photo under the map scale * p + place, shifted by `by` (2,); -1 outside the photo."""
    side = image.shape[-1]
    low, high = ((edge - by - place) / scale + 0.5 for edge in (-0.5, side - 0.5))
    if min(low) < 0 or high[0] > photo.shape[1] or high[1] > photo.shape[0]:
        return -1.0
    shown = Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR, box=(*low, *high))
    inner = np.s_[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return float(np.corrcoef(np.asarray(shown)[inner].ravel(), image[inner].ravel().astype(float))[0, 1])


def best_shift(image: NDArray[np.uint8], photo: NDArray[np.float32], scale: float, place: Floats) -> Floats:
    """The shift (2,) with the highest correlation, by a pattern search with halving steps down to 0.005 px."""
    by, step = np.zeros(2), 1.0
    around = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)], float)
    while step > 0.005:
        tried = [by + step * move for move in around]
        best = tried[int(np.argmax([similarity(image, photo, scale, place, each) for each in tried]))]
        step, by = (step / 2, best) if np.array_equal(best, by) else (step, best)
    return by


def main(cache: Path, annotations: Path, folder: Path, count: int = 250) -> None:
    """Print percentiles of the enlargement and of the shifts."""
    document: Any = json.loads(annotations.read_text())
    files = {image["id"]: image["file_name"] for image in document["images"]}
    all68 = np.array([a["keypoints"] for a in document["annotations"]], float).reshape(-1, 68, 3)[:, :, :2]
    photos = np.stack([np.stack([p[list(face68.PARTS[name])].mean(0) for name in FACE15.names]) for p in all68])
    with Cache(cache) as opened:
        labels, images = opened.read("keypoints").astype(float), opened.read("images")
    a, b = normalised(labels), normalised(photos)
    apart = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    same = np.flatnonzero(apart.min(1) < 1e-8)
    found = []
    for i in np.random.default_rng(0).permutation(same)[:count]:
        j = int(apart[i].argmin())
        moved = photos[j] - photos[j].mean(0)
        scale = float((moved * (labels[i] - labels[i].mean(0))).sum() / (moved**2).sum())
        place = labels[i].mean(0) - scale * photos[j].mean(0)
        with Image.open(folder / files[document["annotations"][j]["image_id"]]) as opened_photo:
            photo = np.asarray(opened_photo.convert("L"), np.float32)
        found.append((scale, *best_shift(images[i], photo, scale, place)))
    quartiles = np.percentile(np.array(found), [5, 25, 50, 75, 95], axis=0).round(3)
    print(f"{len(found)} of {len(same)} pictures with a photo; 5, 25, 50, 75, 95 %:")
    for what, row in zip(("enlarged", "off in x", "off in y"), quartiles.T, strict=True):
        print(f"  {what}: {row.tolist()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
