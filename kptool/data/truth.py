"""The labelled instances of whole pictures, as an evaluation compares predictions with them.

label file or source -> labelled_pictures -> LabelledPicture
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Box, apply_affine, invert_affine
from kptool.data import images
from kptool.data.annotations import Labelled, Samples, Source
from kptool.data.boxes import boxes
from kptool.data.labels import locate_pictures, read_picture
from kptool.data.notes import counted
from kptool.data.pixel_check import checked
from kptool.data.scenes import beside_instances, by_picture
from kptool.data.sources import Opening, find_reader, read_labels

BOX_SHARE = 0.53
"""The mean ratio of a person's segment to its box in COCO, by which an area is estimated from a box."""
_SAME = 1e-3
"""Relative difference up to which a stated area is the box's."""


@dataclass(frozen=True)
class LabelledPicture:
    """A picture with its n labelled instances and areas of crowds, of K keypoints.

    name: its file, as the labels name it. points: float64 (n, K, 2), pixels, 0 without a label. visibility: uint8 (n, K).
    boxes: float64 (n, 4), left and top edge, width, height. areas: float64 (n,), square pixels. crowd: bool (n,), areas
    with several instances. rows: int64 (n,), each instance's row in the source, -1 for crowds. read: decodes the picture.
    image: its id in the labels, if it has one.
    """

    name: str
    points: NDArray[np.float64]
    visibility: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    rows: NDArray[np.int64]
    read: Callable[[], images.DecodedImage]
    image: int | str | None = None

    def take(self, order: NDArray[np.int64]) -> LabelledPicture:
        """The picture with its instances and areas in another order."""
        kept = ("points", "visibility", "boxes", "areas", "crowd", "rows")
        return replace(self, **{name: getattr(self, name)[order] for name in kept})

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """The instances (n,) that count neither way: crowds, and those without a labelled keypoint."""
        return self.crowd | ~(self.visibility > 0).any(1)


@dataclass(frozen=True)
class LabelledPictures:
    """The pictures of a source. names: the K keypoints. area_from: how areas were found, in words. files: of the labels, none
    if they are made up. category: what an instance is, if the labels name one thing."""

    names: tuple[str, ...]
    pictures: Sequence[LabelledPicture]
    area_from: str
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    category: str | None = None


def labelled_pictures(path: Path, opening: Opening, share: float | None = None) -> LabelledPictures:
    """The pictures that the labels at `path` are about, of any format that kptool reads, in the labels' order. Those of
    COCO's json are in the order of image ids, and instances and crowds in that of annotations, as ties rest on these orders.

    The area of an instance is the one stated, unless that is its box's; else `BOX_SHARE` of its box. With `share`, it is
    this share of the box in any case. Raises DataError for bad input.
    """
    path, reader = find_reader(path)
    if reader.open is not None:
        return _of_source(checked(reader.open(path)), share)
    file, folder = read_labels(path, reader, opening)
    several = {thing.picture for thing in file.things}
    alone = [thing for thing in file.crowds if thing.picture not in several]
    known = [thing.picture for thing in file.things]
    file, places = locate_pictures(path, replace(file, empty=(*file.empty, *alone)), folder)
    place_of = dict(zip(known, places, strict=True))
    others = beside_instances(file, folder, place_of)
    table = _Table.of(file.things, places, others, share)
    notes = (*file.notes, *table.notes)
    return LabelledPictures(
        file.names, table.pictures(), table.area_from, file.files or (path,), notes, opening.category or file.category
    )


def _of_source(source: Source, share: float | None) -> LabelledPictures:
    """The images of a source that contains them, each with its instance."""
    things: list[Labelled] = []
    reads: list[Callable[[], images.DecodedImage]] = []
    for samples in source.blocks():
        for i, row in enumerate(samples.rows.tolist()):
            name = f"{row:06d}.png" if source.pictures is None else source.pictures[row]
            things.append(Labelled(name, _source_points(samples, i), samples.visibility[i]))
            reads.append(partial(_decoded, samples.images[i]))
    places = [Path(f"{row}") for row in range(len(things))]
    table = _Table.of(things, places, [], share)
    pictures = [replace(each, read=read) for each, read in zip(table.pictures(), reads, strict=True)]
    notes = (*source.notes, *table.notes)
    return LabelledPictures(source.skeleton.names, pictures, table.area_from, source.files, notes, source.category)


def _source_points(samples: Samples, i: int) -> NDArray[np.float64]:
    points = samples.keypoints[i].astype(np.float64)
    return points if samples.affines is None else np.asarray(apply_affine(invert_affine(samples.affines[i]), points))


