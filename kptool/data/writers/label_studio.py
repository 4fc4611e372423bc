"""Label Studio's tasks, and the labelling configuration of a project that shows them.

Coordinates are percentages of the picture, measured from its edges. An instance with a box is a rectangle, and its keypoints
have it as their parent. Predictions are written as such, so that the tool shows them for correction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np

from kptool.base.geometry import to_edges
from kptool.data.annotations import LabelFile, Labelled
from kptool.data.flips import FlipPairs
from kptool.data.writers.writer import BARE, BOXES, CATEGORY, PREDICTED, SCORES, THING, Picture, Writer, by_picture

_POINTS, _BOXES, _IMAGE = "keypoints", "instances", "image"
"""Names of the controls and of the object that they label, in the configuration and in every result."""
_WIDTH = 0.75
"""The size of a keypoint's dot, in per cent of the picture's width. It has no meaning."""
_LOCAL = "/data/local-files/?d="
"""The address of a file below the folder that Label Studio serves, see docs/formats.md."""


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write tasks.json, and setup/labeling-config.xml."""
    tasks = [_task(number, picture, file) for number, picture in enumerate(by_picture(file), start=1)]
    (folder / "tasks.json").write_text(json.dumps(tasks) + "\n", encoding="utf-8")
    boxed = any(thing.box for thing in file.things)
    (folder / "setup").mkdir()  # beside tasks.json it would be taken for labels in another format
    (folder / "setup" / "labeling-config.xml").write_text(_configuration(file, boxed), encoding="utf-8")
    return folder / "tasks.json"


def _task(number: int, picture: Picture, file: LabelFile) -> dict[str, Any]:
    """One picture with all its instances, as one annotation or as one prediction."""
    things = picture.things
    results = [result for k, thing in enumerate(things) for result in _results(f"{number}-{k + 1}", thing, file)]
    task: dict[str, Any] = {"id": number, "data": {"image": _LOCAL + quote(picture.name)}}
    if not file.predicted_by:
        return {**task, "annotations": [{"result": results}]}
    scores = [thing.score for thing in things if thing.score is not None]
    score = {"score": round(float(np.mean(scores)), 4)} if scores else {}
    return {
        **task,
        "annotations": [],
        "predictions": [{"model_version": file.predicted_by, **score, "result": results}],
    }


def _results(key: str, thing: Labelled, file: LabelFile) -> Iterator[dict[str, Any]]:
    """The rectangle of an instance, if it has a box, and its labelled keypoints."""
    assert thing.size is not None
    height, width = thing.size
    about = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": _IMAGE}
    parent: dict[str, Any] = {}
    if thing.box is not None:
        (left, top), (wide, high) = to_edges(np.array(thing.box[:2])).tolist(), thing.box[2:]
        place = {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * wide / width,
            "height": 100 * high / height,
        }
        value = {**place, "rotation": 0, "rectanglelabels": [file.category or THING]}
        score = {} if thing.score is None else {"score": round(thing.score, 4)}
        yield {"id": key, "type": "rectanglelabels", "from_name": _BOXES, **about, "value": value, **score}
        parent = {"parentID": key}
    for k in np.flatnonzero(thing.visibility).tolist():
        x, y = to_edges(thing.keypoints[k]).tolist()
        spot = {"x": 100 * x / width, "y": 100 * y / height, "width": _WIDTH, "keypointlabels": [file.names[k]]}
        known = thing.scores is not None and np.isfinite(thing.scores[k])
        score = {"score": round(float(thing.scores[k]), 4)} if known and thing.scores is not None else {}
        yield {
            "id": f"{key}-{k + 1}",
            "type": "keypointlabels",
            "from_name": _POINTS,
            **about,
            "value": spot,
            **parent,
            **score,
        }


def _configuration(file: LabelFile, boxed: bool) -> str:
    """The labelling interface as XML: the picture, its keypoints, and rectangles if instances have boxes."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=_IMAGE, value="$image", zoom="true")
    if boxed:
        control = ElementTree.SubElement(view, "RectangleLabels", name=_BOXES, toName=_IMAGE)
        ElementTree.SubElement(control, "Label", value=file.category or THING)
    control = ElementTree.SubElement(view, "KeyPointLabels", name=_POINTS, toName=_IMAGE)
    for k, name in enumerate(
        file.names
    ):  # the index orders the keypoints in Label Studio's own exports to COCO and YOLO
        ElementTree.SubElement(control, "Label", value=name, model_index=str(k))
    ElementTree.indent(view)
    return ElementTree.tostring(view, "unicode") + "\n"


LABEL_STUDIO = Writer(
    "Label Studio's json",
    write,
    frozenset({BOXES, PREDICTED, SCORES, BARE}),
    boxed="several",
    keeps_boxed=frozenset({CATEGORY}),
)
