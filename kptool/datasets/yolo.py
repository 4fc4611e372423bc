"""YOLO pose (Ultralytics): a yaml with ``kpt_shape``, and a label file for each image.

A line holds the class, the box (centre and size), and x, y and optionally a third number for each keypoint. Coordinates
are fractions of the image's width and height, measured from its edges. The third number is 0 (unlabelled), 1 (occluded)
or 2 (visible), or a model's confidence if some are not whole. The labels of ``images/.../a.jpg`` are in
``labels/.../a.txt``; the yaml names the images for training, validation and test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from kptool.base.errors import DataError
from kptool.base.geometry import Box, box_from_edges, from_edges
from kptool.base.skeleton import VISIBLE, numbered_names
from kptool.data.annotations import ANY_SUFFIX, Dataset, LabelFile, Labelled
from kptool.data.formats.visibility import from_numbers
from kptool.data.formats.yolo_paths import Pictures, find_pictures, labels_of
from kptool.data.lookup import locate
from kptool.data.notes import counted
from kptool.data.splits import part_of
from kptool.system.text import is_file, read_text, read_yaml
from kptool.system.walking import files_below

_MAX_LABEL_BYTES, _MAX_SETTINGS_BYTES = 1 << 20, 1 << 18
_CLASS_LISTS = ("classes.txt", "labels.txt")  # lists of class names that tools write next to the label files


@dataclass(frozen=True)
class _Line:
    """A line of a label file: where it is, for messages; its image; and its numbers."""

    where: str
    picture: Path
    values: np.ndarray


def matches(path: Path) -> bool:
    """Whether `path` is a yaml file."""
    return path.is_file() and path.suffix.lower() in (".yaml", ".yml")


def read(path: Path, category: str | None = None) -> LabelFile:
    """The labels of all images that the yaml names, or those of the class called `category`.

    Raises DataError, naming file and line, for invalid labels.
    """
    settings = _settings(path)
    pictures, base = find_pictures(path, settings), path.parent.absolute()
    labels = {picture: labels_of(picture, base) for picture in pictures.parts}
    _check_unique(labels)
    return _read(path, settings, category, pictures, labels)


def _check_unique(labels: Mapping[Path, Path]) -> None:
    """Raise DataError if two images, such as a.jpg and a.png, share a label file. labels: image -> label file."""
    first: dict[Path, Path] = {}
    for picture, file in labels.items():
        other = first.setdefault(file, picture)
        if other != picture and is_file(file):
            raise DataError(
                f"{file} would be the labels of both {other} and {picture.name}; remove or rename the picture that it does"
                " not belong to"
            )


def read_apart(path: Path, category: str | None, images: Path) -> LabelFile:
    """`read`, for label files in folders called labels below the yaml's folder, with the images in the folder `images`."""
    files = [file for file in files_below(path.parent) if file.suffix == ".txt" and file.name not in _CLASS_LISTS]
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
    """The labels in the files `labels` (image -> label file), all or those of the class called `category`."""
    shape = _shape(path, settings.get("kpt_shape"))
    classes = _class_names(settings.get("names"))
    wanted = None
    if category is not None:
        wanted = next((number for number, name in classes.items() if name == category), None)
        if wanted is None:
            raise DataError(f"{path} has no class {category!r}; choose one of {', '.join(classes.values())}")
    every = list(_lines(labels, 5 + shape[0] * shape[1]))
    chosen = [line for line in every if wanted is None or int(line.values[0]) == wanted]
    lines = [line for line in chosen if len(line.values) > 5]
    instances, notes = _instances(pictures, lines, shape)
    notes = (
        *pictures.notes,
        *notes,
        *counted(len(chosen) - len(lines), "{n} line{s} of labels with a box and no keypoints {are} not used"),
        *counted(
            len(every) - len(chosen), "{n} line{s} of labels of other classes than {name} {are} not used", name=category
        ),
        *_unmatched_notes(set(labels.values())),
    )
    pairs = _flip_pairs(path, settings.get("flip_idx"), shape[0])
    kinds = {classes.get(int(line.values[0])) for line in lines}
    kind = kinds.pop() if len(kinds) == 1 else None
    names = _keypoint_names(settings, shape[0])
    file = LabelFile(names, instances, pairs, (path,), notes, pictures.folder, category=kind)
    stated = {line.picture for line in every}
    bare = [picture for picture, labelled in labels.items() if picture not in stated and is_file(labelled)]
    crowds = [_bare(pictures, line.picture, shape[0], line.values[1:5]) for line in chosen if len(line.values) == 5]
    return replace(
        file,
        empty=[_bare(pictures, picture, shape[0]) for picture in bare],
        crowds=[area for area in crowds if area.box is not None],
    )


def _bare(pictures: Pictures, picture: Path, keypoints: int, box: np.ndarray | None = None) -> Labelled:
    """An image, or with `box`, fractions of its size, an area of it, without labelled keypoints."""
    edges = None if box is None else _box(box, np.array(_size(picture), np.float64))
    name = picture.absolute().relative_to(pictures.folder.absolute()).as_posix()
    nothing = np.full((keypoints, 2), np.nan), np.zeros(keypoints, np.uint8)
    return Labelled(name, *nothing, edges, split=pictures.parts[picture])


def _settings(path: Path) -> dict[str, Any]:
    """The contents of the yaml. Raises DataError if it does not describe a YOLO pose data set."""
    settings = read_yaml(path, _MAX_SETTINGS_BYTES)
    if not isinstance(settings, dict) or "kpt_shape" not in settings:
        raise DataError(f"{path}: expected the yaml of a YOLO pose data set, with kpt_shape: [keypoints, 2 or 3]")
    _shape(path, settings["kpt_shape"])  # report an error in the yaml before missing files
    return settings


