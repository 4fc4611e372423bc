"""Data sets in several label files: one each for training, validation and test.

The part is recognised by the name of the file (train.json, instances_val2017.json) or of its folder, as Roboflow writes
them (train/_annotations.coco.json, valid/_annotations.coco.json), or stated by the user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kptool.base.errors import DataError
from kptool.data.annotations import Dataset, LabelFile, Labelled
from kptool.data.lookup import Located, lies_in, locate
from kptool.data.notes import counted
from kptool.data.splits import part_of

ENDINGS = {".json", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".slp", ".mat"}
_ANNOTATIONS = {"annotations", "annotation", "labels", "annos", "annot"}
_SAMPLE = 16
"""Pictures looked up to decide whether a folder is the pictures' folder."""


@dataclass(frozen=True)
class Part:
    """A label file, its contents, and the folder of its pictures."""

    path: Path
    file: LabelFile
    folder: Path


def label_files(folder: Path) -> list[Path]:
    """The possible label files in a folder; if there are none, those in its folders for annotations and parts."""
    own = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in ENDINGS and p.is_file()]
    below = [p for p in sorted(folder.iterdir()) if p.is_dir() and (p.name.lower() in _ANNOTATIONS or part_of(p.name))]
    return own or [p for place in below for p in sorted(place.iterdir()) if p.suffix.lower() in ENDINGS and p.is_file()]


def by_part(folder: Path, files: list[Path]) -> dict[str, Path]:
    """The label files of a folder by part, "train" first; empty unless each is another part and one is for training."""
    named = [(part_of(p.stem) or part_of(p.parent.name if p.parent != folder else ""), p) for p in files]
    found = dict(named)
    whole = len(found) == len(files) > 1 and "train" in found and "" not in found
    return {part: found[part] for part in ("train", "val", "test") if part in found} if whole else {}


def files_of(path: Path, reader: Dataset) -> dict[str, Path]:
    """The label files at `path`, by part: a folder's parts, or `path` itself as part ""."""
    if not path.is_dir() or reader.matches(path):
        return {"": path}
    return by_part(path, [p for p in label_files(path) if reader.matches(p)])


def picture_folder(path: Path, file: LabelFile, images: Path | None) -> Path:
    """The folder of a label file's pictures: `images` if given, else the file's folder, or the one above `annotations`.

    Also tried are the folders in these that are named after the file's part, such as val2017 for person_val2017.json. The
    first in which the picture names resolve is returned; if none does, the folder to search.
    """
    own = path if path.is_dir() else path.parent
    bases = [own]
    if own.absolute().name.lower() in _ANNOTATIONS and not path.is_dir():
        bases.append(own.absolute().parent if own.name == "" else own.parent)
    bases = bases if images is None else [images]
    names = list(dict.fromkeys(thing.picture for thing in file.things))
    some = names[:: max(1, len(names) // _SAMPLE)]
    for folder in (place for base in bases for place in _places(path, base)):
        if some and all(lies_in(folder, name) for name in some):
            return folder
    beside = bases[-1] / "images"
    return beside if images is None and beside.is_dir() else bases[-1]


def _places(path: Path, base: Path) -> Iterator[Path]:
    """`base` and `base`/images, each followed by its folders of the label file's part, equal names first."""
    for place in (base, base / "images"):
        if place.is_dir():
            yield place
            below = [p for p in sorted(place.iterdir()) if p.is_dir() and part_of(p.name)]
            fitting = [p for p in below if part_of(p.name) == part_of(path.stem)]
            yield from sorted(fitting, key=lambda p: p.name not in path.stem)


def merged(parts: Mapping[str, Part], skipped: tuple[str, ...] = ()) -> LabelFile:
    """All parts as one label file; each instance states its split. skipped: further notes.

    Labels of a picture that several parts name are kept for val, else for test. Raises DataError if a part has keypoints
    that "train" lacks, or if nothing is left to train on.
    """
    first = parts["train"]
    located = {part: _located(each) for part, each in parts.items()}
    folder = Path(os.path.commonpath([place.parent for found in located.values() for place in found.places]))
    owner = {place: p for p in ("train", "test", "val") if p in located for place in located[p].places}
    things: list[Labelled] = []
    for part, each in parts.items():
        order = _order(first, each)
        for thing, place in zip(each.file.things, located[part].places, strict=True):
            if owner[place] == part:
                things.append(_reordered(thing, place.relative_to(folder).as_posix(), order, part))
    if not any(thing.split == "train" for thing in things):
        raise DataError(
            f"{parts['val'].path} names all pictures of {first.path}; give the labels of others with --val-from"
        )
    crowds = [
        replace(area, picture=place.relative_to(folder).as_posix())
        for part, each in parts.items()
        for area, place in _areas(each.file, located[part])
        if owner[place] == part
    ]
    twice = sum(len(each.file.things) for each in parts.values()) - len(things)
    notes_of = {part: (*each.file.notes, *located[part].notes) for part, each in parts.items()}
    notes = (
        *(f"{parts[part].path.name}: {note}" for part, its in notes_of.items() for note in its),
        *counted(twice, "{n} label{s} of pictures that several parts name {are} used for validation or test alone"),
        *counted(
            sum(len(each.file.empty) for each in parts.values()), "{n} picture{s} without an instance {are} not used"
        ),
        *skipped,
    )
    files = tuple(file for each in parts.values() for file in (each.file.files or (each.path,)))
    return replace(first.file, things=things, files=files, notes=notes, folder=folder, empty=(), crowds=crowds)


def _areas(file: LabelFile, located: Located) -> list[tuple[Labelled, Path]]:
    """The areas of crowds, each with its picture, in pictures that show instances too."""
    places = {thing.picture: place for thing, place in zip(file.things, located.places, strict=True)}
    return [(area, places[area.picture]) for area in file.crowds if area.picture in places]


def _located(part: Part) -> Located:
    """The absolute path of each instance's picture."""
    found = locate(part.path, [thing.picture for thing in part.file.things], part.folder, whole=False)
    return Located([place.absolute() for place in found.places], found.notes)


def _order(first: Part, part: Part) -> list[int]:
    """The index in `part` of each keypoint of `first`; -1 if the part lacks it."""
    strange = [name for name in part.file.names if name not in first.file.names]
    if strange:
        raise DataError(
            f"{part.path} has a keypoint {strange[0][:60]!r} and {first.path} none of that name; parts of one set have the same"
            " keypoints, so rename it"
        )
    numbers = {name: k for k, name in enumerate(part.file.names)}
    return [numbers.get(name, -1) for name in first.file.names]


def _reordered(thing: Labelled, picture: str, order: list[int], part: str) -> Labelled:
    """The instance with its keypoints in `order`, another picture name, and its split."""
    known = np.array(order) >= 0
    points = np.where(known[:, None], thing.keypoints[order], np.nan)
    return replace(thing, picture=picture, keypoints=points, visibility=thing.visibility[order] * known, split=part)
