"""OpenPose's JSON, one file ``NAME_keypoints.json`` for each picture or frame called NAME.

A person has the parts pose, face, hand_left and hand_right, with x, y and confidence for each keypoint. Where OpenPose found
nothing, all three are 0. It adds half a pixel to positions of which an integer is a pixel's centre, so coordinates are
measured from the image's edges. The frames of one video are a group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import from_edges
from kptool.base.skeleton import OCCLUDED
from kptool.data.annotations import ANY_SUFFIX, Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import human, json_kind, values
from kptool.data.formats.visibility import LEAST_CONFIDENCE, from_confidence
from kptool.data.notes import counted
from kptool.system.text import read_json

_PARTS = tuple(human.OPENPOSE)
_SUFFIX = re.compile(r"(?:_keypoints)?\.json$", re.IGNORECASE)
_FRAME = re.compile(r"(.+)_[0-9]{12}")
_MOST_CONFIDENCE = 1.05
"""Peaks of OpenPose's confidence maps may exceed 1 a little."""


@dataclass(frozen=True)
class _Person:
    """One person: where, for messages; the picture's name; its video, or None; (K, 3) of each part that is there."""

    where: str
    picture: str
    video: str | None
    parts: Mapping[str, NDArray[np.float64]]


def matches(path: Path) -> bool:
    """Whether `path` is OpenPose's JSON, or a folder with one for each picture in it or below it."""
    if path.is_dir():
        return json_kind.is_folder_of(path, json_kind.OPENPOSE)
    return json_kind.kind(path) == json_kind.OPENPOSE


def read(path: Path, category: str | None = None) -> LabelFile:
    """All people with all parts that occur, or only the part `category`. Raises DataError, naming the file and person."""
    files, others = json_kind.files_of(path, json_kind.OPENPOSE, "OpenPose's json")
    base = path if path.is_dir() else path.parent
    if category is not None and category not in _PARTS:
        raise DataError(f"{path} has no part {category!r}; choose one of {', '.join(_PARTS)}")
    counts: Counter[str] = Counter()
    people = [person for file in files for person in _people(file, base, counts)]
    lengths = _lengths(path, people, _PARTS if category is None else (category,))
    if not lengths:
        raise DataError(f"{path} has no {category or 'people'} with keypoints; run OpenPose with --write_json again")
    layout = human.joined([human.of_length(human.OPENPOSE[part], n, f"{part}_") for part, n in lengths.items()])
    bounded(path, layout.names, len(people))
    found = np.stack([_joined(person, lengths) for person in people])
    seen, notes = _visibility(people, found[..., 2])
    kept = [row for row in range(len(people)) if seen[row].any()]
    counts["invisible"] = len(people) - len(kept)
    things = [
        Labelled(p.picture, np.asarray(from_edges(found[row, :, :2])), seen[row], group=p.video)
        for row in kept
        for p in (people[row],)
    ]
    return LabelFile(
        layout.names, things, layout.pairs, tuple(files), (*notes, *_notes(counts, others)), edges=human.edges(layout)
    )


def _people(file: Path, base: Path, counts: Counter[str]) -> list[_Person]:
    """The people in one file; 3D keypoints and files without people are counted."""
    document = read_json(file)
    if not isinstance(document, dict):
        raise DataError(f"{file} is not OpenPose's json, an object with people; write it again")
    rows = values.objects(str(file), "people", document.get("people"))
    counts["nobody"] += not rows
    name = _SUFFIX.sub("", file.relative_to(base).as_posix())
    video = _FRAME.fullmatch(name)
    people = []
    for number, row in enumerate(rows):
        counts["3d"] += any(key.endswith("_3d") and value for key, value in row.items())
        where = f"{file}, person {number}"
        parts = {part: _part(where, part, row) for part in _PARTS}
        there = {part: points for part, points in parts.items() if len(points)}
        people.append(_Person(where, name + ANY_SUFFIX, video[1] if video else None, there))
    return people


def _part(where: str, part: str, row: Mapping[str, Any]) -> NDArray[np.float64]:
    """x, y, confidence of the keypoints of a part, (K, 3); K is 0 if it is not there."""
    key = next((key for key in (f"{part}_keypoints_2d", f"{part}_keypoints") if row.get(key)), None)
    stated = row[key] if key else []
    count = len(stated) if isinstance(stated, list) else 0
    if key and (count == 0 or count % 3):
        raise DataError(f"{where}: {key} must be x, y, confidence of each keypoint; write it again")
    return np.array(values.numbers(where, key or "", stated, count)).reshape(-1, 3)


def _lengths(path: Path, people: Sequence[_Person], wanted: Sequence[str]) -> dict[str, int]:
    """The number of keypoints of each wanted part that somebody has. Raises DataError if people differ in it."""
    found: dict[str, int] = {}
    for part in wanted:
        for person in people:
            count = len(person.parts.get(part, ()))
            if count and found.setdefault(part, count) != count:
                raise DataError(
                    f"{person.where}: {part} has {count} keypoints, and {found[part]} in other files of {path}; keep the"
                    " output of one model in a folder"
                )
    return found


def _joined(person: _Person, lengths: Mapping[str, int]) -> NDArray[np.float64]:
    """x, y, confidence of all keypoints, (K, 3); 0 for parts that the person lacks."""
    return np.concatenate([person.parts.get(part, np.zeros((count, 3))) for part, count in lengths.items()])


def _visibility(
    people: Sequence[_Person], confidence: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Visibility (N, K) from confidences (N, K), and a note. Raises DataError for a confidence that is not 0 to 1."""
    wrong = np.argwhere((confidence < 0) | (confidence > _MOST_CONFIDENCE))
    if len(wrong):
        row, k = wrong[0]
        raise DataError(
            f"{people[row].where}: a confidence is {confidence[row, k]:g}, but must be 0 to 1; write it again"
        )
    seen = from_confidence(confidence)
    low = int((seen == OCCLUDED).sum())
    text = "{n} keypoint{s} with a confidence below {least} {are} read as occluded"
    return seen, (
        "these are a model's predictions, not labels that people made",
        *counted(low, text, least=LEAST_CONFIDENCE),
    )


def _notes(counts: Counter[str], others: int) -> tuple[str, ...]:
    return (
        *counted(counts["nobody"], "{n} file{s} without people {are} not used"),
        *counted(counts["invisible"], "{n} people without a keypoint of these parts are not used"),
        *counted(counts["3d"], "the 3D keypoints of {n} people are not used"),
        *counted(others, "{n} other json file{s} in the folder {are} not used"),
    )


DATASET = Dataset("OpenPose's json, or a folder of them", matches, read=read)
