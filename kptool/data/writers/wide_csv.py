"""A csv with a row for each instance: image, box, and x, y and visibility of each keypoint."""

from __future__ import annotations

import csv
from pathlib import Path

from kptool.base.errors import DataError
from kptool.data.annotations import LabelFile
from kptool.data.flips import FlipPairs
from kptool.data.writers.writer import BOXES, EMPTY, OCCLUSION, ORDER, Writer, short


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write keypoints.csv: image, box columns if there are boxes, and x, y, visibility of each keypoint."""
    boxed = any(thing.box for thing in file.things)
    heads = [f"{name}_{part}" for name in file.names for part in ("x", "y", "visibility")]
    header = ["image", *(["box_x", "box_y", "box_width", "box_height"] if boxed else []), *heads]
    twice = next((name for k, name in enumerate(header) if name in header[:k]), None)
    if twice:
        raise DataError(
            f"a csv of these labels would have two columns {twice}; rename the keypoint, or choose another --to"
        )
    with (folder / "keypoints.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        for thing in file.things:
            cells: list[object] = [thing.picture, *((thing.box or [""] * 4) if boxed else [])]
            for (x, y), visible in zip(thing.keypoints.tolist(), thing.visibility.tolist(), strict=True):
                cells += [short(x), short(y), visible] if visible else ["", "", 0]
            table.writerow(cells)
    return folder / "keypoints.csv"


CSV = Writer("a csv", write, frozenset({BOXES, OCCLUSION, ORDER, EMPTY}))
