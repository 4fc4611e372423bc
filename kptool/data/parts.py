"""One set in several label files: its parts for training, validation and test, each with its own labels.

Parts are known by the names of the files (train.json, instances_val2017.json) or of the folders that hold them, as
Roboflow writes them (train/_annotations.coco.json, valid/_annotations.coco.json), or by what a person says.
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

ENDINGS = {".json", ".csv", ".tsv", ".xml", ".yaml", ".yml"}
_ANNOTATIONS = {"annotations", "annotation", "labels", "annos"}
_LOOKED_AT = 16


@dataclass(frozen=True)
class Part:
    """A label file with what it holds, and the folder of its pictures."""

    path: Path
    file: LabelFile
    folder: Path


def label_files(folder: Path) -> list[Path]:
    """The files that may be labels in a folder; where there are none, those in its folder annotations and those of parts."""
    own = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in ENDINGS and p.is_file()]
    below = [p for p in sorted(folder.iterdir()) if p.is_dir() and (p.name.lower() in _ANNOTATIONS or part_of(p.name))]
    return own or [p for place in below for p in sorted(place.iterdir()) if p.suffix.lower() in ENDINGS and p.is_file()]


def by_part(folder: Path, files: list[Path]) -> dict[str, Path]:
    """Label files of a folder by their parts of one set, "train" first; empty where they are not a set's parts."""
    named = [(part_of(p.stem) or part_of(p.parent.name if p.parent != folder else ""), p) for p in files]
    found = dict(named)
    whole = len(found) == len(files) > 1 and "train" in found and "" not in found
    return {part: found[part] for part in ("train", "val", "test") if part in found} if whole else {}


def files_of(path: Path, reader: Dataset) -> dict[str, Path]:
    """The label files at `path`: it, as "", or the parts of the set that a folder holds."""
    if not path.is_dir() or reader.matches(path):
        return {"": path}
    return by_part(path, [p for p in label_files(path) if reader.matches(p)])


def picture_folder(path: Path, file: LabelFile, images: Path | None) -> Path:
    """Where the pictures of a label file lie: in `images`, or beside the file, or beside its folder of annotations.

    Of these and the folders in them that bear the name of the file's part, as val2017 for person_val2017.json, the first
    that holds the pictures under the names that labels use; else the one to search.
    """
    own = path if path.is_dir() else path.parent
    bases = [own]
    if own.absolute().name.lower() in _ANNOTATIONS and not path.is_dir():
        bases.append(own.absolute().parent if own.name == "" else own.parent)
    bases = bases if images is None else [images]
    names = list(dict.fromkeys(thing.picture for thing in file.things))
    some = names[:: max(1, len(names) // _LOOKED_AT)]
    for folder in (place for base in bases for place in _places(path, base)):
        if some and all(lies_in(folder, name) for name in some):
            return folder
    beside = bases[-1] / "images"
    return beside if images is None and beside.is_dir() else bases[-1]


def _places(path: Path, base: Path) -> Iterator[Path]:
    """A folder, its folder images, and in both those of the same part as the label file, the same name first."""
    for place in (base, base / "images"):
        if place.is_dir():
            yield place
            below = [p for p in sorted(place.iterdir()) if p.is_dir() and part_of(p.name)]
            fitting = [p for p in below if part_of(p.name) == part_of(path.stem)]
            yield from sorted(fitting, key=lambda p: p.name not in path.stem)


def merged(parts: Mapping[str, Part], skipped: tuple[str, ...] = ()) -> LabelFile:
    """All parts as one, each thing in its own. A picture that several parts name is in the last of train, test, val.

    Raises DataError where parts have other keypoints than "train", or where nothing is left to train on.
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
                things.append(_moved(thing, place.relative_to(folder).as_posix(), order, part))
    if not any(thing.split == "train" for thing in things):
        raise DataError(
            f"{parts['val'].path} names all pictures of {first.path}; give the labels of others with --val-from"
        )
    twice = sum(len(each.file.things) for each in parts.values()) - len(things)
    told = {part: (*each.file.notes, *located[part].notes) for part, each in parts.items()}
    notes = (
        *(f"{parts[part].path.name}: {note}" for part, said in told.items() for note in said),
        *counted(twice, "{n} label{s} of pictures that several parts name {are} used for validation or test alone"),
        *skipped,
    )
    files = tuple(file for each in parts.values() for file in (each.file.files or (each.path,)))
    return LabelFile(first.file.names, things, first.file.flip_pairs, files, notes, folder)


def _located(part: Part) -> Located:
    """Where each thing's picture is, from the root on."""
    found = locate(part.path, [thing.picture for thing in part.file.things], part.folder, whole=False)
    return Located([place.absolute() for place in found.places], found.notes)


def _order(first: Part, part: Part) -> list[int]:
    """Where each keypoint of the set is in this part of it; -1 where the part does not have it."""
    strange = [name for name in part.file.names if name not in first.file.names]
    if strange:
        raise DataError(
            f"{part.path} has a keypoint {strange[0][:60]!r} and {first.path} none of that name; parts of one set have the same"
            " keypoints, so rename it"
        )
    numbers = {name: k for k, name in enumerate(part.file.names)}
    return [numbers.get(name, -1) for name in first.file.names]


def _moved(thing: Labelled, picture: str, order: list[int], part: str) -> Labelled:
    """The thing with its keypoints in another order, as one of a part."""
    known = np.array(order) >= 0
    points = np.where(known[:, None], thing.keypoints[order], np.nan)
    return replace(thing, picture=picture, keypoints=points, visibility=thing.visibility[order] * known, split=part)
