"""YOLO pose, as Ultralytics has it: a yaml with ``kpt_shape``, and a text file of labels beside each picture.

A line is class, box (middle and size), and x, y, or x, y and a third number, for each keypoint; lengths are shares of the
picture's, measured from its edges. The third number is 0 (no label), 1 (occluded) or 2 (visible), or, where some have
fractions, a model's confidence. Labels of ``images/.../a.jpg`` lie in ``labels/.../a.txt``; the yaml says which pictures are
for training, validation and test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from kptool.base.errors import DataError
from kptool.base.skeleton import VISIBLE
from kptool.data.annotations import ANY_SUFFIX, Dataset, LabelFile, Labelled
from kptool.data.formats.visibility import from_numbers
from kptool.data.formats.yolo_paths import Pictures, find_pictures, labels_of
from kptool.data.lookup import locate
from kptool.data.notes import counted
from kptool.data.splits import part_of
from kptool.system.text import is_file, read_text, read_yaml
from kptool.system.walking import files_below

_MOST_BYTES, _MOST_SETTINGS = 1 << 20, 1 << 18
_NO_LABELS = ("classes.txt", "labels.txt")  # lists of class names that tools write among the files of labels


@dataclass(frozen=True)
class _Line:
    """A line of labels: its file and number, in words, its picture, and its numbers."""

    where: str
    picture: Path
    values: np.ndarray


def matches(path: Path) -> bool:
    """Whether `path` is a yaml file."""
    return path.is_file() and path.suffix.lower() in (".yaml", ".yml")


def read(path: Path, category: str | None = None) -> LabelFile:
    """The labels of all pictures that the yaml names, of one class. Raises DataError with file, line and fix."""
    settings = _settings(path)
    pictures, base = find_pictures(path, settings), path.parent.absolute()
    labels = {picture: labels_of(picture, base) for picture in pictures.parts}
    _apart(labels)
    return _read(path, settings, category, pictures, labels)


def _apart(labels: Mapping[Path, Path]) -> None:
    """Raise DataError where a file of labels would be that of two pictures."""
    first: dict[Path, Path] = {}
    for picture, file in labels.items():
        other = first.setdefault(file, picture)
        if other != picture and is_file(file):
            raise DataError(
                f"{file} would be the labels of both {other} and {picture.name}; remove the picture that it is not of, or"
                " rename it"
            )


def read_apart(path: Path, category: str | None, images: Path) -> LabelFile:
    """All labels in folders called labels below the yaml's, whose pictures lie in the folder `images`. Raises DataError."""
    files = [file for file in files_below(path.parent) if file.suffix == ".txt" and file.name not in _NO_LABELS]
    inside = [(file, file.relative_to(path.parent).parts) for file in files if file.stat().st_size]
    labels = {file: parts for file, parts in inside if "labels" in parts[:-1]}
    if not labels:
        raise DataError(f"{path}: there are no files of labels in a folder called labels beside it; keep them together")
    names = [
        PurePosixPath(*("images" if part == "labels" else part for part in parts)).with_suffix(ANY_SUFFIX).as_posix()
        for parts in labels.values()
    ]
    found = locate(path, names, images, whole=False)
    own = [next(filter(None, map(part_of, parts[:-1])), "") for parts in labels.values()]
    pictures = Pictures(dict(zip(found.places, own, strict=True)), images, found.notes)
    return _read(path, _settings(path), category, pictures, dict(zip(found.places, labels, strict=True)))


