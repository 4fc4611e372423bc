"""Labels that exist already, in any format that kptool reads, opened to be corrected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kptool.base.errors import DataError
from kptool.base.geometry import to_edges
from kptool.data.annotations import LabelFile, Labelled
from kptool.data.labels import locate_pictures
from kptool.data.sources import Opening, find_reader, read_labels
from kptool.label.entries import Entry, Instance, check
from kptool.label.labels import Labels
from kptool.label.project import Project


def read(path: Path, folder: Path) -> tuple[LabelFile, list[Path]]:
    """A label file whose pictures are in `folder`, and the picture of each of its instances. Raises DataError as the format's
    reader does, and for a source that holds its pictures itself."""
    path, reader = find_reader(path)
    if reader.open is not None:
        raise DataError(
            f"{path} holds its pictures itself; write them to a folder with `kptool convert`, and label that"
        )
    file, found = read_labels(path, reader, Opening(images=folder))
    located, places = locate_pictures(path, file, found)
    return replace(located, notes=file.notes), list(places)  # pictures without labels are what is to be labelled


def add(project: Project, file: LabelFile, places: list[Path]) -> list[str]:
    """Take over the labels of pictures that have none yet; predictions become proposals.

    Returns one sentence for each kind of content that is not used, with counts. Raises DataError for values out of range.
    """
    labels, root = project.labels, project.labels.folder.resolve()
    known, outside, kept, other = set(project.names), 0, 0, 0
    entries: dict[str, list[Instance]] = {}
    for thing, place in zip(file.things, places, strict=True):
        name = place.resolve().relative_to(root).as_posix() if place.resolve().is_relative_to(root) else ""
        if name not in known:
            outside += 1
        elif name in labels.entries:
            kept += 1
        elif thing.size is not None and thing.size != project.size(
            name
        ):  # the picture was resized, or turned by its EXIF
            other += 1
        else:
            entries.setdefault(name, []).append(_instance(thing, bool(file.predicted_by)))
    for name, instances in entries.items():
        entry = Entry(tuple(instances), done=not file.predicted_by)
        check(entry, len(labels.points))
        _put(labels, name, project.size(name), entry)
    if entries:
        labels.save()
    notes = list(file.notes)
    if outside:
        notes.append(f"{outside} instances are in pictures outside {labels.folder}, and are not used")
    if other:
        notes.append(
            f"{other} instances are of pictures of another size than the files in {labels.folder}, and are not used"
        )
    if kept:
        notes.append(f"{kept} instances are in pictures that are labelled here already, and are not used")
    return notes


def _put(labels: Labels, name: str, size: tuple[int, int], entry: Entry) -> None:
    labels.entries[name], labels.sizes[name] = entry, size


def _instance(thing: Labelled, predicted: bool) -> Instance:
    placed = zip(thing.keypoints.tolist(), thing.visibility.tolist(), strict=True)
    points = tuple((float(x), float(y), int(v)) if v else (0.0, 0.0, 0) for (x, y), v in placed)
    box = None
    if thing.box is not None and min(thing.box[2:]) > 0:
        x, y, width, height = map(float, thing.box)
        box = (to_edges(x), to_edges(y), width, height)
    return Instance(points, box, predicted)
