"""Finding faces in pictures: YuNet (Wu, Peng & Yu, Machine Intelligence Research 2023), run by ONNX Runtime.

Its weights are not kptool's: see weights/YUNET.md for where they are from, and their licence. The network looks at a
picture in two sizes, small for the large faces and large for the small ones, and with the picture turned to either
side for tilted heads, unless one large face is all that there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kptool.base.geometry import Box, apply_affine, invert_affine

LANDMARKS = ("right_eye_center", "left_eye_center", "nose_tip", "mouth_right_corner", "mouth_left_corner")
"""What `DetectedFace.landmarks` are, in order; left and right are the subject's."""

_WEIGHTS = Path(__file__).parents[1] / "weights" / "yunet.onnx"
_STRIDES = (8, 16, 32)
_SIDES = (320, 1280)
_TURN = math.radians(45)
_SCORE, _SURE, _OVERLAP, _WITHIN, _LARGE = 0.6, 0.88, 0.3, 0.7, 0.2
_MOST = 5000


@dataclass(frozen=True)
class DetectedFace:
    """A face in a picture's pixels. box: (x, y, width, height), x and y its left and top edge.

    score: 0..1, less for a face that was tilted in the look that found it. landmarks: float64 (5, 2), see `LANDMARKS`.
    """

    box: Box
    score: float
    landmarks: NDArray[np.float64]


def find(image: NDArray[np.uint8], *, threads: int = 0) -> list[DetectedFace]:
    """The faces in a picture uint8 (H, W) or (H, W, 3), from left to right. `threads` 0: as many as there are cores."""
    longest = max(image.shape[:2])
    sides = [side for side in _SIDES if side == _SIDES[0] or longest > side / 2]
    found = [face for side in sides for face in _look(image, min(side, longest), threads)]
    found = _distinct(found)
    portrait = len(found) == 1 and found[0].score >= _SURE and max(found[0].box[2:]) >= _LARGE * longest
    if not portrait:
        found += [face for turn in (-_TURN, _TURN) for face in _turned(image, turn, threads)]
    return sorted(_distinct(found), key=lambda face: face.box[0])


def _look(image: NDArray[np.uint8], side: int, threads: int) -> list[DetectedFace]:
    """The faces found in the picture with its longer side brought to `side` pixels."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    picture = Image.fromarray(image)
    picture = picture if picture.mode == "RGB" else picture.convert("RGB")  # which copies
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    padded = [-(-length // 32) * 32 for length in (height, width)]
    pixels = np.zeros((1, 3, *padded), np.float32)
    pixels[0, :, :height, :width] = np.asarray(picture)[:, :, ::-1].transpose(2, 0, 1)
    score, box, landmarks = _decode(_session(threads).run(_OUTPUTS, {"input": pixels}), padded)
    stretch = np.array([image.shape[1] / width, image.shape[0] / height])
    box = box * np.tile(stretch, 2)
    landmarks = (landmarks * stretch) - 0.5
    return [
        DetectedFace((x - 0.5, y - 0.5, w, h), float(s) * _uprightness(points), points)
        for s, (x, y, w, h), points in zip(score, box.tolist(), landmarks, strict=True)
    ]


def _uprightness(landmarks: NDArray[np.float64]) -> float:
    """The cosine of a face's tilt, at least 0.1. Landmarks of tilted faces are poor: a look at which it is less wins."""
    down = landmarks[3:].mean(0) - landmarks[:2].mean(0)
    return float(max(0.1, down[1] / max(np.hypot(*down), 1e-9)))


def _turned(image: NDArray[np.uint8], turn: float, threads: int) -> list[DetectedFace]:
    """The faces found in the picture turned by `turn` radians; their boxes are upright squares about them."""
    picture = Image.fromarray(image)
    side = min(max(picture.size), _SIDES[1])
    picture = picture.resize([max(1, round(length * side / max(picture.size))) for length in picture.size])
    turned = picture.rotate(-math.degrees(turn), Image.Resampling.BILINEAR, expand=True)
    cos, sin = math.cos(turn), math.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]]) * side / max(image.shape[:2])
    middle, centre = ((np.array([w, h]) - 1) / 2 for h, w in (image.shape[:2], (turned.height, turned.width)))
    back = invert_affine(np.concatenate([linear, (centre - linear @ middle)[:, None]], axis=1))
    faces = []
    for face in _look(np.asarray(turned), min(_SIDES[0], max(turned.size)), threads):
        x, y, width, height = face.box
        about = apply_affine(back, np.array([[x + width / 2, y + height / 2]]))[0]
        reach = math.sqrt(width * height) * max(image.shape[:2]) / side
        box = (float(about[0]) - reach / 2, float(about[1]) - reach / 2, reach, reach)
        faces.append(replace(face, box=box, landmarks=apply_affine(back, face.landmarks).astype(np.float64)))
    return faces


def _decode(outputs: list[Any], size: list[int]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Scores (n,), boxes (n, 4) and landmarks (n, 5, 2) above the threshold, edges of the picture at 0.

    Every cell of a grid proposes a face: offsets from its corner in cells, and sizes as logarithms.
    """
    parts = []
    for level, stride in enumerate(_STRIDES):
        classes, objects, boxes, points = (array[0] for array in outputs[4 * level : 4 * level + 4])
        score = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))[:, 0]
        kept = np.flatnonzero(score >= _SCORE)
        corner = np.stack([kept % (size[1] // stride), kept // (size[1] // stride)], -1)
        extent = np.exp(np.minimum(boxes[kept, 2:], 10)) * stride
        box = np.concatenate([(corner + boxes[kept, :2]) * stride - extent / 2, extent], -1)
        parts.append((score[kept], box, (corner[:, None] + points[kept].reshape(-1, 5, 2)) * stride))
    score, box, landmarks = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    best = np.argsort(-score, kind="stable")[:_MOST]
    return score[best], box[best].astype(np.float64), landmarks[best].astype(np.float64)


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """The best faces, none of which overlaps a better one by more than 30 % of their union, or 70 % of the smaller one."""
    kept: list[DetectedFace] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(
            overlap(face.box, other.box) <= _OVERLAP and overlap(face.box, other.box, smaller=True) <= _WITHIN
            for other in kept
        ):
            kept.append(face)
    return kept


def overlap(a: tuple[float, ...], b: tuple[float, ...], *, smaller: bool = False) -> float:
    """Intersection over union of two boxes (x, y, width, height); over the `smaller` one's area instead."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    areas = a[2] * a[3], b[2] * b[3]
    return shared / max(min(areas) if smaller else sum(areas) - shared, 1e-12)


_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES for kind in ("cls", "obj", "bbox", "kps")]


@cache
def _session(threads: int) -> Any:
    """The network, loaded once. ONNX Runtime's sessions may be shared by threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(_WEIGHTS), options, providers=["CPUExecutionProvider"])
