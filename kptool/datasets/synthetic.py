"""Built-in synthetic faces: grey images with exact sub-pixel keypoints, generated from a seed.

A face is a set of 3-D points relative to the midpoint between the eyes, in units of the distance between the eyes (x to
the image's right, y down, z towards the viewer). They are rotated, scaled and projected, and the face is drawn from the
projected points, so the labels are exact in any pose. Every shape is a signed distance in pixels, evaluated at pixel
centres, with an edge one pixel wide. Image i depends only on (seed, i) and the size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError
from kptool.base.geometry import Size
from kptool.base.skeleton import FACE15, OCCLUDED, VISIBLE
from kptool.data.annotations import Dataset, Samples, Source

Array = NDArray[np.float32]
Point = NDArray[np.float64]

_BLOCK = 64
_SHAPE = {
    "left_eye_center": (0.50, 0.00, 0.00),
    "left_eye_inner_corner": (0.29, 0.03, -0.02),
    "left_eye_outer_corner": (0.73, 0.01, -0.12),
    "left_eyebrow_inner_end": (0.20, -0.27, 0.10),
    "left_eyebrow_outer_end": (0.86, -0.25, -0.14),
    "nose_tip": (0.00, 0.64, 0.48),
    "mouth_left_corner": (0.38, 1.06, 0.04),
    "mouth_center_top_lip": (0.00, 0.98, 0.22),
    "mouth_center_bottom_lip": (0.00, 1.24, 0.18),
}
"""The mean face: the subject's left half, which is on the right in the image. The right half is its mirror image."""


