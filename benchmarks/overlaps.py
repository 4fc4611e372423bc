"""Instances that overlap: how many are found, and how far their points are off, by the overlap of a pair's boxes.

    python benchmarks/overlaps.py [--pictures 400] [--epochs 40] [--out FOLDER]

Makes pictures of arrows at any angle, one to four in each, extracts and trains with the defaults on small images, and predicts on
pictures of two arrows whose boxes overlap by a known amount. Prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import kptool
from kptool.evaluation.detection import overlaps

SIZE, LENGTH = 192, 44.0
NAMES = ["tip", "left", "right", "tail"]
SHAPE = np.array([[0.5, 0], [0.1, -0.22], [0.1, 0.22], [-0.5, 0]]) * LENGTH
LEVELS = (0.0, 0.15, 0.3, 0.45, 0.6)
"""Lower limits of intersection over union, of the rows of the table."""
NEAR = 0.2
"""An arrow is found if its points are within this share of its length of the prediction's, on average."""
Points = NDArray[np.float64]


def place(rng: np.random.Generator, around: Points | None = None, spread: float = 0.0) -> Points:
    """The points (4, 2) of an arrow at a random angle, anywhere or within `spread` pixels of the centre `around`."""
    angle, scale = rng.uniform(0, 2 * math.pi), rng.uniform(0.85, 1.15)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    room = 0.6 * LENGTH
    centre = rng.uniform(room, SIZE - room, 2) if around is None else around + rng.uniform(-spread, spread, 2)
    return SHAPE @ np.array([[cos, sin], [-sin, cos]]) + centre


def box(points: Points) -> Points:
    """Left and top edge, width and height (4,) of an arrow."""
    low, high = points.min(0) - 0.5, points.max(0) + 0.5
    return np.array([*low, *(high - low)])


def draw(arrows: Sequence[Points], rng: np.random.Generator) -> Image.Image:
    """A noisy picture of the arrows, later ones in front, each in a grey of its own with a dark outline."""
    picture = Image.fromarray(rng.normal(70, 12, (SIZE, SIZE)).clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for points in arrows:
        tip, left, right, tail = (tuple(each) for each in points.tolist())
        tone = int(rng.integers(120, 256))
        pen.line([tail, tip], fill=20, width=9)
        pen.polygon([tip, left, right], fill=tone, outline=20)
        pen.line([tail, tip], fill=tone, width=5)
    return picture


def write(folder: Path, count: int, rng: np.random.Generator) -> Path:
    """Labelled pictures with one to four arrows, every other one near an earlier one."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        arrows: list[Points] = []
        for i in range(int(rng.integers(1, 5))):
            arrows.append(place(rng, arrows[-1].mean(0), 0.6 * LENGTH) if i % 2 else place(rng))
        name = f"{number:04}.png"
        draw(arrows, rng).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        for points in arrows:
            flat = [value for x, y in points.tolist() for value in (x, y, 2)]
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, "keypoints": flat})
    kinds = [{"id": 1, "name": "arrow", "keypoints": NAMES}]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": kinds}), encoding="utf-8")
    return path


def pair(rng: np.random.Generator, least: float, most: float) -> list[Points]:
    """Two arrows whose boxes overlap by `least` to `most`."""
    while True:
        first = place(rng)
        second = place(rng, first.mean(0), LENGTH) if most > 0 else place(rng)
        apart = float(overlaps(box(first)[None], box(second)[None])[0, 0])
        if least <= apart <= most:
            return [first, second]


def measure(
    predictor: kptool.Predictor, least: float, most: float, count: int, seed: int
) -> tuple[float, float, float]:
    """Of pairs: the share of arrows that is found, predictions per picture, and the mean distance of found ones' points, px."""
    rng = np.random.default_rng(seed)
    hits, apart, made = 0, [], 0
    for _ in range(count):
        arrows = pair(rng, least, most)
        predicted = [each.keypoints for each in predictor.predict(draw(arrows, rng))]
        made += len(predicted)
        for points in arrows:
            far = [float(np.linalg.norm(each - points, axis=1).mean()) for each in predicted]
            if far and min(far) <= NEAR * LENGTH:
                hits += 1
                apart.append(min(far))
                predicted.pop(int(np.argmin(far)))
    return hits / (2 * count), made / count, float(np.mean(apart)) if apart else math.nan


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--tests", type=int, default=100, help="pairs in each row")
    parser.add_argument("--out", type=Path, help="keep the data and the run there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.out or Path(temporary)
        labels = write(folder / "made", given.pictures, np.random.default_rng(0))
        cache = kptool.extract(labels, folder / "data", size=64, heatmaps="none").cache
        settings = {"augment.rotation": 180, "width": 16}
        kptool.train("unet", cache, out=folder / "run", epochs=given.epochs, settings=settings)
        predictor = kptool.Predictor(folder / "run", "cpu")
        print("| overlap of the two boxes | found | predictions per picture | mean distance, px |\n|---|---|---|---|")
        for least, most in zip((0.0, *LEVELS), (*LEVELS[:1], *LEVELS[1:], 0.8), strict=True):
            found, made, apart = measure(predictor, least, most, given.tests, seed=1)
            span = "none" if most == 0 else f"{least:.2f} to {most:.2f}"
            print(f"| {span} | {found:.1%} | {made:.2f} | {apart:.2f} |", flush=True)


if __name__ == "__main__":
    main()
