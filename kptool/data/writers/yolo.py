"""YOLO pose as Ultralytics reads it: a data.yaml, and a text file of labels for each picture."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kptool.base.geometry import swap_order, to_edges
from kptool.data.annotations import LabelFile
from kptool.data.flips import FlipPairs
from kptool.data.splits import PARTS
from kptool.data.writers.writer import (
    BARE,
    BOXES,
    CATEGORY,
    EMPTY,
    FLIPS,
    IMAGES,
    OCCLUSION,
    ORDER,
    SPLIT,
    Writer,
    by_picture,
)

log = logging.getLogger(__name__)

_LABELS = "labels"


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write data.yaml, and labels/NAME.txt for each picture."""
    (folder / _LABELS).mkdir()
    lines: dict[str, list[str]] = {}
    outside = 0
    for thing in file.things:
        assert thing.size is not None
        scale = np.array(thing.size[::-1], np.float64)
        seen = thing.visibility > 0
        points = np.where(seen[:, None], to_edges(thing.keypoints) / scale, 0)
        outside += int(((points < 0) | (points > 1)).any(1).sum())
        assert thing.box is not None
        x, y, width, height = thing.box
        left, top = to_edges(np.array([x, y])).tolist()
        box = np.array([left + width / 2, top + height / 2, width, height]) / np.tile(scale, 2)
        cells = ["0", *(f"{v:.10g}" for v in box)]
        for (px, py), visible in zip(points.tolist(), thing.visibility.tolist(), strict=True):
            cells += [f"{px:.10g}", f"{py:.10g}", str(visible)]
        lines.setdefault(thing.picture, []).append(" ".join(cells))
    for picture in by_picture(file):
        text = "".join(f"{line}\n" for line in lines.get(picture.name, ()))
        (folder / _LABELS / Path(picture.name).with_suffix(".txt").name).write_text(text, encoding="utf-8")
    if outside:
        log.warning("%d keypoints lie outside their pictures, which Ultralytics does not take", outside)
    settings: dict[str, Any] = {
        "path": ".",
        **_parts(folder, file),
        "names": {0: file.category or "thing"},
        "kpt_shape": [len(file.names), 3],
        "kpt_names": {0: list(file.names)},
    }
    if flips.mirror:
        settings["flip_idx"] = swap_order(len(file.names), flips.pairs)
    (folder / "data.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return folder / "data.yaml"


def _parts(folder: Path, file: LabelFile) -> dict[str, str]:
    """The yaml's entries for the parts: written lists of pictures if the source states a part for each, else the folder."""
    parts = {picture.name: picture.split for picture in by_picture(file)}
    if not {"train", "val"} <= set(parts.values()) or "" in parts.values():
        return {"train": IMAGES, "val": IMAGES}
    lists = {part: [p for p, its in parts.items() if its == part] for part in PARTS.values()}
    lists = {part: pictures for part, pictures in lists.items() if pictures}
    for part, pictures in lists.items():
        (folder / f"{part}.txt").write_text("".join(f"./{picture}\n" for picture in pictures), encoding="utf-8")
    return {part: f"{part}.txt" for part in lists}


_KEEPS = {CATEGORY, BOXES, SPLIT, OCCLUSION, FLIPS, ORDER, EMPTY, BARE}
YOLO = Writer("YOLO's text files", write, frozenset(_KEEPS), boxed="always")
