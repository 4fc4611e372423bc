"""YOLO pose, as Ultralytics has it: a yaml with ``kpt_shape``, and a text file of labels beside each picture.

A line is class, box (middle and size), and x, y, or x, y and visibility, for each keypoint; lengths are shares of the
picture's, measured from its edges. Labels of ``images/.../a.jpg`` lie in ``labels/.../a.txt``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml
from PIL import Image

from kptool.annotations import VISIBLE, Dataset, LabelFile, Labelled
from kptool.errors import DataError
from kptool.reading import exists, is_file, read_text

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
_PARTS = ("train", "val", "test")
_MOST_BYTES, _MOST_SETTINGS = 1 << 20, 1 << 18


class _Plain(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases: a few nested ones stand for more text than any memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it refers to other parts of itself by *name")
        return super().compose_node(parent, index)


def matches(path: Path) -> bool:
    """Whether `path` is a yaml file."""
    return path.is_file() and path.suffix.lower() in (".yaml", ".yml")


def read(path: Path, category: str | None = None) -> LabelFile:
    """The labels of all pictures that the yaml names, of one class. Raises DataError with file, line and fix."""
    settings = _settings(path)
    count, each = _shape(path, settings.get("kpt_shape"))
    classes = _named(settings.get("names"))
    wanted = None
    if category is not None:
        wanted = next((number for number, name in classes.items() if name == category), None)
        if wanted is None:
            raise DataError(f"{path} has no class {category!r}; choose one of {', '.join(classes.values())}")
    base = path.parent
    things = [
        thing for picture in _pictures(path, base, settings) for thing in _labels(base, picture, count, each, wanted)
    ]
    return LabelFile(_names(settings, count), things, _pairs(path, settings.get("flip_idx"), count), (path,))


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.load(read_text(path, _MOST_SETTINGS), _Plain)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(f"{path} is not valid yaml ({' '.join(str(error).split())[:120]}); correct it") from None
    if not isinstance(settings, dict) or "kpt_shape" not in settings:
        raise DataError(f"{path}: expected the yaml of a YOLO pose data set, with kpt_shape: [keypoints, 2 or 3]")
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


def _pictures(path: Path, base: Path, settings: dict[str, Any]) -> Iterator[str]:
    """The pictures' names below the yaml's folder, of all its parts, each once."""
    root = base.resolve()
    home = PurePosixPath(str(settings.get("path") or "."))
    found: dict[str, None] = {}
    for part in _PARTS:
        stated = settings.get(part)
        for entry in stated if isinstance(stated, list) else [stated] if isinstance(stated, str) else []:
            for place in (base / home.name / str(entry), base / home / str(entry), base / str(entry)):
                if exists(place) and place.resolve().is_relative_to(root):
                    found.update(dict.fromkeys(_below(base, place)))
                    break
    if not found:
        raise DataError(f"{path}: its {', '.join(_PARTS)} name no folder of pictures beside it; keep them together")
    yield from found


def _below(base: Path, place: Path) -> list[str]:
    if place.is_dir():
        return sorted(p.relative_to(base).as_posix() for p in place.rglob("*") if p.suffix.lower() in _SUFFIXES)
    listed = [PurePosixPath(line.strip()) for line in read_text(place, 64 * _MOST_BYTES).split("\n") if line.strip()]
    outside = next((name for name in listed if name.is_absolute() or ".." in name.parts), None)
    if outside is not None:
        raise DataError(f"{place} names {outside}, outside of its folder; name pictures from the yaml's folder on")
    return [name.as_posix() for name in listed]


def _labels(base: Path, picture: str, count: int, each: int, wanted: int | None) -> Iterator[Labelled]:
    """The labelled things of one picture; of none, where it has no file of labels."""
    parts = PurePosixPath(picture).parts
    if "images" not in parts:
        raise DataError(f"{picture}: expected pictures in a folder called images, and labels in one called labels")
    last = len(parts) - 1 - parts[::-1].index("images")
    file = base.joinpath(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt")
    if not is_file(file):
        return
    width, height = _size(base / picture)
    scale = np.array([width, height], np.float64)
    for number, line in enumerate(read_text(file, _MOST_BYTES).splitlines(), start=1):
        cells = line.split()
        try:
            values = np.array(cells, np.float64)
        except ValueError:
            values = np.empty(0)
        if not cells:
            continue
        if len(values) != 5 + count * each or not np.isfinite(values).all():
            raise DataError(
                f"{file}, line {number}: expected a class, 4 numbers of a box, and {count} times {each} numbers"
            )
        if wanted is None or int(values[0]) == wanted:
            yield _thing(picture, values, scale, count, each)


def _thing(picture: str, values: np.ndarray, scale: np.ndarray, count: int, each: int) -> Labelled:
    middle, size = values[1:3] * scale, values[3:5] * scale
    x, y = middle - size / 2 - 0.5
    points = values[5:].reshape(count, each)
    absent = (points == 0).all(1)  # how a keypoint without a label is written
    seen = np.where(absent, 0, points[:, 2].clip(0, 2) if each == 3 else VISIBLE).astype(np.uint8)
    box = (float(x), float(y), float(size[0]), float(size[1])) if (size > 0).all() else None
    return Labelled(picture, points[:, :2] * scale - 0.5, seen, box)


def _size(picture: Path) -> tuple[int, int]:
    """Width and height of the upright picture, which is what labels are shares of."""
    try:
        with Image.open(picture) as image:
            turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
            return image.size[::-1] if turned else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{picture} cannot be read as a picture ({error})") from error


DATASET = Dataset("YOLO pose (yaml with kpt_shape)", matches, read=read)
