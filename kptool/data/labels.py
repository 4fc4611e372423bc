"""From what a label file says to images of one size: finds the pictures, reads them, and cuts out each labelled thing.

LabelFile (datasets/) -> source(view) -> Samples
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.base.geometry import Size, apply_affine, fit_box, image_box
from kptool.base.skeleton import Skeleton
from kptool.data import images, pixel_check
from kptool.data.annotations import ANY_SUFFIX, LabelFile, Labelled, Samples, Source
from kptool.data.boxes import Boxes, boxes
from kptool.data.flips import FlipPairs, infer
from kptool.data.lookup import locate
from kptool.data.splits import own_split

Cut = Callable[
    [Labelled, Path, int],
    tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], Size, tuple[str, ...]],
]
CROPS = ("auto", "box", "picture")
_BLOCK, _READERS, _LOOKED_AT = 32, 2, 8
_MOST_BEYOND = 3
_USUAL_SIZE, _LEAST_SIDE, _MOST_KEPT = (128, 128), 8, 512


@dataclass(frozen=True)
class View:
    """How pictures become images: their `size`, None where the pictures' own may do (see `_size`), 1 channel (grey), 3
    (colour) or None (as the pictures are), and `crop`.

    "box" cuts out the labelled thing's box (one made from its keypoints, where there is none: `kptool.data.boxes`) with
    `margin`, a share of the box, on every side; "picture" takes all of the picture; "auto" the box where at least half of
    the things have one, or where a picture shows several things. Neither changes the aspect: what lies beyond the picture
    repeats its edge.
    """

    size: Size | None = None
    channels: int | None = None
    crop: str = "auto"
    margin: float = 0.15

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise ConfigError(f"--crop must be one of {', '.join(CROPS)}; got {self.crop!r}")
        if not 0 <= self.margin <= 2:
            raise ConfigError(f"--margin is a share of the box, 0 to 2; got {self.margin}")
        if self.size is not None and not all(_LEAST_SIDE <= side <= 4096 for side in self.size):
            raise ConfigError(f"--size must be 8 to 4096 pixels; got {self.size[0]},{self.size[1]}")


def source(path: Path, file: LabelFile, folder: Path, view: View, flips: FlipPairs | None = None) -> Source:
    """The labelled things of `file`, whose pictures lie in `folder`, as images of `view`.

    `flips` are what a person said of left and right; else they are the file's, or inferred. Raises DataError for a
    picture that is missing, and for labels that make no sense.
    """
    file, places = located(path, file, folder)
    things = file.things
    points = np.stack([thing.keypoints for thing in things]).astype(np.float64)
    visibility = np.stack([thing.visibility for thing in things])
    flips = flips or given(file) or infer(file.names, points, visibility)
    cuts = boxes(things, places)
    boxed, how = _cropping(path, view, cuts, len(set(places)) < len(places))
    channels = view.channels or _channels(places)
    size = view.size or _size(places, boxed)
    files = {place: os.path.realpath(place) for place in places}  # one file may be there under several names, by links
    belonging = [thing.group or files[place] for thing, place in zip(things, places, strict=True)]
    numbers = {each: number for number, each in enumerate(dict.fromkeys(belonging))}
    cut = partial(_cut, path=path, view=view, size=size, channels=channels, boxes=cuts.edges, boxed=boxed)
    return Source(
        label=str(path),
        skeleton=Skeleton(file.names, flips.pairs, flips.mirror),
        size=size,
        channels=channels,
        blocks=partial(_blocks, things, places, cut),
        part=lambda first, step: _blocks(things, places, cut, first, step),
        files=file.files or (path,),
        total=len(things),
        complete=False,
        flip_note=flips.why,
        pictures=[thing.picture for thing in things],
        originals=places,
        groups=np.array([numbers[each] for each in belonging], dtype=np.int64),
        margin=view.margin if boxed else None,
        notes=(*file.notes, *how),
        split=own_split([thing.split for thing in things]),
    )


def located(path: Path, file: LabelFile, folder: Path) -> tuple[LabelFile, list[Path]]:
    """The file of each thing's picture, and the labels with notes on how these were found and whether labels fit them.

    Raises DataError for a picture that is missing or not certain, and for labels that cannot be of their pictures.
    """
    if not file.things:
        raise DataError(f"{path} holds no labelled pictures; label some, or export again with their keypoints")
    found = locate(path, [thing.picture for thing in file.things], folder)
    things = [
        replace(thing, picture=place.relative_to(folder).as_posix()) if thing.picture.endswith(ANY_SUFFIX) else thing
        for thing, place in zip(file.things, found.places, strict=True)
    ]
    file = replace(file, things=things)
    odd = pixel_check.check(path, file, found.places)
    return replace(file, notes=(*file.notes, *found.notes, *odd)), found.places


def given(file: LabelFile) -> FlipPairs | None:
    """What the file itself states of left and right."""
    if file.flip_pairs is None:
        return None
    return FlipPairs(file.flip_pairs, True, f"{len(file.flip_pairs)} left/right pairs, stated by the file")


def read_picture(thing: Labelled, place: Path) -> images.DecodedImage:
    """The thing's picture, the way round that its labels are for. Raises DataError where the sizes contradict."""
    decoded = images.decode(place)
    picture = decoded.pixels
    if thing.size is None or picture.shape[:2] == thing.size:
        return decoded
    raw = images.decode(place, upright=False)
    if raw.pixels.shape[:2] == thing.size:
        return raw
    raise DataError(
        f"{place} has {picture.shape[1]}x{picture.shape[0]} pixels and its labels are for {thing.size[1]}x{thing.size[0]};"
        " give the pictures that were labelled"
    )