@dataclass(frozen=True)
class Canvas:
    """An image being drawn: tones (H, W) from 0 (black) to 1 (white), and the coordinates of its pixels, (H, W) each."""

    tones: Array
    x: Array
    y: Array

    @classmethod
    def blank(cls, size: Size) -> Canvas:
        """A black image."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        return cls(np.zeros(size, np.float32), x, y)

    def paint(self, distance: Array, tone: Array | float, opacity: float = 1.0) -> None:
        """Paint the shape with signed `distance` (H, W) in pixels, negative inside, with an edge one pixel wide."""
        cover = opacity * np.clip(0.5 - distance, 0, 1)
        np.add(self.tones, cover * (tone - self.tones), out=self.tones)

    def glow(self, centre: Point, radius: float, amount: float) -> None:
        """Add a Gaussian ``exp(-r^2 / radius^2)`` times `amount`, which may be negative, around a point."""
        r2 = ((self.x - centre[0]) ** 2 + (self.y - centre[1]) ** 2) / radius**2
        np.add(self.tones, np.float32(amount) * np.exp(-r2), out=self.tones)

    def ellipse(self, centre: Point, rx: float, ry: float, angle: float = 0.0) -> Array:
        """Signed distance to an ellipse, exact to first order near its edge, which suffices for a one-pixel edge."""
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        u, v = (c * dx + s * dy) / np.float32(rx), (c * dy - s * dx) / np.float32(ry)
        k = np.sqrt(u * u + v * v) + np.float32(1e-6)
        slope = np.sqrt((u / np.float32(rx)) ** 2 + (v / np.float32(ry)) ** 2) / k + np.float32(1e-6)
        return np.asarray((k - 1) / slope, dtype=np.float32)

    def curve(self, points: NDArray[np.float64], half_width: float) -> Array:
        """Signed distance to a polyline (n, 2) whose half width decreases to 40 % at its last point."""
        best: Array = np.full(self.x.shape, 1e9, np.float32)
        for i, (a, b) in enumerate(pairwise(points)):
            along = b - a
            t = ((self.x - a[0]) * along[0] + (self.y - a[1]) * along[1]) / max(along @ along, 1e-9)
            t = np.clip(t, 0, 1)
            gap = np.hypot(self.x - a[0] - t * along[0], self.y - a[1] - t * along[1])
            width = half_width * (1 - 0.6 * (i + t) / (len(points) - 1))
            best = np.minimum(best, (gap - width).astype(np.float32))
        return np.asarray(best, dtype=np.float32)

    def lens(self, a: Point, b: Point, above: float, below: float) -> Array:
        """Approximate signed distance to the area between two parabolas through a and b.

        Their vertices are `above` and `below` pixels from the segment between a and b.
        """
        axis = b - a
        length = float(np.hypot(*axis))
        ex = axis / length
        u = ((self.x - a[0]) * ex[0] + (self.y - a[1]) * ex[1]) / np.float32(length)
        v = (self.y - a[1]) * ex[0] - (self.x - a[0]) * ex[1]
        bow = 4 * u * (1 - u)
        return np.asarray(np.maximum(-v - above * bow, v - below * bow), dtype=np.float32)


@dataclass(frozen=True)
class Face:
    """A posed face: keypoints (15, 2) in pixels, projection of 3-D points (n, 3) to pixels, pixels per unit, roll (rad)."""

    points: NDArray[np.float64]
    project: partial[NDArray[np.float64]]
    scale: float
    roll: float

    def __getitem__(self, name: str) -> Point:
        return np.asarray(self.points[FACE15.names.index(name)])


def _project(
    points: NDArray[np.float64], rotation: NDArray[np.float64], scale: float, centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weak-perspective projection of points (n, 3) to (n, 2): rotate about the face's centre, drop z, scale, shift."""
    middle = np.array([0.0, 0.55, -0.3])
    turned = (np.atleast_2d(points) - middle) @ rotation.T + middle * [1, 1, 0]
    return np.asarray(scale * turned[:, :2] + centre)


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """The rotation matrix (3, 3) of angles in radians: yaw first, then pitch, then roll."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(tilt @ nod @ turn)


def _make_face(rng: np.random.Generator, size: Size) -> Face:
    """A face with random identity, expression and pose, placed like those in Kaggle's images."""
    left = {name: np.array(place) + rng.normal(0, 0.02, 3) for name, place in _SHAPE.items()}
    brow, smile, jaw = rng.normal(0, 0.04), rng.normal(0, 0.04), max(0.0, rng.normal(0, 0.1))
    for name, place in left.items():
        if "eyebrow" in name:
            place[1] += brow
    left["mouth_left_corner"] += [0.6 * smile, -smile, 0]
    left["mouth_center_bottom_lip"][1] += jaw
    for name in ("nose_tip", "mouth_center_top_lip", "mouth_center_bottom_lip"):
        left[name][0] = 0
    shape = [left[name] if name in left else left[_mirrored(name)] * [-1, 1, 1] for name in FACE15.names]
    yaw, pitch, roll = rng.normal(0, [0.26, 0.12, 0.12]).clip([-0.6, -0.3, -0.4], [0.6, 0.3, 0.4])
    unit = min(size) / 96
    scale = unit * 34 * rng.uniform(0.85, 1.1)
    for _ in range(20):
        centre = unit * np.array([47.5 + rng.normal(0, 3), 37 + rng.normal(0, 2.5)])
        project = partial(_project, rotation=_rotation(yaw, pitch, roll), scale=scale, centre=centre)
        points = project(np.array(shape))
        if (points > 1).all() and (points < np.array(size[::-1]) - 2).all():
            break
        scale *= 0.96
    return Face(points, project, scale, float(roll))


def _mirrored(name: str) -> str:
    return name.replace("right", "left")


