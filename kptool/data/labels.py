"""Turns a label file into a source of equally sized images: locates and reads the pictures, crops each labelled instance.

LabelFile (datasets/) -> source(view) -> Samples
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.base.face68 import is_face
from kptool.base.geometry import Size, apply_affine, fit_box, image_box
from kptool.base.skeleton import Skeleton
from kptool.data import images, pixel_check, sizing
from kptool.data.annotations import ANY_SUFFIX, LabelFile, Labelled, Samples, Source
from kptool.data.boxes import Boxes, boxes
from kptool.data.flips import FlipPairs, infer
from kptool.data.lookup import locate
from kptool.data.notes import counted
from kptool.data.scenes import FILLS, Extent, Scenes
from kptool.data.splits import own_split
from kptool.system.processors import READERS
from kptool.system.text import is_file

CROPS = ("auto", "box", "picture")
_BLOCK = 32
_COLOUR_SAMPLE = 8
"""Pictures that decide whether the data set is in colour."""
_MOST_BEYOND = 3
"""Boxes may reach beyond a picture by this many times its larger side."""
_LEAST_SIDE = 8
"""Smallest side of an image, pixels."""
_WHOLE = 0.9
"""Share of a picture's width or height from which a box is the picture itself."""


@dataclass(frozen=True)
class View:
    """How pictures become images of one size.

    size: (H, W), None for one that suits the instances, see `kptool.data.sizing`. channels: 1 (grey), 3 (RGB) or None (as
    the pictures are). crop: "box" crops to each instance's box (stated, or derived from its keypoints, see
    `kptool.data.boxes`); "picture" takes the whole picture; "auto" takes the box if a picture shows several instances, if
    at least half of them have a box that is not the whole picture, or if they take less than 60 % of the sides of large
    pictures. margin: added to the box on every side, as a share of the box. The aspect ratio is kept; beyond the picture
    its edge pixels are repeated. Raises ConfigError for values out of range.
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


class _Crop(NamedTuple):
    """One instance as an image: uint8 `image`, its keypoints (K, 2) and the 2x3 affine map from the picture to it; the
    picture's size (H, W) and the remarks on how it was decoded."""

    image: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    affine: NDArray[np.float64]
    size: Size
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Cropper:
    """Reads and crops instances of the label file `path`.

    boxes: (n, 4), NaN where an instance has none. boxed: whether to crop to them rather than take whole pictures.
    """

    path: Path
    size: Size
    channels: int
    boxes: NDArray[np.float64]
    boxed: bool
    margin: float

    def __call__(self, thing: Labelled, place: Path, row: int) -> _Crop:
        """The crop of an instance whose picture is at `place`. Raises DataError if its box lies far outside."""
        decoded = read_picture(thing, place)
        picture = decoded.pixels
        height, width = picture.shape[:2]
        whole = image_box((height, width))
        left, top, *sides = self.boxes[row].tolist()
        box = whole if np.isnan(left) else (left, top, sides[0], sides[1])
        if max(abs(v) for v in box) > _MOST_BEYOND * max(whole):
            raise DataError(
                f"{self.path}, row {row}: labels or box of {thing.picture} lie far outside its {width}x{height} pixels, at"
                f" {', '.join(f'{v:.0f}' for v in box[:2])}; correct them"
            )
        affine = fit_box(box, self.size, self.margin) if self.boxed else fit_box(whole, self.size)
        points = np.asarray(apply_affine(affine, thing.keypoints), np.float64)
        image = images.crop(picture, affine, self.size, self.channels)
        return _Crop(image, points, affine, (height, width), decoded.remarks)


def source(path: Path, file: LabelFile, folder: Path, view: View, flips: FlipPairs | None = None) -> Source:
    """The labelled instances of `file`, whose pictures are in `folder`, as a source of images as `view` asks.

    path: the label file, named in messages. flips: the user's flip pairs; by default the file's, else inferred. Raises
    DataError for missing pictures and for labels that do not fit their pictures.
    """
    file, places = locate_pictures(path, file, folder)
    things = file.things
    flips = flips or flips_of(file)
    cuts = boxes(things, places)
    several, extent = len(set(places)) < len(places), Extent.of(cuts, places)
    boxed, how = _cropping(path, view, cuts, several, extent)
    channels = view.channels or _channels(places)
    size = view.size or (
        sizing.of_boxes(cuts.edges, view.margin) if boxed else sizing.of_pictures(extent, _common(places), len(places))
    )
    files = {place: os.path.realpath(place) for place in places}  # links may give one file several names
    groups = [thing.group or files[place] for thing, place in zip(things, places, strict=True)]
    numbers = {each: number for number, each in enumerate(dict.fromkeys(groups))}
    scenes = Scenes.of(file, folder, places, cuts, extent, read_picture, channels) if boxed else None
    unused = len(file.empty) if scenes is None else 0
    alone = boxed and scenes is None and extent is not None
    cropper = _Cropper(path, size, channels, cuts.edges, boxed, view.margin)
    return Source(
        label=str(path),
        skeleton=Skeleton(file.names, flips.pairs, flips.mirror, file.edges),
        size=size,
        channels=channels,
        blocks=partial(_blocks, things, places, cropper),
        part=lambda first, step: _blocks(things, places, cropper, first, step),
        files=file.files or (path,),
        total=len(things),
        complete=False,
        flip_note=flips.why,
        pictures=[thing.picture for thing in things],
        originals=places,
        groups=np.array([numbers[each] for each in groups], dtype=np.int64),
        margin=view.margin if boxed else None,
        notes=(
            *file.notes,
            *counted(unused, "{n} picture{s} without an instance {are} not used"),
            *(() if scenes is None else (scenes.note,)),
            *((f"no finder is needed: {_why_none(file.names)}",) if alone else ()),
            *how,
        ),
        split=own_split([thing.split for thing in things]),
        category=file.category,
        scenes=scenes,
        scene_size=None if scenes is None else scenes.size,
    )