def _cropping(path: Path, view: View, cuts: Boxes, several: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether things are cut out by boxes, and what to say of that; `several` things share a picture."""
    stated, made = int((cuts.stated & cuts.labelled).sum()), cuts.made
    possible = not made or cuts.usual.any()
    if view.crop == "box" and not possible:
        raise ConfigError(
            f"{path}: --crop box has no box to cut out, because a single keypoint tells nothing of a thing's size; add"
            " boxes, or take --crop picture"
        )
    wanted = several or (stated > 0 and made <= stated)
    if view.crop == "picture" or (view.crop == "auto" and not (possible and wanted)):
        unused = f", the boxes of {stated} of {stated + made} things are not used" if stated else ""
        return False, (*cuts.notes, f"pictures are taken whole{unused}")
    margin = f"with a margin of {view.margin:g} of the box on every side"
    if not made:
        return True, (*cuts.notes, f"things are cut out by their boxes, {margin}")
    width, height = cuts.usual
    least = f"at least {width:.0f}x{height:.0f} pixels where few of a thing's keypoints are labelled"
    who = "things have no boxes and are cut out by boxes made from their keypoints"
    if stated:
        who = (
            f"things are cut out by their boxes, {made} of {stated + made} without one by a box made from its keypoints"
        )
    return True, (*cuts.notes, f"{who}, {least}, {margin}")


def _size(places: Sequence[Path], boxed: bool) -> Size:
    """The pictures' own size where they are taken whole, all of one size, and small enough to train on; else 128."""
    if boxed:
        return _USUAL_SIZE
    one = images.size(places[0])
    if one is None or min(one) < _LEAST_SIDE or max(one) > _MOST_KEPT:
        return _USUAL_SIZE
    return one if all(images.size(place) == one for place in dict.fromkeys(places)) else _USUAL_SIZE


def _channels(places: Sequence[Path]) -> int:
    """3 where one of the first pictures is in colour, else 1."""
    for place in list(dict.fromkeys(places))[:_LOOKED_AT]:
        picture = images.read(place)
        if picture.ndim == 3 and np.ptp(picture, axis=2).max() > 0:
            return 3
    return 1


def _blocks(
    things: Sequence[Labelled], places: Sequence[Path], cut: Cut, first: int = 0, step: int = 1
) -> Iterator[Samples]:
    """Blocks of things, pictures read beside each other; memory holds one block."""
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(first * _BLOCK, len(things), step * _BLOCK):
            rows = range(start, min(start + _BLOCK, len(things)))
            parts = list(pool.map(cut, [things[i] for i in rows], [places[i] for i in rows], rows))
            *arrays, remarks = zip(*parts, strict=True)
            pixels, points, affines, sizes = (np.stack(part) for part in arrays)
            visibility = np.stack([things[i].visibility for i in rows])
            yield Samples(
                pixels,
                np.where(visibility[..., None] > 0, points, 0).astype(np.float32),
                visibility,
                np.array(rows, dtype=np.int64),
                affines,
                sizes.astype(np.int32),
                remarks,
            )


def _cut(
    thing: Labelled,
    place: Path,
    row: int,
    *,
    path: Path,
    view: View,
    size: Size,
    channels: int,
    boxes: NDArray[np.float64],
    boxed: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], Size, tuple[str, ...]]:
    """Image, keypoints in its pixels, the map to them, the picture's size, and what there is to say of how it was read."""
    decoded = read_picture(thing, place)
    picture = decoded.pixels
    whole = image_box((picture.shape[0], picture.shape[1]))
    x, y, width, height = boxes[row].tolist()
    box = whole if np.isnan(x) else (x, y, width, height)
    if max(abs(v) for v in box) > _MOST_BEYOND * max(whole):
        raise DataError(
            f"{path}, row {row}: labels or box of {thing.picture} lie far outside its {picture.shape[1]}x{picture.shape[0]}"
            f" pixels, at {', '.join(f'{v:.0f}' for v in box[:2])}; correct them"
        )
    affine = fit_box(box, size, view.margin) if boxed else fit_box(whole, size)
    points = np.asarray(apply_affine(affine, thing.keypoints), np.float64)
    image = images.crop(picture, affine, size, channels)
    return image, points, affine, (picture.shape[0], picture.shape[1]), decoded.remarks
