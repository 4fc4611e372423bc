"""Label Studio's json export: tasks with keypoint labels, and rectangles that hold them.

Places are percent of the picture, measured from its edges. Keypoints belong to the rectangle that is their parent or that a
relation ties them to, else to the one they lie in; those without one belong together.
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
from kptool.base.geometry import Box
from kptool.base.skeleton import VISIBLE
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import rectangles
from kptool.data.formats.unread import named
from kptool.data.notes import counted
from kptool.data.pictures import SUFFIXES
from kptool.system.text import read_json, starts_with

_IMAGE_KEYS = ("image", "img", "picture", "photo", "url", "image_url", "file")
_OTHER_MEDIA = {".mp4", ".webm", ".avi", ".mov", ".mkv", ".wav", ".mp3", ".flac", ".csv", ".txt", ".pdf", ".html"}
_POINT, _RECTANGLE = "keypointlabels", "rectanglelabels"


def matches(path: Path) -> bool:
    """Whether `path` is a json file that holds a list."""
    return path.suffix.lower() == ".json" and starts_with(path, "[")


def read(path: Path, category: str | None = None) -> LabelFile:
    """All keypoints of all tasks; `category` is the rectangles' label, where there are several. Raises DataError."""
    tasks = read_json(path)
    other = named(tasks)
    if other:
        raise DataError(f"{path} {other}")
    if not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path}: expected Label Studio's json export, a list of tasks")
    left = _Left()
    found = [thing for task in tasks for thing in _things(path, task, category, left)]
    _percent(path, found)
    names = tuple(sorted({name for thing in found for name in thing.places}))
    if not names:
        said = f" ({'; '.join(left.notes(category))})" if any(left.notes(category)) else ""
        raise DataError(f"{path} has no keypointlabels{said}; export a project with keypoints as JSON, not JSON-MIN")
    bounded(path, names, len(found))
    return LabelFile(names, [_labelled(names, thing) for thing in found], None, (path,), left.notes(category))


def _percent(path: Path, found: list[_Thing]) -> None:
    """Raise DataError where all keypoints are shares, 0 to 1, and most of them no whole or half numbers."""
    shares = [
        100 * (place[axis] + 0.5) / max(thing.size[1 - axis], 1)
        for thing in found
        for place in thing.places.values()
        for axis in (0, 1)
    ]
    broken = sum(abs(2 * share - round(2 * share)) > 1e-6 for share in shares)
    if broken * 2 >= max(len(shares), 8) and all(0 <= share <= 1 for share in shares):
        raise DataError(
            f"{path}: all x and y of its keypoints are 0 to 1, as shares are, and Label Studio has percent of the picture;"
            " multiply them by 100"
        )


@dataclass
class _Left:
    """How much of an export is not used, and what was found without being tied together."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def notes(self, category: str | None) -> tuple[str, ...]:
        """A sentence for each kind."""
        kinds = ", ".join(f"{kind[:40]} {n}" for kind, n in self.kinds.most_common(8))
        sentences = {
            "media": "{n} task{s} of videos, sounds or texts {are} not used",
            "predicted": "{n} task{s} with predictions and no annotation {are} not used",
            "cancelled": "{n} annotation{s} that somebody cancelled {are} not used",
            "further": "{n} further annotation{s} of tasks that several people labelled {are} not used, only the first of each",
            "unwanted": "{n} keypoint{s} in rectangles of other labels than {category} {are} not used",
            "loose": "{n} keypoint{s} in no rectangle {are} taken together in each picture, apart from the rectangles'",
            "empty": "{n} rectangle{s} without keypoints {are} not used",
        }
        return (
            *(note for key, text in sentences.items() for note in counted(self.counts[key], text, category=category)),
            *counted(sum(self.kinds.values()), "{n} label{s} of other kinds {are} not used ({kinds})", kinds=kinds),
        )


@dataclass(frozen=True)
class _Thing:
    """One thing in one picture, of `size` (H, W): its keypoints by name, and the rectangle that holds it."""

    picture: str
    size: tuple[int, int]
    places: rectangles.Places
    box: Box | None


def _things(path: Path, task: Mapping[str, Any], category: str | None, left: _Left) -> Iterator[_Thing]:
    """The things of one task."""
    where = f"{path}, task {task.get('id', '?')}"
    results = _results(task, left)
    points = [result for result in results if result.get("type") == _POINT]
    boxes = {str(r.get("id")): r for r in results if r.get("type") == _RECTANGLE}
    left.kinds.update(str(r.get("type")) for r in results if r.get("type") not in (_POINT, _RECTANGLE, "relation"))
    if not points:
        left.counts["empty"] += len(boxes)
        return
    picture = _picture(where, task.get("data"))
    if picture is None:
        left.counts["media"] += 1
        return
    sized = {key: _box(where, result) for key, result in boxes.items()}
    placed = [_point(where, result) for result in points]
    size = _numbers(where, points[0])[0]
    wanted = {key for key, r in boxes.items() if category is None or category in _value(r).get(_RECTANGLE, [])}
    owners = rectangles.owners(where, placed, sized, _ties(results), wanted)
    groups: dict[str | None, rectangles.Places] = {}
    for (_, label, place), owner in zip(placed, owners, strict=True):
        if label in groups.setdefault(owner, {}):
            raise DataError(f"{where}: {label} is there twice; remove one, or draw a rectangle around each thing")
        groups[owner][label] = place
    left.counts["empty"] += len(wanted - set(groups))
    left.counts["loose"] += len(groups.get(None, ())) if boxes else 0
    for owner, places in groups.items():
        if owner is None or owner in wanted:
            yield _Thing(picture, size, places, None if owner is None else sized[owner])
        else:
            left.counts["unwanted"] += len(places)


def _results(task: Mapping[str, Any], left: _Left) -> list[Mapping[str, Any]]:
    """The results of a task's first annotation that nobody cancelled; the rest is counted."""
    annotations = task.get("annotations") or ()
    kept = [a for a in annotations if not a.get("was_cancelled")]
    left.counts["cancelled"] += len(annotations) - len(kept)
    left.counts["further"] += max(0, len(kept) - 1)
    if not kept:
        left.counts["predicted"] += bool(task.get("predictions"))
        return []
    return kept[0].get("result") or []