def _draw_head(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """Draw background, neck, hair, ears and the shaded skin."""
    height, width = canvas.tones.shape
    s = face.scale
    base, slope = rng.uniform(0.05, 0.95), rng.uniform(-0.4, 0.4, 2)
    canvas.tones[...] = base + slope[0] * (canvas.x / width - 0.5) + slope[1] * (canvas.y / height - 0.5)
    for _ in range(rng.integers(0, 4)):
        spot = rng.uniform(0, [width, height])
        rx, ry = rng.uniform(0.1, 0.5, 2) * width
        canvas.paint(canvas.ellipse(spot, rx, ry, rng.uniform(0, 3)), rng.uniform(0, 1), 0.6)
    skin, hair = rng.uniform(0.35, 0.85), rng.uniform(0.02, 0.45)
    middle = face.project(np.array([0.0, 0.5, -0.15]))[0]
    crown = face.project(np.array([0.0, 0.15, -0.5]))[0]
    neck = face.project(np.array([0.0, 2.3, -0.6]))[0]
    wide = rng.uniform(1.08, 1.22)
    canvas.paint(canvas.ellipse(neck, 0.75 * s, 1.2 * s), 0.75 * skin)
    canvas.paint(canvas.ellipse(crown, (wide + 0.2) * s, rng.uniform(1.5, 1.75) * s, face.roll), hair)
    for side in (-1, 1):
        ear = face.project(np.array([side * wide, 0.3, -0.75]))[0]
        canvas.paint(canvas.ellipse(ear, 0.17 * s, 0.32 * s, face.roll), 0.85 * skin)
    light = rng.normal(0, 1, 2)
    light *= rng.uniform(0.05, 0.3) / np.hypot(*light)
    shade = skin + light[0] * (canvas.x - middle[0]) / s + light[1] * (canvas.y - middle[1]) / (1.5 * s)
    canvas.paint(canvas.ellipse(middle, wide * s, rng.uniform(1.5, 1.62) * s, face.roll), np.clip(shade, 0.05, 1))


def _draw_eye(canvas: Canvas, face: Face, side: str, open_: float, iris: float, brow: float, glasses: bool) -> None:
    """Draw one eye, its eyebrow and glasses. open_: height of the upper lid in units; iris, brow: tones."""
    s = face.scale
    inner, outer = face[f"{side}_eye_inner_corner"], face[f"{side}_eye_outer_corner"]
    a, b = (outer, inner) if side == "right" else (inner, outer)  # from left to right in the image
    centre = face[f"{side}_eye_center"]
    socket = canvas.lens(a, b, (open_ + 0.1) * s, (open_ + 0.04) * s)
    canvas.paint(socket, canvas.tones * 0.82, 0.8)
    white = canvas.lens(a, b, open_ * s, 0.75 * open_ * s)
    canvas.paint(white, 0.92)
    for radius, tone in ((0.125, iris), (0.055, 0.02)):
        canvas.paint(np.maximum(white, canvas.ellipse(centre, radius * s, radius * s)), tone)
    canvas.paint(np.maximum(canvas.lens(a, b, (open_ + 0.045) * s, -open_ * s), -white), 0.12, 0.85)
    inside, end = face[f"{side}_eyebrow_inner_end"], face[f"{side}_eyebrow_outer_end"]
    rise = face.project(np.array([0, -0.09, 0.0]))[0] - face.project(np.zeros(3))[0]
    t = np.linspace(0, 1, 7)[:, None]
    canvas.paint(canvas.curve((1 - t) * inside + t * end + 4 * t * (1 - t) * rise, 0.055 * s), brow, 0.9)
    if glasses:
        ring = np.abs(canvas.ellipse(centre, 0.36 * s, 0.27 * s, face.roll)) - np.float32(0.02 * s)
        canvas.paint(ring.astype(np.float32), 0.08)


def _draw_nose(canvas: Canvas, face: Face) -> None:
    """Draw the nose: the shadow below the tip, the ridge, nostrils, and the highlight on the tip."""
    s, tip = face.scale, face["nose_tip"]
    bridge = face.project(np.array([0.0, 0.1, 0.15]))[0]
    canvas.glow(tip + [0, 0.1 * s], 0.24 * s, -0.13)
    canvas.paint(canvas.curve(np.array([tip, bridge]), 0.07 * s), canvas.tones + 0.06, 0.8)
    for side in (-1, 1):
        nostril = face.project(np.array([side * 0.12, 0.74, 0.34]))[0]
        canvas.paint(canvas.ellipse(nostril, 0.06 * s, 0.035 * s, face.roll), 0.1, 0.8)
    canvas.glow(tip, 0.11 * s, 0.22)


def _draw_mouth(canvas: Canvas, face: Face, tone: float) -> None:
    """Draw lips whose outer edges pass through the mouth's four keypoints, and the dark gap between them."""
    a, b = face["mouth_right_corner"], face["mouth_left_corner"]
    axis = (b - a) / np.hypot(*(b - a))
    heights = [float((face[f"mouth_center_{lip}_lip"] - a) @ [-axis[1], axis[0]]) for lip in ("top", "bottom")]
    top, bottom = -heights[0], heights[1]
    gap = max(0.0, (bottom + top) - 0.3 * face.scale)
    canvas.paint(canvas.lens(a, b, top, bottom), tone)
    middle = 0.5 * (bottom - top)
    canvas.paint(
        canvas.lens(a, b, -middle + 0.5 * gap + 0.012 * face.scale, middle + 0.5 * gap + 0.012 * face.scale), 0.08
    )
    canvas.glow(face["mouth_center_bottom_lip"] + [0, 0.16 * face.scale], 0.2 * face.scale, -0.1)


def _occlude(canvas: Canvas, face: Face, rng: np.random.Generator) -> NDArray[np.uint8]:
    """With probability 0.15 cover a part of the face by an ellipse; returns the keypoints' visibility (15,)."""
    visibility = np.full(15, VISIBLE, dtype=np.uint8)
    if rng.random() > 0.15:
        return visibility
    centre = face.points[rng.integers(15)] + rng.normal(0, 3, 2)
    rx, ry = rng.uniform(0.15, 0.45, 2) * face.scale
    angle = rng.uniform(0, np.pi)
    canvas.paint(canvas.ellipse(centre, rx, ry, angle), rng.uniform(0, 1))
    c, s = np.cos(angle), np.sin(angle)
    local = (face.points - centre) @ np.array([[c, -s], [s, c]])
    visibility[((local / [rx, ry]) ** 2).sum(1) < 1] = OCCLUDED
    return visibility


def _finish(tones: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply blur, contrast and noise, and convert to uint8. The binomial blur is symmetric, so features stay in place."""
    for _ in range(int(rng.integers(0, 3))):
        for axis in (0, 1):
            padded = np.pad(tones, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
            low, _, high = (np.take(padded, range(i, i + tones.shape[axis]), axis) for i in range(3))
            tones = np.asarray((low + 2 * tones + high) / 4, dtype=np.float32)
    gain, lift = rng.uniform(0.6, 1.0), rng.uniform(0.0, 0.25)
    noise = rng.normal(0, rng.uniform(0, 0.03), tones.shape)
    return np.asarray(np.clip(255 * (gain * tones + lift + noise) + 0.5, 0, 255).astype(np.uint8))


def render_face(seed: int, index: int, size: Size = (96, 96)) -> tuple[NDArray[np.uint8], Array, NDArray[np.uint8]]:
    """Face `index` of `seed`: image uint8 (H, W), keypoints float32 (15, 2), visibility uint8 (15,), 1 if covered."""
    rng = np.random.default_rng([seed, index])
    face, canvas = _make_face(rng, size), Canvas.blank(size)
    _draw_head(canvas, face, rng)
    open_, iris, brow = rng.uniform(0.07, 0.14), rng.uniform(0.12, 0.45), rng.uniform(0.03, 0.3)
    glasses = bool(rng.random() < 0.12)
    for side in ("left", "right"):
        _draw_eye(canvas, face, side, open_, iris, brow, glasses)
    _draw_nose(canvas, face)
    _draw_mouth(canvas, face, rng.uniform(0.2, 0.45))
    visibility = _occlude(canvas, face, rng)
    return _finish(canvas.tones, rng), face.points.astype(np.float32), visibility


def _blocks(count: int, size: Size, seed: int) -> Iterator[Samples]:
    """The faces in blocks."""
    for start in range(0, count, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, count))
        faces = [render_face(seed, int(i), size) for i in rows]
        images, points, visibility = (np.stack(part) for part in zip(*faces, strict=True))
        yield Samples(images, points, visibility, rows)


def open_synthetic(path: Path | None = None, *, count: int = 1000, size: Size = (96, 96), seed: int = 0) -> Source:
    """`count` faces of `size` (H, W); `path` is ignored. Raises ConfigError for a size or count out of range."""
    if not 1 <= count <= 10_000_000 or not all(32 <= side <= 1024 for side in size):
        raise ConfigError(f"count must be 1 to 10000000 and the size 32 to 1024 pixels; got {count} and {size}")
    label = f"synthetic faces (seed {seed})"
    return Source(
        label, FACE15, size, 1, partial(_blocks, count, size, seed), total=count, flip_note="6 left/right pairs"
    )


DATASET = Dataset("built-in synthetic faces, if no source is given", lambda path: False, open_synthetic)
