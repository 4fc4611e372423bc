"""From what a label file says to images of one size: finds the pictures, reads them, and cuts out each labelled thing.

LabelFile (datasets/) -> source(view) -> Samples
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from kptool import images
from kptool.annotations import LabelFile, Labelled, Samples, Skeleton, Source
from kptool.errors import ConfigError, DataError
from kptool.flips import Sides, infer
from kptool.geometry import Size, apply_affine, fit_box
from kptool.reading import is_file

Box = tuple[float, float, float, float]
Cut = Callable[[Labelled, Path, int], tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], Size]]
CROPS = ("auto", "box", "picture")
_BLOCK, _READERS, _LOOKED_AT = 32, 2, 8
_FARTHEST, _LEAST_BOX = 1e6, 8.0
_MOST_BEYOND = 3


@dataclass(frozen=True)
class View:
    """How pictures become images: their `size`, 1 channel (grey), 3 (colour) or None (as the pictures are), and `crop`.

    "box" cuts out the labelled thing's box (the box around its keypoints, where there is none) with `margin`, a share of
    the box, on every side; "picture" takes all of the picture; "auto" the box where every thing has one, or where a
    picture shows several things. Neither changes the aspect: what lies beyond the picture repeats its edge.
    """

    size: Size = (128, 128)
    channels: int | None = None
    crop: str = "auto"
    margin: float = 0.15

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise ConfigError(f"--crop must be one of {', '.join(CROPS)}; got {self.crop!r}")
        if not 0 <= self.margin <= 2:
            raise ConfigError(f"--margin is a share of the box, 0 to 2; got {self.margin}")
        if not all(8 <= side <= 4096 for side in self.size):
            raise ConfigError(f"--size must be 8 to 4096 pixels; got {self.size[0]},{self.size[1]}")


def source(path: Path, file: LabelFile, folder: Path, view: View, sides: Sides | None = None) -> Source:
    """The labelled things of `file`, whose pictures lie in `folder`, as images of `view`.

    `sides` are what a person said of left and right; else they are the file's, or inferred. Raises DataError for a
    picture that is missing, and for labels that make no sense.
    """
    things = file.things
    if not things:
        raise DataError(f"{path} holds no labelled pictures; label some, or export again with their keypoints")
    places = locate(path, [thing.picture for thing in things], folder)
    points = np.stack([thing.keypoints for thing in things]).astype(np.float64)
    visibility = np.stack([thing.visibility for thing in things])
    _check(path, file, points, visibility)
    sides = sides or given(file) or infer(file.names, points, visibility)
    boxed = view.crop == "box" or (
        view.crop == "auto" and (all(thing.box for thing in things) or len(set(places)) < len(places))
    )
    channels = view.channels or _channels(places)
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    cut = partial(_cut, path=path, view=view, channels=channels, boxed=boxed)
    return Source(
        label=str(path),
        skeleton=Skeleton(file.names, sides.pairs, sides.mirror),
        size=view.size,
        channels=channels,
        blocks=partial(_blocks, things, places, cut),
        part=lambda first, step: _blocks(things, places, cut, first, step),
        files=file.files or (path,),
        total=len(things),
        complete=False,
        sides=sides.why,
        pictures=[thing.picture for thing in things],
        originals=places,
        groups=np.array([numbers[place] for place in places], dtype=np.int64),
        margin=view.margin if boxed else None,
        notes=file.notes,
    )


def given(file: LabelFile) -> Sides | None:
    """What the file itself states of left and right."""
    if file.flip_pairs is None:
        return None
    return Sides(file.flip_pairs, True, f"{len(file.flip_pairs)} left/right pairs, stated by the file")


def locate(path: Path, names: Sequence[str], folder: Path) -> list[Path]:
    """The file of each picture: by its name as written, else by its last part anywhere below `folder`.

    Nothing outside `folder` is ever opened, whatever a label file says. Raises DataError with the first that is missing.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} with the pictures of {path}; say where they are with --images")
    known: dict[str, Path | None] = {}
    below: dict[str, list[Path]] | None = None
    for name in names:
        if name in known:
            continue
        parts = PurePosixPath(name.replace("\\", "/"))
        direct = folder / parts
        inside = not parts.is_absolute() and ".." not in parts.parts and ":" not in name
        if inside and name and is_file(direct):
            known[name] = direct
            continue
        if below is None:
            below = {}
            for found in sorted(folder.rglob("*")):
                below.setdefault(found.name, []).append(found)
        matches = [p for p in below.get(parts.name, []) if p.is_file()]
        if len(matches) > 1:
            raise DataError(f"{path}: there are {len(matches)} pictures called {parts.name} below {folder}; name one")
        known[name] = matches[0] if matches else None
    missing = [name for name, place in known.items() if place is None]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(known)} pictures are not in {folder}, the first is {missing[0][:200]!r};"
            " say where they are with --images"
        )
    return [place for name in names if (place := known[name])]


