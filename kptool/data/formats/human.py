"""Keypoint names and flip pairs of the fixed layouts of people: MPII, Leeds Sports, OpenPose, COCO-WholeBody.

Left and right are the person's. The layouts are those in the papers and documentation of their authors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from kptool.base import face68
from kptool.base.geometry import Box
from kptool.base.skeleton import numbered_names

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Layout:
    """Keypoint names in order; the flip pairs, or None if they must be inferred; and pairs of names that a line connects."""

    names: tuple[str, ...]
    pairs: Pairs | None
    lines: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)


def _sided(text: str, chains: str) -> Layout:
    """A layout by its names; names that begin with left and right are pairs.

    chains: names that lines connect in turn, separated by commas; SIDE stands for left and for right.
    """
    names = tuple(text.split())
    index = {name: k for k, name in enumerate(names)}
    sides = [(index[name], index[f"right_{name[5:]}"]) for name in names if name.startswith("left_")]
    return Layout(names, tuple(sorted((min(pair), max(pair)) for pair in sides)), _lines(chains))


def _lines(chains: str) -> tuple[tuple[str, str], ...]:
    """The pairs of neighbours in chains."""
    both = [chain.replace("SIDE", side).split() for chain in chains.split(",") for side in ("left", "right")]
    return tuple(dict.fromkeys(pair for chain in both for pair in pairwise(chain)))


def _face(count: int) -> Layout:
    """The 68 points of 300-W, and OpenPose's two pupils after them."""
    more = ("face_right_pupil", "face_left_pupil") if count == 70 else ()
    pairs = face68.FLIP_PAIRS + (((68, 69),) if count == 70 else ())
    return Layout((*(f"face-{k}" for k in range(68)), *more), pairs)


def _hand(side: str) -> Layout:
    """The 21 points of one hand, from the root to the tip of each finger."""
    parts = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    fingers = [f"{part}{k}" for part in parts for k in (1, 2, 3, 4)]
    chains = ", ".join(
        " ".join(f"{side}_{each}" for each in ("hand_root", *fingers[k : k + 4])) for k in range(0, 20, 4)
    )
    return Layout(tuple(f"{side}_{part}" for part in ("hand_root", *fingers)), (), _lines(chains))


_LEFT, _RIGHT = _hand("left"), _hand("right")
MPII = _sided(
    "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top right_wrist"
    " right_elbow right_shoulder left_shoulder left_elbow left_wrist",
    "pelvis SIDE_hip SIDE_knee SIDE_ankle, thorax SIDE_shoulder SIDE_elbow SIDE_wrist"
    ", pelvis thorax upper_neck head_top",
)
"""The 16 joints of MPII Human Pose (Andriluka et al., CVPR 2014)."""
MPII_FIRST = 1
"""The coordinate of the first pixel's centre in MPII's files, as in MATLAB."""
_BODY, _DOWN = 200.0, 15.0
"""Pixels of a person's height at a scale of 1, and how far below the stated centre MMPose takes the box's centre."""
COCO = _sided(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist"
    " left_hip right_hip left_knee right_knee left_ankle right_ankle",
    "SIDE_hip SIDE_knee SIDE_ankle, SIDE_shoulder SIDE_elbow SIDE_wrist, SIDE_hip SIDE_shoulder"
    ", left_hip right_hip, left_shoulder right_shoulder, left_eye right_eye"
    ", nose SIDE_eye SIDE_ear SIDE_shoulder",
)
"""The 17 keypoints of COCO (Lin et al., ECCV 2014)."""
LEEDS = _sided(
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder left_shoulder"
    " left_elbow left_wrist neck head_top",
    "SIDE_hip SIDE_knee SIDE_ankle, neck SIDE_shoulder SIDE_elbow SIDE_wrist, SIDE_hip SIDE_shoulder"
    ", left_hip right_hip, neck head_top",
)
"""The 14 joints of Leeds Sports Pose (Johnson and Everingham, BMVC 2010)."""
_OPENPOSE_ARMS = "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist"
_BODY_25 = _sided(
    f"{_OPENPOSE_ARMS} mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear"
    " left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
    "neck mid_hip SIDE_hip SIDE_knee SIDE_ankle, neck SIDE_shoulder SIDE_elbow SIDE_wrist"
    ", neck nose SIDE_eye SIDE_ear, SIDE_ankle SIDE_big_toe SIDE_small_toe, SIDE_ankle SIDE_heel",
)
_BODY_18 = _sided(
    f"{_OPENPOSE_ARMS} right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear",
    "neck SIDE_hip SIDE_knee SIDE_ankle, neck SIDE_shoulder SIDE_elbow SIDE_wrist, neck nose SIDE_eye SIDE_ear",
)
_BODY_15 = _sided(
    "head neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee right_ankle"
    " left_hip left_knee left_ankle chest",
    "head neck chest SIDE_hip SIDE_knee SIDE_ankle, neck SIDE_shoulder SIDE_elbow SIDE_wrist",
)
OPENPOSE: dict[str, tuple[Layout, ...]] = {
    "pose": (_BODY_25, _BODY_18, _BODY_15),
    "face": (_face(70), _face(68)),
    "hand_left": (_LEFT,),
    "hand_right": (_RIGHT,),
}
"""Layouts of the parts of a person in OpenPose's output, told apart by their number of keypoints."""
FEET = _sided(
    "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
    "SIDE_ankle SIDE_big_toe, SIDE_ankle SIDE_small_toe, SIDE_ankle SIDE_heel",
)
WHOLE_BODY: dict[str, tuple[str, Layout]] = {
    "feet": ("foot", FEET),
    "face": ("face", _face(68)),
    "left-hand": ("lefthand", _LEFT),
    "right-hand": ("righthand", _RIGHT),
}
"""COCO-WholeBody's parts after the body's 17 keypoints: the beginning of their fields' names, and their layouts."""


def mpii_square(x: float, y: float, scale: float) -> Box | None:
    """The box of a person of MPII around (x, y) in pixels; None unless the scale is positive."""
    side = _BODY * scale
    return (x - side / 2, y + _DOWN * scale - side / 2, side, side) if scale > 0 and x > -1 else None


def of_length(layouts: tuple[Layout, ...], count: int, prefix: str = "") -> Layout:
    """The layout with `count` keypoints, else one with numbers as names."""
    found = next((layout for layout in layouts if len(layout) == count), None)
    return found or Layout(tuple(prefix + name for name in numbered_names(count)), None)


def joined(layouts: list[Layout]) -> Layout:
    """Several layouts after each other; equal keypoints of both hands become pairs."""
    names = tuple(name for layout in layouts for name in layout.names)
    lines = tuple(line for layout in layouts for line in layout.lines)
    if any(layout.pairs is None for layout in layouts):
        return Layout(names, None, lines)
    pairs, start = [], 0
    for layout in layouts:
        pairs += [(a + start, b + start) for a, b in layout.pairs or ()]
        start += len(layout)
    index = {name: k for k, name in enumerate(names)}
    hands = [
        (index[left], index.get(right)) for left, right in zip(_LEFT.names, _RIGHT.names, strict=True) if left in index
    ]
    return Layout(names, (*pairs, *((a, b) for a, b in hands if b is not None)), lines)


def edges(layout: Layout) -> Pairs:
    """The lines as index pairs; those to keypoints that the layout lacks are left out."""
    index = {name: k for k, name in enumerate(layout.names)}
    return tuple((index[a], index[b]) for a, b in layout.lines if a in index and b in index)
