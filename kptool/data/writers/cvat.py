"""CVAT's XML ("CVAT for images 1.1"): a skeleton for each instance, and its box as a shape of the same group.

Coordinates are pixels measured from the picture's edges. Shapes that a model made have the source "auto".
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import to_edges
from kptool.base.skeleton import OCCLUDED, UNLABELLED
from kptool.data.annotations import LabelFile, Labelled
from kptool.data.flips import FlipPairs
from kptool.data.writers.writer import (
    BARE,
    BOXES,
    CATEGORY,
    EDGES,
    EMPTY,
    OCCLUSION,
    ORDER,
    PREDICTED,
    THING,
    Writer,
    by_picture,
    short,
)

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write annotations.xml, and setup/labels.json for the task that it is uploaded to.

    Raises DataError for a name that XML cannot hold.
    """
    odd = next((name for name in file.names if _NOT_XML.search(name)), None)
    if odd is not None:
        raise DataError(f"xml cannot hold the keypoint's name {odd!r}; rename it, or choose another --to")
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    _labels(ElementTree.SubElement(task, "labels"), file)
    source, group = "auto" if file.predicted_by else "manual", 0
    for number, picture in enumerate(by_picture(file)):
        about = {"id": str(number), "name": _NOT_XML.sub("_", Path(picture.name).name)}
        about |= {"width": str(picture.size[1]), "height": str(picture.size[0])}
        image = ElementTree.SubElement(root, "image", about)
        for thing in picture.things:
            group += thing.box is not None
            _add(image, file, thing, source, group if thing.box is not None else 0)
    (folder / "setup").mkdir()  # beside annotations.xml it would be taken for labels in another format
    text = json.dumps(_constructor(file), indent=2)
    (folder / "setup" / "labels.json").write_text(text + "\n", encoding="utf-8")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(folder / "annotations.xml", encoding="utf-8", xml_declaration=True)
    return folder / "annotations.xml"


def _names(file: LabelFile) -> tuple[str, str]:
    """The labels of skeletons and of boxes: CVAT wants a label of its own for each type of shape."""
    thing = _NOT_XML.sub("_", file.category or THING)
    return thing, "box" if thing != "box" else "rectangle"


def _labels(parent: ElementTree.Element, file: LabelFile) -> None:
    """The labels of the task: the skeleton with its drawing, its points, and the box if there are boxes."""
    thing, box = _names(file)
    kinds = [(thing, "skeleton", ""), *((name, "points", thing) for name in file.names)]
    kinds += [(box, "rectangle", "")] if any(thing.box for thing in file.things) else []
    for name, kind, skeleton in kinds:
        label = ElementTree.SubElement(parent, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "type").text = kind
        ElementTree.SubElement(label, "attributes")
        if kind == "skeleton":
            ElementTree.SubElement(label, "svg").text = _drawing(file)
        if skeleton:
            ElementTree.SubElement(label, "parent").text = skeleton


def _constructor(file: LabelFile) -> list[dict[str, Any]]:
    """The labels in the form that a new task takes in CVAT's "Raw" tab."""
    points = [{"name": name, "type": "points", "attributes": []} for name in file.names]
    thing, box = _names(file)
    skeleton = {"name": thing, "type": "skeleton", "attributes": [], "svg": _drawing(file), "sublabels": points}
    boxed = any(thing.box for thing in file.things)
    return [skeleton, *([{"name": box, "type": "rectangle", "attributes": []}] if boxed else [])]


def _drawing(file: LabelFile) -> str:
    """The skeleton's drawing, as CVAT stores it: the edges, and a circle for each point, at places in per cent."""
    spots = _spots(len(file.names))
    lines = []
    for a, b in file.edges:
        ends = {"x1": spots[a][0], "y1": spots[a][1], "x2": spots[b][0], "y2": spots[b][1]}
        about = {"data-type": "edge", "data-node-from": a + 1, "data-node-to": b + 1}
        lines.append(_svg("line", {**ends, **about}))
    for k, (name, (x, y)) in enumerate(zip(file.names, spots, strict=True), start=1):
        about = {"data-type": "element node", "data-element-id": k, "data-node-id": k, "data-label-name": name}
        lines.append(_svg("circle", {"r": 0.75, "cx": x, "cy": y, **about}))
    return "\n".join(lines)


def _svg(tag: str, stated: dict[str, Any]) -> str:
    element = ElementTree.Element(tag, {key: str(value) for key, value in stated.items()})
    return ElementTree.tostring(element, "unicode", short_empty_elements=False)


def _spots(count: int) -> list[tuple[float, float]]:
    """Places from 10 to 90 for the keypoints of a drawing: on a circle."""
    turns = [2 * math.pi * k / count for k in range(count)]
    return [(round(50 - 40 * math.sin(turn), 2), round(50 - 40 * math.cos(turn), 2)) for turn in turns]


def _add(image: ElementTree.Element, file: LabelFile, thing: Labelled, source: str, group: int) -> None:
    """Add an instance to an image: its box, if it has one, and its skeleton. Points without a label are "outside"."""
    about = {"source": source, "z_order": "0"}
    about |= {"group_id": str(group)} if group else {}
    middle = np.array(thing.size[::-1], np.float64) / 2 if thing.size else np.zeros(2)
    if thing.box is not None:
        left, top = to_edges(np.array(thing.box[:2])).tolist()
        edges = {"xtl": left, "ytl": top, "xbr": left + thing.box[2], "ybr": top + thing.box[3]}
        stated = {key: str(short(value)) for key, value in edges.items()}
        ElementTree.SubElement(image, "box", {"label": _names(file)[1], "occluded": "0", **stated, **about})
    skeleton = ElementTree.SubElement(image, "skeleton", {"label": _names(file)[0], **about})
    for name, place, seen in zip(file.names, thing.keypoints, thing.visibility.tolist(), strict=True):
        x, y = (to_edges(place) if seen else middle).tolist()
        ElementTree.SubElement(
            skeleton, "points", label=name, source=source, outside=str(int(seen == UNLABELLED)),
            occluded=str(int(seen == OCCLUDED)), points=f"{short(x)},{short(y)}",
        )  # fmt: skip


CVAT = Writer("CVAT's xml", write, frozenset({BOXES, OCCLUSION, EDGES, ORDER, PREDICTED, EMPTY, BARE, CATEGORY}))