def _read(
    path: Path, settings: dict[str, Any], category: str | None, pictures: Pictures, labels: Mapping[Path, Path]
) -> LabelFile:
    """What the files of `labels`, by the picture that each is of, say of one class."""
    shape = _shape(path, settings.get("kpt_shape"))
    classes = _named(settings.get("names"))
    wanted = None
    if category is not None:
        wanted = next((number for number, name in classes.items() if name == category), None)
        if wanted is None:
            raise DataError(f"{path} has no class {category!r}; choose one of {', '.join(classes.values())}")
    every = list(_lines(labels, 5 + shape[0] * shape[1]))
    chosen = [line for line in every if wanted is None or int(line.values[0]) == wanted]
    lines = [line for line in chosen if len(line.values) > 5]
    things, notes = _things(pictures, lines, shape)
    notes = (
        *pictures.notes,
        *notes,
        *counted(len(chosen) - len(lines), "{n} line{s} of labels with a box and no keypoints {are} not used"),
        *counted(
            len(every) - len(chosen), "{n} line{s} of labels of other classes than {name} {are} not used", name=category
        ),
        *_orphans(set(labels.values())),
    )
    pairs = _pairs(path, settings.get("flip_idx"), shape[0])
    return LabelFile(_names(settings, shape[0]), things, pairs, (path,), notes, pictures.folder)


def _settings(path: Path) -> dict[str, Any]:
    settings = read_yaml(path, _MOST_SETTINGS)
    if not isinstance(settings, dict) or "kpt_shape" not in settings:
        raise DataError(f"{path}: expected the yaml of a YOLO pose data set, with kpt_shape: [keypoints, 2 or 3]")
    _shape(path, settings["kpt_shape"])  # what is wrong in the yaml comes before what is missing beside it
    return settings


def _shape(path: Path, stated: Any) -> tuple[int, int]:
    match stated:
        case [int(count), 2 | 3 as each] if 1 <= count <= 2048:
            return count, each
    raise DataError(f"{path}: kpt_shape must be [keypoints, 2 or 3]; got {str(stated)[:60]}")


def _named(stated: Any) -> dict[int, str]:
    pairs = stated.items() if isinstance(stated, dict) else enumerate(stated if isinstance(stated, list) else [])
    return {number: str(name) for number, name in pairs if isinstance(number, int)}


def _names(settings: dict[str, Any], count: int) -> tuple[str, ...]:
    """``kpt_names`` (of the first class, where they are given by class), else p01, p02, ..."""
    stated = settings.get("kpt_names")
    if isinstance(stated, dict):
        stated = next(iter(stated.values()), None)
    if isinstance(stated, list) and len(stated) == count:
        return tuple(map(str, stated))
    return tuple(f"p{k + 1:02d}" for k in range(count))


def _pairs(path: Path, stated: Any, count: int) -> tuple[tuple[int, int], ...] | None:
    if stated is None:
        return None
    whole = isinstance(stated, list) and len(stated) == count and all(isinstance(i, int) for i in stated)
    if not whole or any(not 0 <= other < count or stated[other] != k for k, other in enumerate(stated)):
        raise DataError(f"{path}: flip_idx must say for each of {count} keypoints which one it changes places with")
    return tuple((k, other) for k, other in enumerate(stated) if k < other)


def _lines(labels: Mapping[Path, Path], width: int) -> Iterator[_Line]:
    """Every line of labels of every picture. Raises DataError naming file and line of one that has other numbers."""
    for picture, file in labels.items():
        if not is_file(file):
            continue
        for number, line in enumerate(read_text(file, _MOST_BYTES).splitlines(), start=1):
            cells = line.split()
            try:
                values = np.array(cells, np.float64)
            except ValueError:
                values = np.empty(0)
            if not cells:
                continue
            if len(values) not in (5, width) or not np.isfinite(values).all():
                raise DataError(
                    f"{file}, line {number}: expected a class, 4 numbers of a box, and {width - 5} of keypoints, as"
                    f" kpt_shape says{_guess(values, width)}"
                )
            yield _Line(f"{file}, line {number}", picture, values)


