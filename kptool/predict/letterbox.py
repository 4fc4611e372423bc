"""Letterboxing in torch: whole pictures of any size and aspect resized into the model's input.

    picture -> averaged down to about the target's scale (edge pixels repeated outside) -> interpolated

It reproduces `kptool.data.images.crop`, so that an exported graph gives the results of `predict` for pictures as they
are. Each step is a matrix product per axis, because ONNX's antialiased resizing differs between runtimes; values are
rounded to whole grey levels at the same steps as in Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kptool.base.geometry import Size
from kptool.data.images import FRACTIONS, SLACK

_BESIDE = 8
"""Most additional lines of the averaged picture beyond the target's."""
_UNITS = 1 << 22
"""Pillow's filter weights are multiples of 1 / _UNITS."""


@dataclass(frozen=True)
class Letterbox:
    """Letterboxed images, float32 (n, C, h, w), whole numbers 0..255, and the map from the pictures' pixels.

    A picture's pixel p lies at scale * p + shift, with scale (1,) and shift (2,) (x, y), float64. The picture is centred
    and keeps its aspect ratio.
    """

    images: Tensor
    scale: Tensor
    shift: Tensor

    def back(self, points: Tensor) -> Tensor:
        """Map points (..., 2) of the images to pixels of the pictures, float32."""
        return ((points.double() - self.shift) / self.scale).float()


def letterbox(pictures: Tensor, size: Size) -> Letterbox:
    """Letterbox pictures (n, C, H, W), 0..255, into images of `size` (h, w), with the map of `geometry.fit_box`."""
    sides = [torch.full((1,), pictures.shape[axis], dtype=torch.float64, device=pictures.device) for axis in (3, 2)]
    targets = (size[1], size[0])
    scale = torch.minimum(*(target / side for target, side in zip(targets, sides, strict=True)))
    first = [-0.5 + (side - target / scale) / 2 for target, side in zip(targets, sides, strict=True)]
    shift = [-x * scale - 0.5 for x in first]
    width, height = pictures.shape[3], pictures.shape[2]
    across = _Axis.of(width, targets[0], scale, shift[0], beyond=_beyond(width, targets[0], height, targets[1]))
    down = _Axis.of(height, targets[1], scale, shift[1], beyond=_beyond(height, targets[1], width, targets[0]))
    rough = _rounded(down.average @ _rounded(pictures.double() @ across.average.T))
    fine = down.interpolate @ rough @ across.interpolate.T
    return Letterbox((fine + SLACK).floor().float(), scale, torch.cat(shift))  # Pillow truncates here


def _beyond(count: int, target: int, other: int, other_target: int) -> int:
    """Most lines needed outside each edge of a picture `count` lines long."""
    return target * other // (2 * other_target) + 2 * (count // target + other // other_target) + 8


def _rounded(values: Tensor) -> Tensor:
    """Rounded half up, as Pillow rounds; `torch.round` rounds half to even."""
    return (values + 0.5).floor()


@dataclass(frozen=True)
class _Axis:
    """The resizing matrices of one axis: average (target + 8, count), interpolate (target, target + 8), float64."""

    average: Tensor
    interpolate: Tensor

    @classmethod
    def of(cls, count: int, target: int, scale: Tensor, shift: Tensor, *, beyond: int) -> _Axis:
        """The matrices for `count` lines, line i lying at scale * i + shift in the target; scale and shift (1,)."""
        device = scale.device
        shrink = scale.clamp_max(1)
        low = ((-0.5 - shift) / scale - 2 / shrink + SLACK).floor()
        high = ((target - 0.5 - shift) / scale + 2 / shrink - SLACK).ceil() + 1
        full = high - low
        step = full / (full * shrink - SLACK).ceil().clamp_min(1)
        centre = (torch.arange(target + _BESIDE, device=device) + 0.5) * step - 0.5 + low
        lines = torch.arange(count, device=device)
        everywhere = _weights(torch.arange(count + 2 * beyond, device=device) - beyond, centre, step, low, high)
        inside = everywhere[:, beyond : beyond + count]
        before, after = (
            everywhere[:, :beyond].sum(1, keepdim=True),
            everywhere[:, beyond + count :].sum(1, keepdim=True),
        )
        total = (inside.sum(1, keepdim=True) + before + after).clamp_min(1e-12)
        inside = inside + before * (lines == 0) + after * (lines == count - 1)
        linear = (1 / (step * scale) * FRACTIONS).round() / FRACTIONS
        offset = (((-shift / scale - low + 0.5) / step - 0.5 * linear) * FRACTIONS).round() / FRACTIONS
        shown = linear * (torch.arange(target, device=device) + 0.5) + offset - 0.5
        near = 1 - (shown[:, None] - torch.arange(target + _BESIDE, device=device)).abs()
        return cls(_rounded(inside / total * _UNITS) / _UNITS, near.clamp_min(0))


def _weights(at: Tensor, centre: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Triangle filters (m, n) at each `centre` (m,), of half-width `step` (1,), for lines `at` (n,) in low..high."""
    distance = (at.double() - centre[:, None]).abs() / step.clamp_min(1)
    return (1 - distance).clamp_min(0) * ((at >= low) & (at < high))
