"""What a format's writer states of itself, and the numbers that all of them write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kptool.base.geometry import Size
from kptool.data.annotations import LabelFile, Labelled
from kptool.data.flips import FlipPairs

IMAGES, THING = "images", "thing"
"""The folder of the pictures, unless a format has its own, and what an instance is called, unless the source names it."""
BOXES, SPLIT, OCCLUSION, FLIPS, EDGES, GROUPS, ORDER, PREDICTED, SCORES, EMPTY, BARE, CATEGORY = (
    "boxes", "split", "occlusion", "flips", "edges", "groups", "order", "predicted", "scores", "empty", "bare", "category",
)  # fmt: skip
"""What a format may keep: boxes; training, validation and test parts; occluded keypoints; flip pairs; lines of the skeleton;
groups of pictures; the order of the keypoints; that labels are predictions; their scores; instances without a labelled
keypoint; pictures without an instance; what an instance is."""
ALL = frozenset({BOXES, SPLIT, OCCLUSION, FLIPS, EDGES, GROUPS, ORDER, PREDICTED, SCORES, EMPTY, BARE, CATEGORY})


def all_in_images(things: Sequence[Labelled]) -> list[str]:
    """The folder of each instance's picture: `IMAGES`."""
    return [IMAGES] * len(things)


@dataclass(frozen=True)
class Writer:
    """A format that labels are converted to.

    noun: the format in sentences. write: ``write(folder, file, flips)`` writes the label files of pictures that are already
    in `folder` under the names in `file`, with their sizes, and returns the main one. keeps: what the format can state, of
    the constants above; the rest is told in notes. boxed: whether every instance needs a box: "always", "several" (in
    pictures with several instances) or "never". keeps_alone: what else is kept if no picture has several instances.
    keeps_whole: what else is kept if some instance has all keypoints. keeps_boxed: what else if some instance has a box.
    folders: the folder, relative to that of the labels, of each instance's picture.
    """

    noun: str
    write: Callable[[Path, LabelFile, FlipPairs], Path]
    keeps: frozenset[str]
    boxed: str = "never"
    keeps_alone: frozenset[str] = frozenset()
    keeps_whole: frozenset[str] = frozenset()
    keeps_boxed: frozenset[str] = frozenset()
    folders: Callable[[Sequence[Labelled]], list[str]] = all_in_images


def short(value: float) -> float | int:
    """A number rounded to 6 decimals; integers without a decimal point."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded.is_integer() else rounded


@dataclass(frozen=True)
class Picture:
    """A picture's name, size (H, W) and part of the data set, and its instances, of which there may be none."""

    name: str
    size: Size
    split: str
    things: tuple[Labelled, ...]


def by_picture(file: LabelFile) -> list[Picture]:
    """The pictures with their instances, in order; those without any last."""
    found: dict[str, list[Labelled]] = {}
    for thing in (*file.things, *file.empty):
        found.setdefault(thing.picture, []).append(thing)
    bare = {thing.picture for thing in file.empty}
    pictures = []
    for name, things in found.items():
        assert things[0].size is not None
        pictures.append(Picture(name, things[0].size, things[0].split, () if name in bare else tuple(things)))
    return pictures
