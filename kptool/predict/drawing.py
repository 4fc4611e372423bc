"""Pictures with boxes and keypoints drawn: marks in the colours and shapes of `kptool.base.palette`, with a light and a dark
outline, so that they show on any picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kptool.base.geometry import Box, to_edges
from kptool.base.palette import OUTLINE, TRACKS, TRUTH, shape_of
from kptool.data import colours

_LEAST_SIDE, _MOST_SIDE = 480, 4000
"""Drawings are enlarged to at least the one and at most the other, pixels of the longer side."""
_LABELLED_FACE = 500
"""The shorter side of a face that leaves room for the keypoints' numbers, pixels."""
_FINER, _PLACES = 4, 4
"""Marks are drawn this much larger and made smaller, which smooths their edges, at fractions of a pixel of 1 / `_PLACES`."""
_CORNERS = 90
"""Corners of a drawn ellipse."""
_FAINTEST = 0.15
"""Opacity of a circle of score 0."""


class Face(Protocol):
    """A box and keypoints (K, 2), in pixels of the picture."""

    @property
    def box(self) -> Box: ...
    @property
    def keypoints(self) -> NDArray[np.float32]: ...


class Scored(Face, Protocol):
    """A face whose keypoints have scores (K,), 0..1, and 90 % radii (K,), pixels; NaN for none."""

    @property
    def scores(self) -> NDArray[np.float32]: ...
    @property
    def radius90(self) -> NDArray[np.float32]: ...


def draw(
    image: NDArray[np.uint8],
    faces: Sequence[Face],
    names: Sequence[str],
    *,
    label: bool = False,
    tints: Sequence[str] | None = None,
    enlarge: bool = True,
    circles: bool = False,
) -> Image.Image:
    """Draw boxes and keypoints on a picture, enlarged if it is small; with `label`, also numbers and a list of names.

    Without `enlarge` the picture keeps its size, and there is no list of names. A face with a `track` gets this number at its
    box, and the box the number's colour. `tints` are the keypoints' colours from `kptool.data.colours`, which make a swap of
    left and right visible. With `circles`, which takes `Scored` faces, a circle around each keypoint has `radius90` as its
    radius and the score as its opacity.
    """
    tints = tints or colours.of(names, ())
    picture = Image.fromarray(image).convert("RGB")
    wanted = _LEAST_SIDE / max(picture.size)
    if label and faces and enlarge:
        wanted = max(wanted, _LABELLED_FACE / min(min(face.box[2:]) for face in faces))
    scale = max(1, math.ceil(min(wanted, _MOST_SIDE / max(picture.size)))) if enlarge else 1
    if scale > 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
    for face in faces if circles else ():
        _circles(picture, cast(Scored, face), tints, scale)
    for face in faces:
        _draw_face(picture, face, tints, scale, label=label)
    return _with_names(picture, names, tints) if label and enlarge else picture


def _draw_face(picture: Image.Image, face: Face, tints: Sequence[str], scale: int, *, label: bool) -> None:
    """Draw the box, the track's number and the keypoints of a face on a picture enlarged by `scale`."""
    pen = ImageDraw.Draw(picture)
    x, y = to_edges(np.array(face.box[:2])).tolist()
    x, y, width, height = (value * scale for value in (x, y, *face.box[2:]))
    dot = max(2.0, math.hypot(width, height) / 110)
    thick, size = max(1, round(dot / 2)), max(10.0, dot * 3)
    track: int | None = getattr(face, "track", None)
    edge = TRUTH if track is None else TRACKS[track % len(TRACKS)]
    pen.rectangle((x - 1, y - 1, x + width + 1, y + height + 1), outline=OUTLINE, width=thick + 2)
    pen.rectangle((x, y, x + width, y + height), outline=edge, width=thick)
    if track is not None:
        above = y > 1.8 * size
        at, anchor = (max(x, 0) + dot, y - dot / 2 if above else max(y, 0) + dot), "lb" if above else "lt"
        font = ImageFont.load_default(1.4 * size)
        pen.text(at, f"#{track}", fill=edge, font=font, anchor=anchor, stroke_width=2, stroke_fill=OUTLINE)
    font = ImageFont.load_default(size)
    for number, (tint, point) in enumerate(zip(tints, face.keypoints, strict=True)):
        if np.isnan(point).any():
            continue
        px, py = (to_edges(point.astype(np.float64)) * scale).tolist()
        _mark(picture, px, py, dot, tint)
        if label:
            at = (px, py - 1.6 * dot)
            pen.text(at, str(number), fill=TRUTH, font=font, anchor="mb", stroke_width=1, stroke_fill=OUTLINE)


