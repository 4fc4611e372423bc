"""Names in notes what a format cannot state of the labels that are written in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from kptool.base.skeleton import OCCLUDED
from kptool.data.annotations import LabelFile
from kptool.data.flips import FlipPairs, infer
from kptool.data.notes import counted, listed
from kptool.data.writers.writer import (
    ALL,
    BARE,
    BOXES,
    CATEGORY,
    EDGES,
    EMPTY,
    FLIPS,
    GROUPS,
    OCCLUSION,
    ORDER,
    PREDICTED,
    SCORES,
    SPLIT,
    Writer,
)


def losses(writer: Writer, file: LabelFile, flips: FlipPairs) -> tuple[str, ...]:
    """A sentence for each kind of content in `file` that the format loses, with counts and what helps."""
    things, noun = file.things, writer.noun
    alone = max(Counter(thing.picture for thing in things).values()) == 1
    lost = ALL - writer.keeps
    lost -= writer.keeps_alone if alone else frozenset()
    lost -= writer.keeps_whole if any(thing.visibility.all() for thing in things) else frozenset()
    boxes = sum(thing.box is not None for thing in things)
    lost -= writer.keeps_boxed if boxes else frozenset()
    occluded = sum(int((thing.visibility == OCCLUDED).sum()) for thing in things)
    empty = sum(not thing.visibility.any() for thing in things)
    groups = len({thing.group for thing in things if thing.group is not None})
    found = {
        BOXES: counted(boxes, "{noun} cannot state boxes, so {n} box{es} {are} not written", noun=noun),
        SPLIT: _if(
            any(thing.split for thing in things),
            f"{noun} cannot state training, validation and test parts, so the data's own split is not written",
        ),
        OCCLUSION: counted(
            occluded,
            "{noun} cannot state that a keypoint is occluded, so {n} occluded one{s} {are} visible in it",
            noun=noun,
        ),
        FLIPS: _flips(noun, file, flips),
        EDGES: counted(
            len(file.edges), "{noun} cannot state a skeleton, so its {n} line{s} {are} not written", noun=noun
        ),
        GROUPS: counted(
            groups,
            "{noun} cannot state which pictures belong together, so {n} group{s} of pictures {are} not written; give them"
            " again with --groups",
            noun=noun,
        ),
        ORDER: _if(
            list(file.names) != sorted(file.names),
            f"{noun} cannot state the order of keypoints, which are read from it by name",
        ),
        PREDICTED: _if(bool(file.predicted_by), f"{noun} cannot mark predictions, so these look like labels in it"),
        SCORES: _if(
            any(thing.score is not None for thing in things), f"{noun} cannot state scores, which are left out"
        ),
        CATEGORY: _if(
            bool(file.category), f"{noun} cannot state what an instance is, so {file.category!r} is not written"
        ),
        BARE: counted(
            len(file.empty), "{noun} cannot state pictures without instances, so {n} {are} not written", noun=noun
        ),
        EMPTY: counted(empty, "{noun} cannot state instances without a keypoint, so {n} {are} not written", noun=noun),
    }
    return tuple(note for what, notes in found.items() if what in lost for note in notes)


def _if(condition: bool, note: str) -> tuple[str, ...]:
    return (note,) if condition else ()


def _flips(noun: str, file: LabelFile, flips: FlipPairs) -> Iterator[str]:
    """A note on flip pairs that would not be inferred again from the names and places of the keypoints."""
    seen = np.stack([thing.visibility for thing in file.things])
    again = infer(file.names, np.stack([thing.keypoints for thing in file.things]).astype(np.float64), seen)
    if flips.mirror and (not again.mirror or set(again.pairs) != set(flips.pairs)):
        names = [f"{file.names[a]},{file.names[b]}" for a, b in flips.pairs]
        pairs = (
            f"({listed(names)}) are not written; give them again with --flips"
            if names
            else "are none; state it with --flips"
        )
        yield f"{noun} cannot state left/right pairs, which {pairs}"