def _why_none(names: tuple[str, ...]) -> str:
    return "predict finds faces by itself" if is_face(names) else "every picture shows one instance that fills it"


def locate_pictures(path: Path, file: LabelFile, folder: Path) -> tuple[LabelFile, list[Path]]:
    """The labels with complete picture names and further notes, and the path of each instance's picture.

    Pictures without an instance are kept if they are in `folder` under their exact names.
    Raises DataError for missing or ambiguous pictures, and for labels that do not fit their pictures.
    """
    if not file.things:
        raise DataError(f"{path} holds no labelled pictures; label some, or export again with their keypoints")
    empty = [thing for thing in file.empty if _is_below(folder, thing.picture)]
    found = locate(path, [thing.picture for thing in (*file.things, *empty)], folder)
    places = found.places[: len(file.things)]
    things = [
        replace(thing, picture=place.relative_to(folder).as_posix()) if thing.picture.endswith(ANY_SUFFIX) else thing
        for thing, place in zip(file.things, places, strict=True)
    ]
    absent = counted(
        len(file.empty) - len(empty), "{n} picture{s} without an instance {are} not in {folder}", folder=folder
    )
    file = replace(file, things=things, empty=empty)
    odd = pixel_check.check(path, file, places)
    return replace(file, notes=(*file.notes, *found.notes, *absent, *odd)), places


def _is_below(folder: Path, name: str) -> bool:
    """Whether `name` is a file's path below `folder`, as it stands."""
    parts = PurePosixPath(name).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and is_file(folder / name)


def flips_of(file: LabelFile) -> FlipPairs:
    """The flip pairs that the file states, else those inferred from its names and keypoints."""
    if file.flip_pairs is not None:
        return FlipPairs(file.flip_pairs, True, f"{len(file.flip_pairs)} left/right pairs, stated by the file")
    points = np.stack([thing.keypoints for thing in file.things]).astype(np.float64)
    return infer(file.names, points, np.stack([thing.visibility for thing in file.things]))


def read_picture(thing: Labelled, place: Path) -> images.DecodedImage:
    """An instance's picture at `place`, in the orientation that was labelled.

    That is upright unless the size that the labels state fits only without the EXIF orientation. Raises DataError if it
    fits neither.
    """
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


def _cropping(
    path: Path, view: View, cuts: Boxes, several: bool, extent: Extent | None
) -> tuple[bool, tuple[str, ...]]:
    """Whether to crop to boxes, and notes on that. several: some picture shows several instances."""
    stated, made = int((cuts.stated & cuts.labelled).sum()), cuts.made
    possible = not made or cuts.usual.any()
    if view.crop == "box" and not possible:
        raise ConfigError(
            f"{path}: --crop box has no box to cut out, because a single keypoint tells nothing of a thing's size; add"
            " boxes, or take --crop picture"
        )
    small = extent is not None and extent.share < FILLS and extent.longest > max(sizing.DEFAULT)
    filled = extent is not None and extent.share >= _WHOLE
    wanted = several or small or (stated > 0 and made <= stated and not filled)
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


def _common(places: Sequence[Path]) -> Size | None:
    """The size of all pictures, None if they differ or one has none."""
    one = images.size(places[0])
    return one if all(images.size(place) == one for place in dict.fromkeys(places)) else None


def _channels(places: Sequence[Path]) -> int:
    """3 if one of the first pictures has colour, else 1."""
    for place in list(dict.fromkeys(places))[:_COLOUR_SAMPLE]:
        picture = images.read(place)
        if picture.ndim == 3 and np.ptp(picture, axis=2).max() > 0:
            return 3
    return 1


def _blocks(
    things: Sequence[Labelled],
    places: Sequence[Path],
    crop: Callable[[Labelled, Path, int], _Crop],
    first: int = 0,
    step: int = 1,
) -> Iterator[Samples]:
    """Every `step`-th block of samples from number `first` on; pictures are read in threads, one block at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(first * _BLOCK, len(things), step * _BLOCK):
            rows = range(start, min(start + _BLOCK, len(things)))
            crops = list(pool.map(crop, [things[i] for i in rows], [places[i] for i in rows], rows))
            points = np.stack([each.keypoints for each in crops])
            visibility = np.stack([things[i].visibility for i in rows])
            yield Samples(
                images=np.stack([each.image for each in crops]),
                keypoints=np.where(visibility[..., None] > 0, points, 0).astype(np.float32),
                visibility=visibility,
                rows=np.array(rows, dtype=np.int64),
                affines=np.stack([each.affine for each in crops]),
                sizes=np.array([each.size for each in crops], np.int32),
                remarks=[each.remarks for each in crops],
            )
