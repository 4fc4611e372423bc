"""Whole pictures of any size and aspect in a network's images, computed in torch as `kptool.data.images.crop` computes it.

    picture -> averaged to about the network's scale (beyond its edges the nearest pixel is repeated) -> interpolated

An exported graph takes pictures as they are, and answers what `predict` answers for them. Every step is a product with
a matrix for each axis, since the resizing of ONNX differs between runtimes where it averages; the steps round to whole
grey levels where Pillow does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kptool.base.geometry import Size
from kptool.data.images import FRACTIONS, SLACK

_BESIDE = 8
"""Lines that the averaged picture has beside those that the network's image shows, at most."""
_UNITS = 1 << 22
"""Pillow averages with whole multiples of a fraction."""


@dataclass(frozen=True)
class Letterbox:
    """Images float32 (n, C, h, w), whole numbers 0..255, and where the pictures' pixels p are: scale p + shift.

    scale (1,) and shift (2,), for x and y, float64; the picture keeps its aspect and lies in the middle.
    """

    images: Tensor
    scale: Tensor
    shift: Tensor

    def back(self, points: Tensor) -> Tensor:
        """Points (..., 2) of the images in pixels of the pictures, float32."""
        return ((points.double() - self.shift) / self.scale).float()


def letterbox(pictures: Tensor, size: Size) -> Letterbox:
    """Pictures (n, C, H, W), 0..255, brought whole into images of `size`, aspect kept, as `geometry.fit_box` does."""
    sides = [torch.full((1,), pictures.shape[axis], dtype=torch.float64, device=pictures.device) for axis in (3, 2)]
    targets = (size[1], size[0])
    scale = torch.minimum(*(target / side for target, side in zip(targets, sides, strict=True)))
    first = [-0.5 + (side - target / scale) / 2 for target, side in zip(targets, sides, strict=True)]
    shift = [-x * scale - 0.5 for x in first]
    width, height = pictures.shape[3], pictures.shape[2]
    across = _Axis.of(width, targets[0], scale, shift[0], beyond=_beyond(width, targets[0], height, targets[1]))
    down = _Axis.of(height, targets[1], scale, shift[1], beyond=_beyond(height, targets[1], width, targets[0]))
    rough = _whole(down.average @ _whole(pictures.double() @ across.average.T))
    fine = down.interpolate @ rough @ across.interpolate.T
    return Letterbox((fine + SLACK).floor().float(), scale, torch.cat(shift))  # Pillow cuts off here


def _beyond(count: int, target: int, other: int, other_target: int) -> int:
    """Lines that may be needed beyond each edge of a picture `count` lines long."""
    return target * other // (2 * other_target) + 2 * (count // target + other // other_target) + 8


def _whole(values: Tensor) -> Tensor:
    return (values + 0.5).floor()


@dataclass(frozen=True)
class _Axis:
    """Matrices for one axis: average (target + 8, count), interpolate (target, target + 8), float64."""

    average: Tensor
    interpolate: Tensor

    @classmethod
    def of(cls, count: int, target: int, scale: Tensor, shift: Tensor, *, beyond: int) -> _Axis:
        """For `count` lines that are shown at scale * line + shift, scale and shift (1,)."""
        device = scale.device
        shrink = scale.clamp_max(1)
        low = ((-0.5 - shift) / scale - 2 / shrink + SLACK).floor()
        high = ((target - 0.5 - shift) / scale + 2 / shrink - SLACK).ceil() + 1
        full = high - low
        step = full / (full * shrink - SLACK).ceil().clamp_min(1)
        centre = (torch.arange(target + _BESIDE, device=device) + 0.5) * step - 0.5 + low
        lines = torch.arange(count, device=device)
        edge = torch.arange(beyond, device=device)
        bounds = centre, step, low, high
        inside, before, after = (_weights(at, *bounds) for at in (lines, edge - beyond, edge + count))
        before, after = before.sum(1, keepdim=True), after.sum(1, keepdim=True)
        total = (inside.sum(1, keepdim=True) + before + after).clamp_min(1e-12)
        inside = inside + before * (lines == 0) + after * (lines == count - 1)
        linear = (1 / (step * scale) * FRACTIONS).round() / FRACTIONS
        offset = (((-shift / scale - low + 0.5) / step - 0.5 * linear) * FRACTIONS).round() / FRACTIONS
        shown = linear * (torch.arange(target, device=device) + 0.5) + offset - 0.5
        near = 1 - (shown[:, None] - torch.arange(target + _BESIDE, device=device)).abs()
        return cls((inside / total * _UNITS + 0.5).floor() / _UNITS, near.clamp_min(0))


def _weights(at: Tensor, centre: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """A triangle filter at every `centre` (m,), `step` (1,) to each side, for lines `at` (n,) from low to high: (m, n)."""
    distance = (at.double() - centre[:, None]).abs() / step.clamp_min(1)
    return (1 - distance).clamp_min(0) * ((at >= low) & (at < high))