def read_picture(thing: Labelled, place: Path) -> NDArray[np.uint8]:
    """The thing's picture, the way round that its labels are for. Raises DataError where the sizes contradict."""
    picture = images.read(place)
    if thing.size is None or picture.shape[:2] == thing.size:
        return picture
    raw = images.read(place, upright=False)
    if raw.shape[:2] == thing.size:
        return raw
    raise DataError(
        f"{place} has {picture.shape[1]}x{picture.shape[0]} pixels and its labels are for {thing.size[1]}x{thing.size[0]};"
        " give the pictures that were labelled"
    )


def box_of(thing: Labelled) -> Box:
    """The thing's box together with all its labelled keypoints, so that no label is ever cut off; at least 8 pixels."""
    seen = thing.keypoints[thing.visibility > 0]
    edges = np.concatenate([seen - 0.5, seen + 0.5])
    if thing.box is not None:
        x, y, width, height = thing.box
        edges = np.concatenate([edges, [[x, y], [x + width, y + height]]])
    low, high = edges.min(0), edges.max(0)
    grow = np.maximum(_LEAST_BOX - (high - low), 0) / 2
    (x, y), (width, height) = low - grow, high - low + 2 * grow
    return float(x), float(y), float(width), float(height)


def _check(path: Path, file: LabelFile, points: NDArray[np.float64], visibility: NDArray[np.uint8]) -> None:
    sane = np.isfinite(points).all(-1) & (np.abs(np.nan_to_num(points)).max(-1) <= _FARTHEST)
    wrong = np.argwhere((visibility > 0) & ~sane)
    if len(wrong):
        thing, k = wrong[0]
        x, y = points[thing, k]
        raise DataError(
            f"{path}: {file.names[k]} of {file.things[thing].picture} is ({x:g}, {y:g}); correct it, or mark it unlabelled"
        )


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
            pixels, points, affines, sizes = (np.stack(part) for part in zip(*parts, strict=True))
            visibility = np.stack([things[i].visibility for i in rows])
            yield Samples(
                pixels,
                np.where(visibility[..., None] > 0, points, 0).astype(np.float32),
                visibility,
                np.array(rows, dtype=np.int64),
                affines,
                sizes.astype(np.int32),
            )


def _cut(
    thing: Labelled, place: Path, row: int, *, path: Path, view: View, channels: int, boxed: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], Size]:
    """Image, keypoints in its pixels, the map to them, and the picture's size."""
    picture = read_picture(thing, place)
    whole = (-0.5, -0.5, float(picture.shape[1]), float(picture.shape[0]))
    labelled = bool((thing.visibility > 0).any())
    box = box_of(thing) if labelled or thing.box else whole
    if max(abs(v) for v in box) > _MOST_BEYOND * max(whole):
        raise DataError(
            f"{path}, row {row}: labels or box of {thing.picture} lie far outside its {picture.shape[1]}x{picture.shape[0]}"
            f" pixels, at {', '.join(f'{v:.0f}' for v in box[:2])}; correct them"
        )
    affine = fit_box(box, view.size, view.margin) if boxed else fit_box(whole, view.size)
    points = np.asarray(apply_affine(affine, thing.keypoints), np.float64)
    return images.crop(picture, affine, view.size, channels), points, affine, (picture.shape[0], picture.shape[1])
