"""The small data set of `label_files`: two pictures with four keypoints each, and how to put files down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NAMES = ("left_eye", "right_eye", "nose", "chin")
POINTS = np.array(
    [[[70.25, 30], [30, 31.5], [50, 50], [52, 70]], [[60, 20], [20, 22], [40, 40], [0, 0]]], np.float64
)  # pixels of two pictures of 100x90; an integer is a pixel's centre
SEEN = np.array([[2, 1, 2, 2], [2, 2, 2, 0]], np.uint8)
BOX = (9.5, 9.5, 75.0, 70.0)
WIDTH, HEIGHT = 100, 90


def pictures(folder: Path, names: tuple[str, ...] = ("a.png", "b.jpg")) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        ramp = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8)
        Image.fromarray(ramp + np.uint8(20 * number % 256)).save(folder / name)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def cells(points: NDArray[np.float64], seen: NDArray[np.uint8]) -> list[Any]:
    return [value if known else "" for point, known in zip(points, seen, strict=True) for value in point]
