"""What a format's writer states of itself, and the numbers that all of them write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kptool.data.annotations import LabelFile, Labelled
from kptool.data.flips import FlipPairs

IMAGES = "images"
"""The folder of the pictures, unless a format has its own."""
BOXES, SPLIT, OCCLUSION, FLIPS, EDGES, GROUPS, ORDER, SCORES, EMPTY = (
    "boxes", "split", "occlusion", "flips", "edges", "groups", "order", "scores", "empty",
)  # fmt: skip
"""What a format may keep: boxes; training, validation and test parts; occluded keypoints; flip pairs; lines of the skeleton;
groups of pictures; the order of the keypoints; predictions with scores; instances without a labelled keypoint."""


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
    folders: the folder, relative to that of the labels, of each instance's picture.
    """

    noun: str
    write: Callable[[Path, LabelFile, FlipPairs], Path]
    keeps: frozenset[str]
    boxed: str = "never"
    keeps_alone: frozenset[str] = frozenset()
    folders: Callable[[Sequence[Labelled]], list[str]] = all_in_images


def short(value: float) -> float | int:
    """A number rounded to 6 decimals; integers without a decimal point."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded.is_integer() else rounded


def by_picture(things: Sequence[Labelled]) -> dict[str, list[Labelled]]:
    """The instances of each picture, in order."""
    found: dict[str, list[Labelled]] = {}
    for thing in things:
        found.setdefault(thing.picture, []).append(thing)
    return found
