"""Pictures with boxes and keypoints drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kptool.base.geometry import Box, to_edges
from kptool.data import colours

_LEAST_SIDE, _MOST_SIDE = 480, 4000
"""Drawings are enlarged to at least the one and at most the other, pixels of the longer side."""
_LABELLED_FACE = 500
"""The shorter side of a face that leaves room for the keypoints' numbers, pixels."""


class Face(Protocol):
    """A box and keypoints (K, 2), in pixels of the picture."""

    @property
    def box(self) -> Box: ...
    @property
    def keypoints(self) -> NDArray[np.float32]: ...


def draw(
    image: NDArray[np.uint8],
    faces: Sequence[Face],
    names: Sequence[str],
    *,
    label: bool = False,
    tints: Sequence[str] | None = None,
    enlarge: bool = True,
) -> Image.Image:
    """Draw boxes and keypoints on a picture, enlarged if it is small; with `label`, also numbers and a list of names.

    Without `enlarge` the picture keeps its size, and there is no list of names. A face with a `track` gets this number at its
    box, and the box the number's colour. `tints` are the keypoints' colours from `kptool.data.colours`, which make a swap of
    left and right visible.
    """
    tints = tints or colours.of(names, ())
    picture = Image.fromarray(image).convert("RGB")
    wanted = _LEAST_SIDE / max(picture.size)
    if label and faces and enlarge:
        wanted = max(wanted, _LABELLED_FACE / min(min(face.box[2:]) for face in faces))
    scale = max(1, math.ceil(min(wanted, _MOST_SIDE / max(picture.size)))) if enlarge else 1
    if scale > 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for face in faces:
        x, y = to_edges(np.array(face.box[:2])).tolist()
        x, y, width, height = (value * scale for value in (x, y, *face.box[2:]))
        dot = max(2.0, math.hypot(width, height) / 110)
        size = max(10.0, dot * 3)
        font = ImageFont.load_default(size)
        track: int | None = getattr(face, "track", None)
        edge = "white" if track is None else colours.TRACKS[track % len(colours.TRACKS)]
        pen.rectangle((x, y, x + width, y + height), outline=edge, width=max(1, round(dot / 2)))
        if track is not None:
            above = y > 1.8 * size
            at, anchor = (max(x, 0) + dot, y - dot / 2 if above else max(y, 0) + dot), "lb" if above else "lt"
            pen.text(
                at,
                f"#{track}",
                fill=edge,
                font=ImageFont.load_default(1.4 * size),
                anchor=anchor,
                stroke_width=2,
                stroke_fill="black",
            )
        for number, (tint, point) in enumerate(zip(tints, face.keypoints, strict=True)):
            if np.isnan(point).any():
                continue
            px, py = (to_edges(point.astype(np.float64)) * scale).tolist()
            pen.ellipse((px - dot, py - dot, px + dot, py + dot), fill=tint, outline="black")
            if label:
                at = (px, py - 1.3 * dot)
                pen.text(at, str(number), fill="white", font=font, anchor="mb", stroke_width=1, stroke_fill="black")
    return _with_names(picture, names, tints) if label and enlarge else picture


def _with_names(picture: Image.Image, names: Sequence[str], tints: Sequence[str]) -> Image.Image:
    """The picture with the list of keypoint numbers and names beside it."""
    size = min(24.0, max(8.0, 0.7 * picture.height / len(names)))
    font = ImageFont.load_default(size)
    lines = [f"{number}  {name.replace('_', ' ')}" for number, name in enumerate(names)]
    step, margin = size * 1.4, size
    width = round(max(font.getlength(line) for line in lines) + 2 * margin)
    wide = Image.new("RGB", (picture.width + width, picture.height), "#1f2328")
    wide.paste(picture)
    pen = ImageDraw.Draw(wide)
    for number, (tint, line) in enumerate(zip(tints, lines, strict=True)):
        pen.text((picture.width + margin, margin + number * step), line, fill=tint, font=font)
    return wide