def _mark(picture: Image.Image, x: float, y: float, dot: float, tint: str) -> None:
    """Draw a keypoint's mark at (x, y), pixels from the picture's edges; parts outside of the picture are cut off."""
    left, top = (math.floor(value * _PLACES) for value in (x, y))
    stamp = _stamp(round(dot, 1), tint, left % _PLACES, top % _PLACES)
    corner = (left // _PLACES - stamp.width // 2, top // _PLACES - stamp.height // 2)
    picture.paste(stamp, corner, stamp)


@lru_cache(maxsize=512)
def _stamp(dot: float, tint: str, right: int, down: int) -> Image.Image:
    """A mark of radius `dot` in a white and a black outline, transparent around it, off its centre by `right` and `down`
    times 1 / `_PLACES` pixel."""
    rim = max(2.0, dot * 0.6)
    side = 2 * math.ceil(1.5 * dot + 2 * rim + 1)
    large = Image.new("RGBA", (side * _FINER, side * _FINER))
    pen, shape = ImageDraw.Draw(large), shape_of(tint)
    x, y = ((side / 2 + part / _PLACES) * _FINER for part in (right, down))
    for radius, colour in ((dot + rim, OUTLINE), (dot + rim / 2, TRUTH), (dot, tint)):
        r = radius * _FINER
        if shape == "circle":
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        elif shape == "square":
            r *= 0.9
            pen.rectangle((x - r, y - r, x + r, y + r), fill=colour)
        else:
            r *= 1.25
            pen.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill=colour)
    return large.resize((side, side), Image.Resampling.BOX)


def _circles(picture: Image.Image, face: Scored, tints: Sequence[str], scale: int) -> None:
    """Draw the circle of each keypoint of a face, or its ellipse if it has one, on a picture enlarged by `scale`."""
    ellipses: NDArray[np.float32] | None = getattr(face, "ellipse90", None)
    for k, (tint, point, score, radius) in enumerate(
        zip(tints, face.keypoints, face.scores, face.radius90, strict=True)
    ):
        if not (np.isfinite(point).all() and np.isfinite(radius)) or radius <= 0:
            continue
        major, minor, angle = (radius, radius, 0.0) if ellipses is None or np.isnan(ellipses[k]).any() else ellipses[k]
        x, y = (to_edges(point.astype(np.float64)) * scale).tolist()
        strength = 255 * (_FAINTEST + (1 - _FAINTEST) * min(max(float(score), 0.0), 1.0))
        _ellipse(picture, (x, y), (float(major) * scale, float(minor) * scale), float(angle), tint, round(strength))


def _ellipse(
    picture: Image.Image,
    centre: tuple[float, float],
    semi: tuple[float, float],
    angle: float,
    tint: str,
    strength: int,
) -> None:
    """A filled ellipse with a rim; `strength` 0..255 is the rim's opacity, a third of it that of the inside."""
    radius = max(semi)
    thick = max(1.5, min(4.0, radius / 12))
    low = [max(0, math.floor(at - radius - thick)) for at in centre]
    high = [min(size, math.ceil(at + radius + thick)) for at, size in zip(centre, picture.size, strict=True)]
    if high[0] <= low[0] or high[1] <= low[1]:
        return
    finer = _FINER if radius < 200 else 1
    mask = Image.new("L", ((high[0] - low[0]) * finer, (high[1] - low[1]) * finer))
    x, y = ((at - least) * finer for at, least in zip(centre, low, strict=True))
    pen, around = ImageDraw.Draw(mask), np.linspace(0, 2 * math.pi, _CORNERS, endpoint=False)
    turn = complex(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
    inner = [max(0.0, each * finer - thick * finer) for each in semi]
    for (a, b), fill in (([each * finer for each in semi], strength), (inner, strength // 3)):
        edge = complex(x, y) + turn * (a * np.cos(around) + 1j * b * np.sin(around))
        pen.polygon([(z.real, z.imag) for z in edge.tolist()], fill=fill)
    mask = mask.resize((high[0] - low[0], high[1] - low[1]), Image.Resampling.BOX)
    picture.paste(tint, (low[0], low[1], high[0], high[1]), mask)


def _with_names(picture: Image.Image, names: Sequence[str], tints: Sequence[str]) -> Image.Image:
    """The picture with the list of keypoint numbers and names beside it."""
    size = min(24.0, max(8.0, 0.7 * picture.height / len(names)))
    font = ImageFont.load_default(size)
    lines = [f"{number}  {name.replace('_', ' ')}" for number, name in enumerate(names)]
    step, margin = size * 1.4, size
    width = round(max(font.getlength(line) for line in lines) + 2.9 * margin)
    wide = Image.new("RGB", (picture.width + width, picture.height), "#1f2328")
    wide.paste(picture)
    pen = ImageDraw.Draw(wide)
    for number, (tint, line) in enumerate(zip(tints, lines, strict=True)):
        top = margin + number * step
        _mark(wide, picture.width + margin, top + 0.6 * size, 0.26 * size, tint)
        pen.text((picture.width + 1.9 * margin, top), line, fill="#e6edf3", font=font)
    return wide
