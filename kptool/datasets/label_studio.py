"""Label Studio's JSON export: tasks with keypoint labels, and rectangles that group them into instances.

Coordinates are percentages of the image, measured from its edges. A keypoint belongs to the rectangle that is its parent
or is connected with it by a relation, else to the one it lies in. Keypoints of an image in no rectangle are one instance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import Box, from_edges, to_edges
from kptool.base.skeleton import VISIBLE
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import json_kind, rectangles
from kptool.data.formats.unread import named
from kptool.data.notes import counted
from kptool.data.pictures import SUFFIXES
from kptool.system.text import read_json

_IMAGE_KEYS = ("image", "img", "picture", "photo", "url", "image_url", "file")
_OTHER_MEDIA = {".mp4", ".webm", ".avi", ".mov", ".mkv", ".wav", ".mp3", ".flac", ".csv", ".txt", ".pdf", ".html"}
_POINT, _RECTANGLE = "keypointlabels", "rectanglelabels"


def matches(path: Path) -> bool:
    """Whether `path` is a JSON file that holds a list, and of no other kind that kptool knows."""
    return json_kind.kind(path) in (json_kind.LABEL_STUDIO, json_kind.OTHER_LIST)


def read(path: Path, category: str | None = None) -> LabelFile:
    """The keypoints of all tasks, or only those in rectangles labelled `category`.

    Raises DataError, naming the task, for invalid labels.
    """
    tasks = read_json(path)
    other = named(tasks)
    if other:
        raise DataError(f"{path} {other}")
    if not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path}: expected Label Studio's json export, a list of tasks")
    unused = _Unused()
    found = [instance for task in tasks for instance in _instances(path, task, category, unused)]
    _check_percentages(path, found)
    names = tuple(sorted({name for instance in found for name in instance.places}))
    notes = unused.notes(category)
    if not names:
        details = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(f"{path} has no keypointlabels{details}; export a project with keypoints as JSON, not JSON-MIN")
    bounded(path, names, len(found))
    kinds = {instance.label for instance in found} - {None}
    kind = category or (kinds.pop() if len(kinds) == 1 else None)
    return LabelFile(names, [_labelled(names, instance) for instance in found], None, (path,), notes, category=kind)


def _check_percentages(path: Path, found: list[_Instance]) -> None:
    """Raise DataError if the coordinates appear to be fractions: all are 0 to 1, and most not multiples of 0.5."""
    percentages = [
        100 * value / max(side, 1)
        for instance in found
        for place in instance.places.values()
        for value, side in zip(to_edges(np.array(place)).tolist(), instance.size[::-1], strict=True)
    ]
    uneven = sum(abs(2 * value - round(2 * value)) > 1e-6 for value in percentages)
    if uneven * 2 >= max(len(percentages), 8) and all(0 <= value <= 1 for value in percentages):
        raise DataError(
            f"{path}: all x and y of its keypoints are 0 to 1, as fractions are, but Label Studio has percentages of the"
            " picture; multiply them by 100"
        )


@dataclass
class _Unused:
    """Counts of what an export holds and is not used, and of keypoints in no rectangle."""

    counts: Counter[str] = field(default_factory=Counter)
    other_types: Counter[str] = field(default_factory=Counter)

    def notes(self, category: str | None) -> tuple[str, ...]:
        """A sentence for each count that is not 0."""
        kinds = ", ".join(f"{kind[:40]} {n}" for kind, n in self.other_types.most_common(8))
        sentences = {
            "media": "{n} task{s} of videos, sounds or texts {are} not used",
            "predicted": "{n} task{s} with predictions and no annotation {are} not used",
            "cancelled": "{n} cancelled annotation{s} {are} not used",
            "further": "{n} further annotation{s} of tasks that several people labelled {are} not used, only the first of each",
            "unwanted": "{n} keypoint{s} in rectangles with other labels than {category} {are} not used",
            "loose": "{n} keypoint{s} in no rectangle {are} read as one more instance in each picture",
            "empty": "{n} rectangle{s} without keypoints {are} not used",
        }
        others = sum(self.other_types.values())
        return (
            *(note for key, text in sentences.items() for note in counted(self.counts[key], text, category=category)),
            *counted(others, "{n} label{s} of other types {are} not used ({kinds})", kinds=kinds),
        )


@dataclass(frozen=True)
class _Instance:
    """One object in an image of `size` (H, W): its keypoints by name, and the rectangle around it, if there is one, with its
    label."""

    picture: str
    size: tuple[int, int]
    places: rectangles.Places
    box: Box | None
    label: str | None = None


def _instances(path: Path, task: Mapping[str, Any], category: str | None, unused: _Unused) -> Iterator[_Instance]:
    """The instances of one task. Raises DataError for a keypoint that an instance has twice."""
    where = f"{path}, task {task.get('id', '?')}"
    results = _results(task, unused)
    points = [result for result in results if result.get("type") == _POINT]
    boxes = {str(r.get("id")): r for r in results if r.get("type") == _RECTANGLE}
    known = (_POINT, _RECTANGLE, "relation")
    unused.other_types.update(str(r.get("type")) for r in results if r.get("type") not in known)
    if not points:
        unused.counts["empty"] += len(boxes)
        return
    picture = _picture(where, task.get("data"))
    if picture is None:
        unused.counts["media"] += 1
        return
    sized = {key: _box(where, result) for key, result in boxes.items()}
    placed = [_point(where, result) for result in points]
    size = _pixels(where, points[0])[0]
    wanted = {key for key, r in boxes.items() if category is None or category in _value(r).get(_RECTANGLE, [])}
    owners = rectangles.owners(where, placed, sized, _ties(results), wanted)
    groups: dict[str | None, rectangles.Places] = {}
    for (_, label, place), owner in zip(placed, owners, strict=True):
        if label in groups.setdefault(owner, {}):
            raise DataError(f"{where}: {label} is there twice; remove one, or draw a rectangle around each thing")
        groups[owner][label] = place
    unused.counts["empty"] += len(wanted - set(groups))
    unused.counts["loose"] += len(groups.get(None, ())) if boxes else 0
    for owner, places in groups.items():
        if owner is None or owner in wanted:
            kind = next(iter(_value(boxes[owner]).get(_RECTANGLE) or ()), None) if owner is not None else None
            yield _Instance(picture, size, places, None if owner is None else sized[owner], kind)
        else:
            unused.counts["unwanted"] += len(places)


def _results(task: Mapping[str, Any], unused: _Unused) -> list[Mapping[str, Any]]:
    """The results of a task's first annotation that was not cancelled; the others are counted."""
    annotations = task.get("annotations") or ()
    kept = [a for a in annotations if not a.get("was_cancelled")]
    unused.counts["cancelled"] += len(annotations) - len(kept)
    unused.counts["further"] += max(0, len(kept) - 1)
    if not kept:
        unused.counts["predicted"] += bool(task.get("predictions"))
        return []
    return kept[0].get("result") or []


