"""Label Studio's json export: tasks with keypoint labels, and rectangles that hold them.

Places are percent of the picture, measured from its edges. Keypoints belong to the rectangle that is their parent; those
without one belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from kptool.annotations import VISIBLE, Dataset, LabelFile, Labelled, bounded
from kptool.errors import DataError
from kptool.reading import looks_like, read_json

_IMAGE_KEYS = ("image", "img", "picture", "photo")


def matches(path: Path) -> bool:
    """Whether `path` is a json file that holds a list."""
    return path.suffix.lower() == ".json" and looks_like(path, b"[")


def read(path: Path, category: str | None = None) -> LabelFile:
    """All keypoints of all tasks; `category` is the rectangles' label, where there are several. Raises DataError."""
    tasks = read_json(path)
    if not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path}: expected Label Studio's json export, a list of tasks")
    found = [thing for task in tasks for thing in _things(path, task, category)]
    names = tuple(sorted({name for _, _, places, _ in found for name in places}))
    if not names:
        raise DataError(f"{path} has no keypointlabels; export a project with keypoints as JSON, not JSON-MIN")
    bounded(path, names, len(found))
    return LabelFile(names, [_labelled(names, *thing) for thing in found], None, (path,))


_Places = dict[str, tuple[float, float]]
_Box = tuple[float, float, float, float]
_Thing = tuple[str, tuple[int, int], _Places, _Box | None]


def _things(path: Path, task: Mapping[str, Any], category: str | None) -> Iterator[_Thing]:
    """Picture, size, keypoints and box of each thing in one task."""
    where = f"{path}, task {task.get('id', '?')}"
    kept = [a for a in task.get("annotations") or () if not a.get("was_cancelled")]
    results = kept[0].get("result") or [] if kept else []
    picture = _picture(where, task.get("data"))
    boxes: dict[str, _Box] = {}
    things: dict[str, tuple[tuple[int, int], _Places]] = {}
    unwanted = set()
    for result in results:
        kind, value = result.get("type"), result.get("value") or {}
        if kind not in ("keypointlabels", "rectanglelabels"):
            continue
        size, numbers = _numbers(where, result, value, kind)
        if kind == "rectanglelabels":
            identity = str(result.get("id"))
            boxes[identity] = (numbers[0] - 0.5, numbers[1] - 0.5, numbers[2], numbers[3])
            if category is not None and category not in value.get("rectanglelabels", []):
                unwanted.add(identity)
            continue
        label = next(iter(value.get("keypointlabels") or []), None)
        if not isinstance(label, str):
            raise DataError(f"{where}: a keypoint has no label; give it one")
        _, places = things.setdefault(str(result.get("parentID") or ""), (size, {}))
        if label in places:
            raise DataError(f"{where}: {label} is there twice; remove one, or draw a rectangle around each thing")
        places[label] = (numbers[0] - 0.5, numbers[1] - 0.5)
    for parent, (size, places) in things.items():
        if parent not in unwanted:
            yield picture, size, places, boxes.get(parent)


def _numbers(where: str, result: Any, value: Any, kind: str) -> tuple[tuple[int, int], list[float]]:
    """Size (H, W), and x, y or x, y, width, height in pixels from the picture's edges."""
    parts = ("x", "y") if kind == "keypointlabels" else ("x", "y", "width", "height")
    try:
        size = int(result["original_height"]), int(result["original_width"])
        numbers = [float(value[part]) / 100 * size[1 - i % 2] for i, part in enumerate(parts)]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where}: a {kind} lacks {', '.join(parts)} or the picture's size; export it again as JSON"
        ) from None
    return size, numbers


def _picture(where: str, data: Any) -> str:
    """The picture's file name out of an address, in which local files are a query; of uploads with their prefix."""
    values = data if isinstance(data, dict) else {}
    address = next((values[key] for key in _IMAGE_KEYS if isinstance(values.get(key), str)), None)
    if address is None:
        raise DataError(f"{where}: its data name no picture, as {' or '.join(_IMAGE_KEYS[:2])}; add it")
    split = urlsplit(address)
    local = parse_qs(split.query).get("d")
    path = local[0] if local else unquote(split.path)
    if "/upload/" in path:
        return path.rsplit("/", 1)[-1]
    return path.lstrip("/") if local or not split.scheme else path.rsplit("/", 1)[-1]


def _labelled(
    names: tuple[str, ...], picture: str, size: tuple[int, int], places: _Places, box: _Box | None
) -> Labelled:
    points, seen = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
    for name, place in places.items():
        points[names.index(name)], seen[names.index(name)] = place, VISIBLE
    return Labelled(picture, points, seen, box, size)


DATASET = Dataset("Label Studio's json export", matches, read=read)
