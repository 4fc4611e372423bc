"""The JSON that `kptool predict --json` prints, so that people can correct predictions in a labelling tool.

Coordinates are kptool's own: pixels of the picture, an integer is a pixel's centre. Pictures and videos are looked for below
the JSON's folder, the current folder, or --images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kptool.base.errors import DataError
from kptool.base.geometry import Box, Size
from kptool.base.skeleton import UNLABELLED, VISIBLE
from kptool.data import unpacked, video
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import json_kind, values
from kptool.data.lookup import lies_in, locate
from kptool.data.notes import counted
from kptool.system.text import read_json


@dataclass(frozen=True)
class _Picture:
    """A picture or video frame, and its instances as the document has them. name: of the picture, or of the video."""

    where: str
    name: str
    frame: int | None
    size: Size | None
    instances: Sequence[Mapping[str, Any]]


def matches(path: Path) -> bool:
    """Whether `path` is the JSON of predictions that kptool prints."""
    return json_kind.kind(path) == json_kind.PREDICTIONS


def read(path: Path, category: str | None = None) -> LabelFile:
    """All predicted instances, and the pictures without any. Raises DataError, naming the picture, for invalid ones."""
    return _read(path, category, None)


def read_apart(path: Path, category: str | None, images: Path) -> LabelFile:
    """As `read`, with the pictures and videos below the folder `images`."""
    return _read(path, category, images)


def _read(path: Path, category: str | None, images: Path | None) -> LabelFile:
    if category is not None:
        raise DataError(f"{path}: predictions have no categories, so leave --category {category} out")
    document = values.mapping(read_json(path))
    pictures = [_picture(path, stated) for stated in values.objects(str(path), "images", document.get("images"))]
    found = [point.get("name") for one in pictures for each in one.instances for point in _points(one, each)]
    names = tuple(dict.fromkeys(str(name) for name in found))
    if not names:
        raise DataError(f"{path} holds no predictions, as nothing was found in its {len(pictures)} pictures")
    bounded(path, names, len(pictures) + sum(len(one.instances) for one in pictures))
    folder, files = _files(path, pictures, images)
    things: list[Labelled] = []
    empty: list[Labelled] = []
    for one, name in zip(pictures, files, strict=True):
        things += [_instance(names, one, name, each) for each in one.instances]
        if not one.instances:
            nothing = np.full((len(names), 2), np.nan), np.zeros(len(names), np.uint8)
            empty.append(Labelled(name, *nothing, size=one.size, group=_group(one)))
    model, failed = str(document.get("model") or "a model"), document.get("failed")
    notes = (
        f"these are predictions by {model}, not labels; correct them before you train with them",
        *counted(len(failed) if isinstance(failed, list) else 0, "{n} picture{s} could not be read and {are} not used"),
    )
    kind = document.get("category")
    return LabelFile(
        names,
        things,
        None,
        (path,),
        notes,
        folder,
        category=kind if isinstance(kind, str) and kind else None,
        predicted_by=model,
        empty=tuple(empty),
    )


def _picture(path: Path, stated: Mapping[str, Any]) -> _Picture:
    """One picture of the document. Frames of videos are called VIDEO#NUMBER."""
    name = str(stated.get("file") or "")
    where = f"{path}, picture {name[:200]!r}"
    film, _, number = name.rpartition("#")
    frame = int(number) if video.is_video(film) and number.isascii() and number.isdigit() else None
    instances = values.objects(where, "instances", stated.get("instances", stated.get("faces")))
    size = values.size(stated.get("height"), stated.get("width"))
    return _Picture(where, name if frame is None else film, frame, size, instances)


def _points(one: _Picture, instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    return values.objects(one.where, "keypoints", instance.get("keypoints"))


def _instance(names: Sequence[str], one: _Picture, picture: str, instance: Mapping[str, Any]) -> Labelled:
    """An instance with its keypoints in the order of `names`; those without a place are unlabelled."""
    points, scores = np.full((len(names), 2), np.nan), np.full(len(names), np.nan)
    for point in _points(one, instance):
        k = names.index(str(point.get("name")))
        if point.get("x") is not None or point.get("y") is not None:
            points[k] = values.numbers(one.where, f"x and y of {names[k][:60]}", [point.get("x"), point.get("y")], 2)
        if point.get("score") is not None:
            scores[k] = values.numbers(one.where, f"the score of {names[k][:60]}", [point["score"]], 1)[0]
    seen = np.isfinite(points[:, 0])
    known = scores[seen & np.isfinite(scores)]
    return Labelled(
        picture,
        points,
        np.where(seen, VISIBLE, UNLABELLED).astype(np.uint8),
        _box(one, instance),
        one.size,
        group=_group(one),
        score=float(known.mean()) if len(known) else None,
        scores=scores,
    )


def _box(one: _Picture, instance: Mapping[str, Any]) -> Box | None:
    """The box of an instance, which is in the coordinates of its keypoints; None if it has none."""
    if instance.get("box") is None:
        return None
    x, y, width, height = values.numbers(one.where, "box", instance["box"], 4)
    return (x, y, width, height) if min(width, height) > 0 else None


def _group(one: _Picture) -> str | None:
    return None if one.frame is None else one.name


def _files(path: Path, pictures: Sequence[_Picture], images: Path | None) -> tuple[Path | None, list[str]]:
    """The folder of the pictures, None if it is to be found as usual, and each picture's name in it."""
    films = {one.name: dict[int, None]() for one in pictures if one.frame is not None}
    if not films:
        names = [one.name for one in pictures]
        if images is None:
            return _folder(path, names), names
        places = locate(path, names, images, whole=False).places
        return images, [place.relative_to(images).as_posix() for place in places]
    if any(one.frame is None for one in pictures):
        raise DataError(
            f"{path} holds predictions for pictures and for videos, which kptool does not read together; predict them apart"
        )
    for one in pictures:
        films[one.name][one.frame or 0] = None
    base = images or _folder(path, list(films)) or path.parent
    shelf = unpacked.shelf(str(path.absolute()))
    frames: dict[tuple[str, int], str] = {}
    for number, (name, wanted) in enumerate(films.items()):
        film = locate(path, [name], base, whole=False).places[0]
        stem = PurePosixPath(name.replace("\\", "/")).stem
        folder = shelf / (stem if len(films) == 1 else f"{number:03d}-{stem}")
        for frame, place in unpacked.frames_of_video(film, list(wanted), folder).items():
            frames[name, frame] = place.relative_to(shelf).as_posix()
    return shelf, [frames[one.name, one.frame or 0] for one in pictures]


def _folder(path: Path, names: Sequence[str]) -> Path | None:
    """The current folder if all names are of files in it, as they are when it is where `kptool predict` ran; else None.

    Names that lead out of it are not followed, as no label file's are: --images says where the pictures are.
    """
    inside = [name for name in names if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts]
    here = Path()
    return here if len(inside) == len(names) and all(lies_in(here, name) for name in names) else None


DATASET = Dataset("kptool's predictions (predict --json)", matches, read=read, read_apart=read_apart)
