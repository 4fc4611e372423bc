"""Whole pictures with the boxes of all instances in them, from which a finder learns where instances are.

A source has scenes where its images are crops, unless there is one instance in every picture and it fills the picture,
or is a face: then there is nothing to find, or a face's detector finds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.face68 import is_face
from kptool.base.geometry import Size, apply_affine, fit_box, image_box
from kptool.data import images
from kptool.data.annotations import LabelFile, Labelled, SceneBlock
from kptool.data.boxes import Boxes
from kptool.system.processors import READERS

FILLS = 0.6
"""Share of a picture's width or height from which an instance fills it: below, it is cropped, and has to be found first."""
_LEAST, _MOST, _STEP = 192, 512, 32
"""Shortest and longest side of a scene, and what its sides are multiples of, pixels."""
_WANTED = 24.0
"""The size that a small instance should have in a scene: the square root of its box's area, pixels."""
_SAMPLE, _BLOCK = 500, 8


@dataclass(frozen=True)
class Extent:
    """How large instances are in their pictures: medians over instances, or a low quantile for `least`.

    share: of the picture's width or height, the larger one. least: the square root of the box's area, in shares of the
    picture's longer side, which nine tenths of the instances exceed. aspect: the pictures' height over width. longest: their
    longer side, pixels.
    """

    share: float
    least: float
    aspect: float
    longest: float

    @classmethod
    def of(cls, cuts: Boxes, places: Sequence[Path]) -> Extent | None:
        """The extent of the instances in the pictures at `places`, of a sample of them; None if it is unknown."""
        known = np.flatnonzero(np.isfinite(cuts.edges).all(1))
        some = known[np.unique(np.linspace(0, len(known) - 1, _SAMPLE).astype(int))].tolist() if len(known) else []
        sizes = {place: images.size(place) for place in dict.fromkeys(places[i] for i in some)}
        rows = [(*cuts.edges[i, 2:], *size) for i in some if (size := sizes[places[i]]) is not None]
        if not rows:
            return None
        width, height, tall, wide = np.array(rows, np.float64).T
        return cls(
            float(np.median(np.maximum(width / wide, height / tall))),
            float(np.quantile(np.sqrt(width * height) / np.maximum(tall, wide), 0.1)),
            float(np.median(tall / wide)),
            float(np.median(np.maximum(tall, wide))),
        )

    @property
    def scene_size(self) -> Size:
        """(H, W) of scenes: such that small instances are 24 pixels large, within limits."""
        longest = min(max(_WANTED / max(self.least, 1e-9), _LEAST), _MOST)
        width = longest * min(1.0, 1 / self.aspect)
        height = longest * min(1.0, self.aspect)
        return _rounded(height), _rounded(width)


def _rounded(side: float) -> int:
    return max(_STEP * 2, _STEP * math.ceil(side / _STEP - 1e-9))


def beside_instances(file: LabelFile, folder: Path, known: Mapping[str, Path]) -> list[tuple[Path, Labelled]]:
    """The pictures without an instance, and the crowds in pictures that are `known` by name, each with its path."""
    empty = [(folder / thing.picture, thing) for thing in file.empty]
    return empty + [(known[thing.picture], thing) for thing in file.crowds if thing.picture in known]


def by_picture(
    places: Sequence[Path], others: Sequence[tuple[Path, Labelled]]
) -> tuple[dict[Path, list[int]], dict[Path, list[Labelled]]]:
    """The rows of instances, at `places`, and the `others`, of each picture."""
    rows: dict[Path, list[int]] = {}
    for row, place in enumerate(places):
        rows.setdefault(place, []).append(row)
    beside: dict[Path, list[Labelled]] = {}
    for place, thing in others:
        beside.setdefault(place, []).append(thing)
    return rows, beside


@dataclass(frozen=True)
class Scenes:
    """Streams scenes in blocks; calling it starts from the beginning.

    size: (H, W) of the scenes; pictures are letterboxed into them. things, cuts: all instances and their boxes; the i-th
    one's picture is at `places[i]`. read: reads an instance's picture. others: pictures that show no instance, and boxes of
    crowds, without keypoints, with their pictures. note: why there are scenes, in words.
    """

    size: Size
    channels: int
    things: Sequence[Labelled]
    cuts: Boxes
    places: Sequence[Path]
    read: Callable[[Labelled, Path], images.DecodedImage]
    others: Sequence[tuple[Path, Labelled]] = ()
    note: str = ""

    @classmethod
    def of(
        cls,
        file: LabelFile,
        folder: Path,
        places: Sequence[Path],
        cuts: Boxes,
        extent: Extent | None,
        read: Callable[[Labelled, Path], images.DecodedImage],
        channels: int,
    ) -> Scenes | None:
        """The scenes of a label file whose instances are cropped; None if there is nothing to find in its pictures."""
        several = len(set(places)) < len(places)
        if extent is None or not (several or (extent.share < FILLS and not is_face(file.names))):
            return None
        known = {thing.picture: place for thing, place in zip(file.things, places, strict=True)}
        others = beside_instances(file, folder, known)
        why = (
            "pictures show several instances"
            if several
            else f"an instance takes {extent.share:.0%} of a picture's side"
        )
        size = extent.scene_size
        note = f"{why}, so whole pictures are kept too, at {size[1]}x{size[0]} px, for a finder to learn where instances are"
        return cls(size, channels, file.things, cuts, places, read, others, note)

    def __call__(self) -> Iterator[SceneBlock]:
        rows, beside = by_picture(self.places, self.others)
        every = list(dict.fromkeys([*rows, *beside]))
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(every), _BLOCK):
                some = every[start : start + _BLOCK]
                parts = pool.map(lambda p: self._scene(p, rows.get(p, []), beside.get(p, [])), some)
                yield SceneBlock(*zip(*parts, strict=True))

    def _scene(
        self, place: Path, rows: list[int], beside: list[Labelled]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64], str]:
        """The letterboxed picture, its boxes (n, 4), whether they teach (n,), their rows (n,), -1 for crowds, and the part
        of the data's own split that is stated for it."""
        first = self.things[rows[0]] if rows else beside[0]
        picture = self.read(first, place).pixels
        affine = fit_box(image_box((picture.shape[0], picture.shape[1])), self.size)
        crowds = [thing.box for thing in beside if thing.box is not None]
        edges = np.concatenate([self.cuts.edges[rows], np.array(crowds, np.float64).reshape(-1, 4)])
        known = np.isfinite(edges).all(1)
        corners = np.stack([edges[:, :2], edges[:, :2] + edges[:, 2:]], 1)
        moved = apply_affine(affine, corners)
        boxes = np.concatenate([moved[:, 0], moved[:, 1] - moved[:, 0]], 1)
        teaches = np.array([*self.cuts.labelled[rows], *[False] * len(crowds)], np.bool_)
        numbers = np.array([*rows, *[-1] * len(crowds)], np.int64)
        split = next((thing.split for thing in beside if thing.split), "")
        shown = images.fitted(picture, affine, self.size, self.channels)
        return shown, boxes[known].astype(np.float32), teaches[known], numbers[known], split