def _decoded(image: NDArray[np.uint8]) -> images.DecodedImage:
    return images.as_pixels(image if image.ndim == 2 else np.ascontiguousarray(np.moveaxis(image, 0, -1)))


@dataclass(frozen=True)
class _Table:
    """All instances with their boxes and areas, and what else is known of the pictures: crowds, and that there is nothing."""

    things: Sequence[Labelled]
    places: Sequence[Path]
    others: Sequence[tuple[Path, Labelled]]
    edges: NDArray[np.float64]
    areas: NDArray[np.float64]
    area_from: str
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        things: Sequence[Labelled],
        places: Sequence[Path],
        others: Sequence[tuple[Path, Labelled]],
        share: float | None,
    ) -> _Table:
        made = boxes(things, places)
        edges = made.edges.copy()
        for row in np.flatnonzero(made.stated).tolist():
            edges[row] = things[row].box  # not enlarged to hold keypoints, as it says how large the instance is
        whole = edges[:, 2] * edges[:, 3]
        stated = np.array([np.nan if thing.area is None else thing.area for thing in things], np.float64)
        with np.errstate(invalid="ignore"):
            boxed = np.abs(stated - whole) <= _SAME * whole
        own = np.isfinite(stated) & ~boxed & (share is None)
        part = BOX_SHARE if share is None else share
        areas = np.where(own, stated, part * whole)
        notes = counted(
            int(boxed.sum()) if share is None else 0,
            "{n} stated area{s} {are} of the box, of which {part:g} {are} taken; --area-of-box 1 takes all of it",
            part=part,
        )
        labelled = np.isfinite(edges).all(1) & made.labelled
        words = _area_words(int((own & labelled).sum()), int(labelled.sum()), part)
        derived = counted(made.made, "{n} box{es} {are} made from keypoints")
        lost = counted(
            int((~np.isfinite(edges).all(1)).sum()), "{n} instance{s} without box and keypoints {are} not used"
        )
        return cls(things, places, others, edges, areas, words, (*made.notes, *derived, *lost, *notes))

    def pictures(self) -> list[LabelledPicture]:
        rows, beside = by_picture(self.places, self.others)
        found = [self._picture(place, rows.get(place, []), beside.get(place, [])) for place in {**rows, **beside}]
        known = [each.image for each in found if isinstance(each.image, int)]
        return sorted(found, key=lambda each: each.image) if len(set(known)) == len(found) else found  # type: ignore[arg-type, return-value]

    def _picture(self, place: Path, rows: list[int], beside: list[Labelled]) -> LabelledPicture:
        first = self.things[rows[0]] if rows else beside[0]
        rows = [row for row in rows if np.isfinite(self.edges[row]).all()]
        areas = [thing for thing in beside if thing.box is not None]
        crowds = [thing.box for thing in areas if thing.box is not None]
        instances = [self.things[row] for row in rows]
        count, keypoints = len(rows) + len(crowds), len(first.visibility)
        points, seen = np.zeros((count, keypoints, 2)), np.zeros((count, keypoints), np.uint8)
        for number, thing in enumerate(instances):
            seen[number] = thing.visibility
            points[number] = np.where(thing.visibility[:, None] > 0, thing.keypoints, 0)
        edges = _stacked(self.edges[rows], crowds)
        found = LabelledPicture(
            first.picture,
            points,
            seen,
            edges,
            np.array([*self.areas[rows], *(_area(thing) for thing in areas)]),
            np.arange(count) >= len(rows),
            np.array([*rows, *[-1] * len(crowds)], np.int64),
            partial(read_picture, first, place),
            first.image,
        )
        numbers = [thing.number for thing in (*instances, *areas) if thing.number is not None]
        return found.take(np.argsort(numbers, kind="stable")) if len(numbers) == count else found


def _area(crowd: Labelled) -> float:
    assert crowd.box is not None
    return crowd.box[2] * crowd.box[3] if crowd.area is None else crowd.area


def _stacked(edges: NDArray[np.float64], crowds: Sequence[Box]) -> NDArray[np.float64]:
    return np.concatenate([edges, np.array(crowds, np.float64).reshape(-1, 4)])


def _area_words(own: int, count: int, share: float) -> str:
    """How the areas of `count` instances were found, `own` of which are stated."""
    if own == count:
        return "as labelled"
    of_box = f"{share:g} of the box"
    return of_box if not own else f"as labelled for {own} instances, {of_box} for {count - own}"