def _ties(results: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of ids of results that belong together: by a parent, or by a relation in either direction."""
    parents = [(str(r.get("id")), str(r["parentID"])) for r in results if r.get("parentID")]
    return parents + [(str(r.get("from_id")), str(r.get("to_id"))) for r in results if r.get("type") == "relation"]


def _value(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return result.get("value") or {}


def _point(where: str, result: Mapping[str, Any]) -> rectangles.Point:
    """Id, label, and x and y in pixels of a keypoint. Raises DataError if it has no label."""
    label = next(iter(_value(result).get(_POINT) or []), None)
    if not isinstance(label, str):
        raise DataError(f"{where}: a keypoint has no label; give it one")
    x, y = from_edges(np.array(_pixels(where, result)[1])).tolist()
    return str(result.get("id")), label, (x, y)


def _box(where: str, result: Mapping[str, Any]) -> Box:
    """The bounding box of a rectangle, which may be rotated about its first corner."""
    x, y, width, height = _pixels(where, result)[1]
    angle = np.radians(float(_value(result).get("rotation") or 0))
    along, down = np.array([np.cos(angle), np.sin(angle)]) * width, np.array([-np.sin(angle), np.cos(angle)]) * height
    corners = from_edges(np.array([x, y])) + [0 * along, along, down, along + down]
    low, high = corners.min(0), corners.max(0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _pixels(where: str, result: Mapping[str, Any]) -> tuple[tuple[int, int], list[float]]:
    """The image's size (H, W), and x, y or x, y, width, height in pixels from its edges. Raises DataError if missing."""
    parts = ("x", "y") if result.get("type") == _POINT else ("x", "y", "width", "height")
    try:
        size = int(result["original_height"]), int(result["original_width"])
        places = [float(result["value"][part]) / 100 * size[1 - i % 2] for i, part in enumerate(parts)]
    except (KeyError, TypeError, ValueError, OverflowError):
        places = []
    if not places or not np.isfinite(places).all():
        raise DataError(
            f"{where}: a {result.get('type')} lacks {', '.join(parts)} or the picture's size; export it again as JSON"
        )
    return size, places


def _picture(where: str, data: Any) -> str | None:
    """The image's file name from its address in the task's data; None if the task is about another medium.

    Raises DataError if there is no image, or several of which none has a usual key.
    """
    values = {key: v for key, v in (data if isinstance(data, dict) else {}).items() if isinstance(v, str) and v}
    names = {key: _name(address) for key, address in values.items()}
    usual = [key for key in _IMAGE_KEYS if key in names and _suffix(names[key]) not in _OTHER_MEDIA]
    pictures = [key for key in names if _suffix(names[key]) in SUFFIXES]
    found = [key for key in usual if key in pictures] or pictures or usual
    if found and (found[0] in _IMAGE_KEYS or len(found) == 1):
        return names[found[0]]
    if found:
        raise DataError(
            f"{where}: its data name several pictures, {', '.join(found[:5])}; name the labelled one 'image'"
        )
    if any(_suffix(name) in _OTHER_MEDIA for name in names.values()):
        return None
    raise DataError(f"{where}: its data name no picture, as {' or '.join(_IMAGE_KEYS[:2])}; add it")


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _name(address: str) -> str:
    """The file name in a URL: the last part of an upload's path, or the path in the query of a local file's URL."""
    try:
        split = urlsplit(address)
    except ValueError:
        return address
    local = parse_qs(split.query).get("d")
    path = local[0] if local else unquote(split.path)
    if "/upload/" in path:
        return path.rsplit("/", 1)[-1]
    return path.lstrip("/") if local or not split.scheme else path.rsplit("/", 1)[-1]


def _labelled(names: tuple[str, ...], instance: _Instance) -> Labelled:
    """The instance with its keypoints in the order of `names`; those it lacks are unlabelled."""
    points, seen = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
    for name, place in instance.places.items():
        points[names.index(name)], seen[names.index(name)] = place, VISIBLE
    return Labelled(instance.picture, points, seen, instance.box, instance.size)


DATASET = Dataset("Label Studio's json export", matches, read=read)