def _guess(values: np.ndarray, width: int) -> str:
    """What a line of other numbers than `width` may be, and what to do; empty where it looks like nothing known."""
    guesses = []
    if len(values) in (width + 1, width + 2):
        more = "a confidence" if len(values) == width + 1 else "a confidence and the number of a track"
        guesses.append(f"{more} is at its end, as predictions have that were saved with it: remove that")
    if len(values) >= 7 and len(values) % 2 and ((values[1:] >= 0) & (values[1:] <= 1)).all():
        guesses.append("it is a polygon, a class and x, y of each corner: export keypoints, or remove such lines")
    return f"; perhaps {', or '.join(guesses)}" if guesses else ""


def _things(pictures: Pictures, lines: list[_Line], shape: tuple[int, int]) -> tuple[list[Labelled], tuple[str, ...]]:
    """The labelled things of lines that have keypoints, (count, 2 or 3) each, and notes on how visibility was read."""
    points = np.array([line.values[5:] for line in lines], np.float64).reshape(-1, *shape)
    given = np.where((points == 0).all(-1), 0, VISIBLE)  # without a third number, 0 0 is how no label is written
    stated = points[..., 2] if shape[1] == 3 else given.astype(np.float64)
    seen, notes = _visibility(lines, stated)
    sizes = {picture: _size(picture) for picture in dict.fromkeys(line.picture for line in lines)}
    things, folder = [], pictures.folder.absolute()
    for line, places, visible in zip(lines, points[..., :2], seen, strict=True):
        name, part = line.picture.absolute().relative_to(folder).as_posix(), pictures.parts[line.picture]
        things.append(_thing(name, part, line.values[1:5], places, visible, np.array(sizes[line.picture], np.float64)))
    return things, notes


def _visibility(lines: list[_Line], stated: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Visibility (n, K) of third numbers (n, K), and notes. Whole numbers beyond 0 to 2 are what other tools write."""
    beyond = (stated % 1 == 0) & ((stated < 0) | (stated > VISIBLE))
    try:
        seen, notes = from_numbers(np.where(beyond, stated.clip(0, VISIBLE), stated))
    except ValueError as error:
        odd = np.flatnonzero(((stated % 1 != 0) & ((stated < 0) | (stated > 1))).any(1))[0]
        raise DataError(
            f"{lines[odd].where}: a keypoint's third number is {error}; expected 0 (no label), 1 (occluded), 2 (visible),"
            " or a confidence from 0 to 1"
        ) from None
    below, above = int((stated[beyond] < 0).sum()), int((stated[beyond] > VISIBLE).sum())
    return seen, (
        *notes,
        *counted(below, "{n} keypoint{s} with a third number below 0 {are} read as without a label"),
        *counted(above, "{n} keypoint{s} with a third number above 2 {are} read as visible"),
    )


def _thing(name: str, part: str, box: np.ndarray, points: np.ndarray, seen: np.ndarray, scale: np.ndarray) -> Labelled:
    """Shares of the picture's width and height, `scale`, in pixels."""
    size = box[2:] * scale
    x, y = box[:2] * scale - size / 2 - 0.5
    edges = (float(x), float(y), float(size[0]), float(size[1])) if (size > 0).all() else None
    return Labelled(name, points * scale - 0.5, seen, edges, split=part)


def _orphans(files: set[Path]) -> tuple[str, ...]:
    """A note on files beside those of labels that have no picture."""
    there = {file for folder in {file.parent for file in files} for file in folder.glob("*.txt")}
    left = sorted(file.name for file in there - files if file.name not in _NO_LABELS)
    first = next(iter(left), "")
    return counted(
        len(left), "{n} file{s} of labels without a picture {are} not used, the first is {first}", first=first
    )


def _size(picture: Path) -> tuple[int, int]:
    """Width and height of the upright picture, which is what labels are shares of."""
    try:
        with Image.open(picture) as image:
            turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
            return image.size[::-1] if turned else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{picture} cannot be read as a picture ({error})") from error


DATASET = Dataset("YOLO pose (yaml with kpt_shape)", matches, read=read, read_apart=read_apart)
