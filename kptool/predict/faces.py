"""Face detection with YuNet (Wu, Peng & Yu, Machine Intelligence Research 2023), run by ONNX Runtime.

The weights are third-party: see weights/YUNET.md for their origin and licence. The detector runs on the picture at two
scales, a small one for large faces and a large one for small faces, and on the picture rotated both ways for tilted
heads, unless the only face found is large and certain.
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

from kptool.base.geometry import Box, apply_affine, from_edges, invert_affine
from kptool.evaluation.detection import distinct
from kptool.predict import sessions

_WEIGHTS = Path(__file__).parents[1] / "weights" / "yunet.onnx"
_STRIDES = (8, 16, 32)
_SCALES = (320, 1280)
"""Lengths of the picture's longer side that the detector runs at, pixels."""
_ANGLE = math.radians(45)
_SCORE = 0.6
"""Lowest score of a detection."""
_SURE, _LARGE = 0.88, 0.2
"""Score and share of the picture's longer side above which a single face makes the rotated passes unnecessary."""
_OVERLAP, _WITHIN = 0.3, 0.7
"""Largest intersection of two faces, as a share of their union and of the smaller one."""
_MOST = 5000
"""Most detections kept before non-maximum suppression."""


@dataclass(frozen=True)
class DetectedFace:
    """A face in a picture's pixels. box: (x, y, width, height); x and y are its left and top edges.

    score: 0..1, lower for a face that was tilted in the pass that found it. landmarks: float64 (5, 2), see `face68.LANDMARKS`.
    """

    box: Box
    score: float
    landmarks: NDArray[np.float64]


def find(image: NDArray[np.uint8], *, threads: int = 0) -> list[DetectedFace]:
    """The faces in a picture uint8 (H, W) or (H, W, 3), from left to right. `threads` 0: one per core."""
    longest = max(image.shape[:2])
    scales = [scale for scale in _SCALES if scale == _SCALES[0] or longest > scale / 2]
    found = [face for scale in scales for face in _detect(image, min(scale, longest), threads)]
    found = _distinct(found)
    portrait = len(found) == 1 and found[0].score >= _SURE and max(found[0].box[2:]) >= _LARGE * longest
    if not portrait:
        found += [face for angle in (-_ANGLE, _ANGLE) for face in _detect_rotated(image, angle, threads)]
        found = _distinct(found)
    return sorted(found, key=lambda face: face.box[0])


def _detect(image: NDArray[np.uint8], side: int, threads: int) -> list[DetectedFace]:
    """The faces found in the picture with its longer side resized to `side` pixels."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    picture = Image.fromarray(image)
    picture = picture if picture.mode == "RGB" else picture.convert("RGB")  # convert always copies
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    padded = [-(-length // 32) * 32 for length in (height, width)]
    pixels = np.zeros((1, 3, *padded), np.float32)
    pixels[0, :, :height, :width] = np.asarray(picture)[:, :, ::-1].transpose(2, 0, 1)
    score, box, landmarks = _decode(_session(threads).run(_OUTPUTS, {"input": pixels}), padded)
    stretch = np.array([image.shape[1] / width, image.shape[0] / height])
    box = box * np.tile(stretch, 2)
    landmarks = np.asarray(from_edges(landmarks * stretch), np.float64)
    box[:, :2] = from_edges(box[:, :2])
    score = score * _uprightness(landmarks)
    return [
        DetectedFace((x, y, w, h), s, points)
        for s, (x, y, w, h), points in zip(score.tolist(), box.tolist(), landmarks, strict=True)
    ]


def _uprightness(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosines of the tilts of faces with landmarks (n, 5, 2), at least 0.1: (n,).

    YuNet's landmarks are poor for tilted faces, so among overlapping detections the most upright one should win.
    """
    down = landmarks[:, 3:].mean(1) - landmarks[:, :2].mean(1)
    cosine: NDArray[np.float64] = down[:, 1] / np.maximum(np.hypot(down[:, 0], down[:, 1]), 1e-9)
    return np.maximum(cosine, 0.1)


def _detect_rotated(image: NDArray[np.uint8], angle: float, threads: int) -> list[DetectedFace]:
    """The faces found in the picture rotated by `angle` radians; their boxes are upright squares of equal area."""
    picture = Image.fromarray(image)
    longest = min(max(picture.size), _SCALES[1])
    picture = picture.resize([max(1, round(length * longest / max(picture.size))) for length in picture.size])
    rotated = picture.rotate(-math.degrees(angle), Image.Resampling.BILINEAR, expand=True)
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) * longest / max(image.shape[:2])
    middle, target = ((np.array([w, h]) - 1) / 2 for h, w in (image.shape[:2], (rotated.height, rotated.width)))
    back = invert_affine(np.concatenate([linear, (target - linear @ middle)[:, None]], axis=1))
    faces = []
    for face in _detect(np.asarray(rotated), min(_SCALES[0], max(rotated.size)), threads):
        x, y, width, height = face.box
        centre = apply_affine(back, np.array([[x + width / 2, y + height / 2]]))[0]
        side = math.sqrt(width * height) * max(image.shape[:2]) / longest
        box = (float(centre[0]) - side / 2, float(centre[1]) - side / 2, side, side)
        faces.append(replace(face, box=box, landmarks=apply_affine(back, face.landmarks).astype(np.float64)))
    return faces


def _decode(outputs: list[Any], size: list[int]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Scores (n,), boxes (n, 4) and landmarks (n, 5, 2) above the threshold; 0 is the picture's edge.

    Every grid cell predicts one face: offsets from the cell's corner in cells, and logarithms of width and height.
    """
    parts = []
    for level, stride in enumerate(_STRIDES):
        classes, objects, boxes, points = (array[0] for array in outputs[4 * level : 4 * level + 4])
        likely = np.flatnonzero(classes >= _SCORE**2)  # few; the other factor is at most 1
        product = classes[likely, 0].clip(0, 1) * objects[likely, 0].clip(0, 1)
        kept, product = likely[product >= _SCORE**2], product[product >= _SCORE**2]
        if not len(kept):
            continue
        corner = np.stack([kept % (size[1] // stride), kept // (size[1] // stride)], -1)
        extent = np.exp(np.minimum(boxes[kept, 2:], 10)) * stride
        box = np.concatenate([(corner + boxes[kept, :2]) * stride - extent / 2, extent], -1)
        landmarks = (corner[:, None] + points[kept].reshape(-1, 5, 2)) * stride
        parts.append((np.sqrt(product), box, landmarks))
    if not parts:
        return np.zeros(0), np.zeros((0, 4)), np.zeros((0, 5, 2))
    score, box, landmarks = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    best = np.argsort(-score, kind="stable")[:_MOST]
    return score[best], box[best].astype(np.float64), landmarks[best].astype(np.float64)


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Non-maximum suppression: the best faces, none overlapping a better one by more than `_OVERLAP` or `_WITHIN`."""
    boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
    kept = distinct(boxes, np.array([face.score for face in faces], np.float64), _OVERLAP, _WITHIN)
    return [faces[i] for i in kept.tolist()]


_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES for kind in ("cls", "obj", "bbox", "kps")]


@cache
def _session(threads: int) -> Any:
    """The detector, loaded once per thread count. ONNX Runtime sessions are thread-safe."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(_WEIGHTS), sessions.options(threads), providers=["CPUExecutionProvider"])