def _ties(results: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of results that belong together: a parent, or a relation in either direction."""
    parents = [(str(r.get("id")), str(r["parentID"])) for r in results if r.get("parentID")]
    return parents + [(str(r.get("from_id")), str(r.get("to_id"))) for r in results if r.get("type") == "relation"]


def _value(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return result.get("value") or {}


def _point(where: str, result: Mapping[str, Any]) -> rectangles.Point:
    """Id, label and place of a keypoint."""
    label = next(iter(_value(result).get(_POINT) or []), None)
    if not isinstance(label, str):
        raise DataError(f"{where}: a keypoint has no label; give it one")
    x, y = _numbers(where, result)[1]
    return str(result.get("id")), label, (x - 0.5, y - 0.5)


def _box(where: str, result: Mapping[str, Any]) -> Box:
    """Left, top, width, height of a rectangle; of one that is turned around its first corner, what is around it."""
    x, y, width, height = _numbers(where, result)[1]
    angle = np.radians(float(_value(result).get("rotation") or 0))
    along, down = np.array([np.cos(angle), np.sin(angle)]) * width, np.array([-np.sin(angle), np.cos(angle)]) * height
    corners = np.array([x - 0.5, y - 0.5]) + [0 * along, along, down, along + down]
    low, high = corners.min(0), corners.max(0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _numbers(where: str, result: Mapping[str, Any]) -> tuple[tuple[int, int], list[float]]:
    """Size (H, W), and x, y or x, y, width, height in pixels from the picture's edges."""
    parts = ("x", "y") if result.get("type") == _POINT else ("x", "y", "width", "height")
    try:
        size = int(result["original_height"]), int(result["original_width"])
        return size, [float(result["value"][part]) / 100 * size[1 - i % 2] for i, part in enumerate(parts)]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where}: a {result.get('type')} lacks {', '.join(parts)} or the picture's size; export it again as JSON"
        ) from None


def _picture(where: str, data: Any) -> str | None:
    """The picture's file name out of an address, as it is written there; None where the task is of something else."""
    values = {key: v for key, v in (data if isinstance(data, dict) else {}).items() if isinstance(v, str) and v}
    names = {key: _name(address) for key, address in values.items()}
    usual = [key for key in _IMAGE_KEYS if key in names and _suffix(names[key]) not in _OTHER_MEDIA]
    pictures = [key for key in names if _suffix(names[key]) in SUFFIXES]
    found = [key for key in usual if key in pictures] or pictures or usual
    if found and (found[0] in _IMAGE_KEYS or len(found) == 1):
        return names[found[0]]
    if found:
        raise DataError(f"{where}: its data name several pictures, {', '.join(found[:5])}; call the labelled one image")
    if any(_suffix(name) in _OTHER_MEDIA for name in names.values()):
        return None
    raise DataError(f"{where}: its data name no picture, as {' or '.join(_IMAGE_KEYS[:2])}; add it")


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _name(address: str) -> str:
    """The path in an address: of an upload its last part, of a local file what the query says."""
    try:
        split = urlsplit(address)
    except ValueError:
        return address
    local = parse_qs(split.query).get("d")
    path = local[0] if local else unquote(split.path)
    if "/upload/" in path:
        return path.rsplit("/", 1)[-1]
    return path.lstrip("/") if local or not split.scheme else path.rsplit("/", 1)[-1]


def _labelled(names: tuple[str, ...], thing: _Thing) -> Labelled:
    points, seen = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
    for name, place in thing.places.items():
        points[names.index(name)], seen[names.index(name)] = place, VISIBLE
    return Labelled(thing.picture, points, seen, thing.box, thing.size)


DATASET = Dataset("Label Studio's json export", matches, read=read)
