"""LabelMe's JSON, one file beside each picture: points and rectangles, those of one instance with the same `group_id`.

Coordinates are pixels measured from the picture's edges.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.geometry import to_edges
from kptool.base.skeleton import OCCLUDED
from kptool.data.annotations import LabelFile, Labelled
from kptool.data.flips import FlipPairs
from kptool.data.writers.writer import BARE, BOXES, CATEGORY, IMAGES, OCCLUSION, ORDER, THING, Writer, by_picture, short

_VERSION = "5.0.0"
"""The version of LabelMe that introduced nothing that is written here: later ones read it, too."""
_OCCLUDED = "occluded"


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write NAME.json beside every picture; returns their folder."""
    for picture in by_picture(file):
        document: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [
                shape for group, thing in enumerate(picture.things, start=1) for shape in _shapes(file, thing, group)
            ],
            "imagePath": Path(picture.name).name,
            "imageData": None,
            "imageHeight": picture.size[0],
            "imageWidth": picture.size[1],
        }
        text = json.dumps(document, ensure_ascii=False, indent=2)
        (folder / picture.name).with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return folder / IMAGES


def _shapes(file: LabelFile, thing: Labelled, group: int) -> Iterator[dict[str, Any]]:
    """The rectangle of an instance, if it has a box, and its labelled keypoints."""
    about = {"group_id": group, "description": ""}
    if thing.box is not None:
        corner = to_edges(np.array(thing.box[:2]))
        corners = [[short(v) for v in place] for place in (corner, corner + thing.box[2:])]
        yield {"label": file.category or THING, "points": corners, **about, "shape_type": "rectangle", "flags": {}}
    for k in np.flatnonzero(thing.visibility).tolist():
        flags = {_OCCLUDED: True} if thing.visibility[k] == OCCLUDED else {}
        place = [short(v) for v in to_edges(thing.keypoints[k])]
        yield {"label": file.names[k], "points": [place], **about, "shape_type": "point", "flags": flags}


LABELME = Writer(
    "LabelMe's json",
    write,
    frozenset({BOXES, OCCLUSION, BARE}),
    keeps_whole=frozenset({ORDER}),
    keeps_boxed=frozenset({CATEGORY}),
)