def _shape(path: Path, stated: Any) -> tuple[int, int]:
    """The number of keypoints, and of values for each: 2 or 3."""
    match stated:
        case [int(count), 2 | 3 as each] if 1 <= count <= 2048:
            return count, each
    raise DataError(f"{path}: kpt_shape must be [keypoints, 2 or 3]; got {str(stated)[:60]}")


def _class_names(stated: Any) -> dict[int, str]:
    """Class number -> name, from the yaml's ``names``: a mapping or a list."""
    pairs = stated.items() if isinstance(stated, dict) else enumerate(stated if isinstance(stated, list) else [])
    return {number: str(name) for number, name in pairs if isinstance(number, int)}


def _keypoint_names(settings: dict[str, Any], count: int) -> tuple[str, ...]:
    """``kpt_names`` (those of the first class if given by class), else p01, p02, ..."""
    stated = settings.get("kpt_names")
    if isinstance(stated, dict):
        stated = next(iter(stated.values()), None)
    if isinstance(stated, list) and len(stated) == count:
        return tuple(map(str, stated))
    return numbered_names(count)


def _flip_pairs(path: Path, stated: Any, count: int) -> tuple[tuple[int, int], ...] | None:
    """The flip pairs of ``flip_idx``, each keypoint's index in a mirrored image; None if the yaml has none."""
    if stated is None:
        return None
    whole = isinstance(stated, list) and len(stated) == count and all(isinstance(i, int) for i in stated)
    if not whole or any(not 0 <= other < count or stated[other] != k for k, other in enumerate(stated)):
        raise DataError(
            f"{path}: flip_idx must hold, for each of {count} keypoints, the index of the one it swaps with"
        )
    return tuple((k, other) for k, other in enumerate(stated) if k < other)


def _lines(labels: Mapping[Path, Path], width: int) -> Iterator[_Line]:
    """The lines of all label files, (5 or `width`) numbers each. Raises DataError, naming file and line, for others."""
    for picture, file in labels.items():
        if not is_file(file):
            continue
        for number, line in enumerate(read_text(file, _MAX_LABEL_BYTES).splitlines(), start=1):
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
                    f" kpt_shape states{_guess(values, width)}"
                )
            yield _Line(f"{file}, line {number}", picture, values)


def _guess(values: np.ndarray, width: int) -> str:
    """What a line with another count than `width` may be, and what to do about it; empty if nothing fits."""
    guesses = []
    if len(values) in (width + 1, width + 2):
        more = "a confidence" if len(values) == width + 1 else "a confidence and a track number"
        guesses.append(f"it ends with {more}, as saved predictions do: remove that")
    if len(values) >= 7 and len(values) % 2 and ((values[1:] >= 0) & (values[1:] <= 1)).all():
        guesses.append("it is a polygon, a class and x, y of each corner: export keypoints, or remove such lines")
    return f"; perhaps {', or '.join(guesses)}" if guesses else ""


def _instances(
    pictures: Pictures, lines: list[_Line], shape: tuple[int, int]
) -> tuple[list[Labelled], tuple[str, ...]]:
    """The instance of each line, with keypoints of `shape` (K, 2 or 3), and notes on how visibility was read."""
    points = np.array([line.values[5:] for line in lines], np.float64).reshape(-1, *shape)
    given = np.where((points == 0).all(-1), 0, VISIBLE)  # without a third number, unlabelled keypoints are written 0 0
    stated = points[..., 2] if shape[1] == 3 else given.astype(np.float64)
    seen, notes = _visibility(lines, stated)
    sizes = {picture: _size(picture) for picture in dict.fromkeys(line.picture for line in lines)}
    instances, folder = [], pictures.folder.absolute()
    for line, places, visible in zip(lines, points[..., :2], seen, strict=True):
        name, part = line.picture.absolute().relative_to(folder).as_posix(), pictures.parts[line.picture]
        scale = np.array(sizes[line.picture], np.float64)
        edges, keypoints = _box(line.values[1:5], scale), np.asarray(from_edges(places * scale), np.float64)
        instances.append(Labelled(name, keypoints, visible, edges, split=part))
    return instances, notes


def _visibility(lines: list[_Line], stated: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Visibility (n, K) from third numbers (n, K), and notes. Some tools write whole numbers beyond 0 to 2."""
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


def _box(stated: np.ndarray, scale: np.ndarray) -> Box | None:
    """The box whose centre and size are fractions of `scale`, the image's (width, height); None if it is empty."""
    size = stated[2:] * scale
    left, top = stated[:2] * scale - size / 2
    return box_from_edges(float(left), float(top), float(size[0]), float(size[1])) if (size > 0).all() else None


def _unmatched_notes(files: set[Path]) -> tuple[str, ...]:
    """A note on label files that belong to no image, in the folders of the label `files` in use."""
    present = {file for folder in {file.parent for file in files} for file in folder.glob("*.txt")}
    unmatched = sorted(file.name for file in present - files if file.name not in _CLASS_LISTS)
    first = next(iter(unmatched), "")
    return counted(
        len(unmatched), "{n} file{s} of labels without a picture {are} not used, the first is {first}", first=first
    )


def _size(picture: Path) -> tuple[int, int]:
    """(width, height) of the upright image, of which the labels are fractions. Raises DataError if it is unreadable."""
    try:
        with Image.open(picture) as image:
            transposed = image.getexif().get(0x0112) in (5, 6, 7, 8)
            return image.size[::-1] if transposed else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{picture} cannot be read as a picture ({error})") from error


DATASET = Dataset("YOLO pose (yaml with kpt_shape)", matches, read=read, read_apart=read_apart)
