"""Image augmentation on the device: geometry, applied to images and keypoints alike, then light, blur, noise and erasing.

A batch is augmented by random numbers between 0 and 1 that the caller drew, one row per image, and by white noise. Nothing here
copies from the host or waits for the device, so that an accelerator can be given many batches at once, and a CUDA graph can hold
one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from kptool.base.config import AugmentConfig
from kptool.base.geometry import Size, from_edges, to_edges, to_heatmap
from kptool.network.layers import vector
from kptool.system.workers import Workers

_CONTROL = 4
"""Control points of the elastic deformation along each axis."""
_MAX_SLOPE = 0.7
"""The largest slope of the elastic displacement, relative to the affine map: from 1 on, the image would fold over."""
_GREY = 1 / 3
"""The probability with which colour images lose their colour, relative to the strength of the light."""
_TILT, _LARGER = 10.0, 4.0
"""The largest rotation, in degrees, of objects that were turned upright, and how much larger these may have become."""
_TOLERANCE = 0.002
"""The error of a moved point, in pixels."""
_COLOURS = 4
_LATE = _COLOURS + 1
DRAWS = 18 + 2 * _CONTROL**2 + _LATE
"""Random numbers per image."""


@dataclass(frozen=True)
class Batch:
    """images: float32 (n, C, H, W), 0..255. points: float32 (n, K, 2), in pixels. labelled: bool (n, K). absent: bool (n, K),
    the keypoints whose heatmaps are to be empty, None if there are none. upright: float32 (n, 2, 3), the maps that turn the
    objects upright, NaN for those that cannot be turned; None if that is not to be done."""

    images: Tensor
    points: Tensor
    labelled: Tensor
    absent: Tensor | None = None
    upright: Tensor | None = None

    def halved(self) -> Batch:
        """The same batch at half the size, each pixel the mean of four."""
        return replace(self, images=F.avg_pool2d(self.images, 2, ceil_mode=True), points=to_heatmap(self.points, 2))

    @property
    def parts(self) -> tuple[Tensor | None, ...]:
        """All tensors, of which `of` makes another."""
        return self.images, self.points, self.labelled, self.absent, self.upright

    def of(self, parts: Sequence[Tensor | None]) -> Batch:
        """A batch of other tensors."""
        return Batch(*parts)  # type: ignore[arg-type]

    @property
    def learnt(self) -> Tensor:
        """The keypoints (n, K) that the loss counts."""
        return self.labelled if self.absent is None else self.labelled | self.absent


def draw(count: int, generator: torch.Generator) -> Tensor:
    """Random numbers (count, DRAWS) for `augment`; those that few images need come last, and change no others."""
    parts = [torch.rand((count, each), generator=generator) for each in (DRAWS - _LATE, _LATE)]
    return torch.cat(parts, 1)


def augment(
    batch: Batch,
    draws: Tensor,
    swap: Tensor,
    config: AugmentConfig,
    noise: torch.Generator,
    workers: Workers | None = None,
) -> Batch:
    """Augment a batch by `draws` (n, DRAWS), uniform in 0..1, and by white noise from a generator on the device.

    swap: int64 (K,), the order of keypoints in a mirrored image. A keypoint that leaves the image loses its label, and is not
    absent.
    """
    signed = draws * 2 - 1
    size = (batch.images.shape[-2], batch.images.shape[-1])
    mirrored = draws[:, 0] < config.flip
    chosen = None
    if batch.upright is not None:
        chosen = (draws[:, -_LATE] < config.upright) & batch.upright.isfinite().all(2).all(1)
    forward = _forward_maps(torch.cat([signed[:, 1:5], signed[:, 16:18]], 1), mirrored, size, config, chosen)
    if batch.upright is not None and chosen is not None:
        forward = torch.where(chosen[:, None, None], _after(forward, batch.upright.nan_to_num()), forward)
    field = _limit_slope(_field(signed[:, 18:-_LATE], size, config.elastic), forward) if config.elastic else None
    images = warp(batch.images, forward, field)
    images = _light(images, signed[:, 5:8] * config.light)
    images = _tint(images, draws[:, -_COLOURS], signed[:, 1 - _COLOURS :], config.light)
    images = _blur(images, draws[:, 8], config.blur)
    images = _add_noise(images, draws[:, 9] * config.noise, noise, workers or Workers())
    images = _erase(images, draws[:, 10:16], config.erase)
    points = torch.where(mirrored[:, None, None], batch.points.index_select(1, swap), batch.points)
    labelled, absent = (
        None if flags is None else torch.where(mirrored[:, None], flags.index_select(1, swap), flags)
        for flags in (batch.labelled, batch.absent)
    )
    assert labelled is not None
    points = move(points, forward, field, _steps(size, config))
    corner = vector(points, from_edges(size[1]), from_edges(size[0]))
    inside = ((points >= from_edges(0)) & (points <= corner)).all(-1)
    return Batch(images.clamp(0, 255), points, labelled & inside, absent)


def _forward_maps(
    signed: Tensor, mirrored: Tensor, size: Size, config: AugmentConfig, upright: Tensor | None = None
) -> Tensor:
    """Affine maps (n, 2, 3), pixels -> pixels: mirror, stretch and shear, rotate and scale about the centre, shift.

    Objects that are `upright` (n,) are rotated by `_TILT` at most.
    """
    angle = signed[:, 0] * math.radians(config.rotation)
    if upright is not None:
        angle = torch.where(upright, signed[:, 0] * math.radians(min(config.rotation, _TILT)), angle)
    scale = torch.exp(signed[:, 1] * math.log1p(config.scale))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    stretch = torch.exp(signed[:, 4] * math.log1p(config.stretch))
    mirror = torch.where(mirrored, -1.0, 1.0)
    zero = torch.zeros_like(stretch)
    along_x = torch.stack([stretch * mirror, signed[:, 5] * config.stretch], -1)
    linear = rotation @ torch.stack([along_x, torch.stack([zero, 1 / stretch], -1)], -2)
    centre = vector(signed, (size[1] - 1) / 2, (size[0] - 1) / 2)
    shift = signed[:, 2:4] * config.shift * vector(signed, size[1], size[0])
    offset = centre + shift - linear @ centre
    return torch.cat([linear, offset[:, :, None]], -1)


def _after(second: Tensor, first: Tensor) -> Tensor:
    """The affine maps (n, 2, 3) that do `first` and then `second`."""
    linear = second[:, :, :2] @ first[:, :, :2]
    offset = (second[:, :, :2] @ first[:, :, 2:]) + second[:, :, 2:]
    return torch.cat([linear, offset], -1)


def _field(signed: Tensor, size: Size, amount: float) -> Tensor:
    """A smooth displacement field (n, 2, H, W) in pixels, up to about `amount` of the image's sides, of source positions."""
    control = signed.view(-1, 2, _CONTROL, _CONTROL) * amount * vector(signed, size[1], size[0])[:, None, None]
    down, across = (_interpolation(side, signed) for side in size)
    return down @ control @ across.T


def _limit_slope(field: Tensor, forward: Tensor) -> Tensor:
    """The field, scaled down where its slope, multiplied by the norm of `forward`, exceeds `_MAX_SLOPE`.

    The warp is then invertible, and each iteration of `move` reduces the error to at most `_MAX_SLOPE` times as much.
    """
    across, down = field.diff(dim=-1).square().sum(1), field.diff(dim=-2).square().sum(1)
    slope = (across.amax((1, 2)) + down.amax((1, 2))).sqrt()
    slope = slope * _norm(forward[:, :, :2])
    limited: Tensor = field * (_MAX_SLOPE / slope.clamp_min(_MAX_SLOPE)).view(-1, 1, 1, 1)
    return limited


def _steps(size: Size, config: AugmentConfig) -> int:
    """Iterations of `move` for `_TOLERANCE` pixels: a field is at most 1.9 times, its slope 27 times its control points."""
    longest, scale = max(size), (1 + config.scale) * (1 + 2 * config.stretch)
    scale *= _LARGER if config.upright else 1
    slope = min(_MAX_SLOPE, 27 * config.elastic * longest / min(size) * scale)
    start = 1.9 * config.elastic * longest * scale
    return math.ceil(math.log(_TOLERANCE / start) / math.log(slope)) if start > _TOLERANCE else 1


def _interpolation(side: int, like: Tensor) -> Tensor:
    """The matrix (side, _CONTROL) of cubic interpolation: products with it are faster than `interpolate` on all images."""
    identity = torch.eye(_CONTROL, dtype=like.dtype, device=like.device)[None, None]
    return F.interpolate(identity, (side, _CONTROL), mode="bicubic", align_corners=True)[0, 0]


def warp(images: Tensor, forward: Tensor, field: Tensor | None = None) -> Tensor:
    """Resample images (n, C, H, W): the output at q is the input at p = inverse(forward)(q) + field(q), both in pixels.

    Beyond the edges, the nearest pixel is repeated.
    """
    height, width = images.shape[-2:]
    half = vector(forward, width / 2, height / 2)
    inverse = _inverse(forward[:, :, :2])
    # grid_sample maps output to input in coordinates whose edges are -1 and 1: p = (q + 1) * half - 0.5.
    linear = inverse * half / half[:, None]
    offset = (inverse @ (from_edges(half) - forward[:, :, 2])[:, :, None])[:, :, 0]
    theta = torch.cat([linear, (to_edges(offset) / half - 1)[:, :, None]], -1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    if field is not None:
        grid = grid + field.permute(0, 2, 3, 1) / half
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _norm(matrices: Tensor) -> Tensor:
    """The largest singular value (n,) of matrices (n, 2, 2), in closed form: torch's waits for the GPU."""
    a, b, c, d = matrices.flatten(1).unbind(1)
    upper, lower = a * a + b * b, c * c + d * d
    spread = ((upper - lower).square() + 4 * (a * c + b * d).square()).sqrt()
    return ((upper + lower + spread) / 2).sqrt()


def _inverse(matrices: Tensor) -> Tensor:
    """The inverses of matrices (n, 2, 2), in closed form for the same reason."""
    a, b, c, d = matrices.flatten(1).unbind(1)
    adjugate = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2)
    return adjugate / (a * d - b * c)[:, None, None]


def move(points: Tensor, forward: Tensor, field: Tensor | None = None, steps: int = 40) -> Tensor:
    """Where `warp` takes points (n, K, 2), in pixels: q = forward(p - field(q)), by fixed-point iteration from field = 0.

    Each of the `steps` multiplies the error by at most `_MAX_SLOPE`, for a field from `_limit_slope`.
    """
    linear, offset = forward[:, :, :2].transpose(1, 2), forward[:, None, :, 2]
    moved = points @ linear + offset
    if field is None:
        return moved
    half = vector(moved, field.shape[-1] / 2, field.shape[-2] / 2)
    for _ in range(steps):
        grid = (to_edges(moved) / half - 1)[:, :, None]
        shift = F.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=False)
        moved = (points - shift[..., 0].transpose(1, 2)) @ linear + offset
    return moved


def _light(images: Tensor, strength: Tensor) -> Tensor:
    """Gamma by the first column of `strength` (n, 3), and linear brightness gradients along x and y by the others."""
    height, width = images.shape[-2:]
    gamma = torch.exp(strength[:, 0]).view(-1, 1, 1, 1)
    x = torch.linspace(-1, 1, width, device=images.device)
    y = torch.linspace(-1, 1, height, device=images.device)
    gain = 1 + strength[:, 1, None, None] * x + strength[:, 2, None, None] * y[:, None]
    return 255 * (images / 255).clamp_min(1e-4).pow(gamma) * gain[:, None].clamp_min(0.1)


def _tint(images: Tensor, draw: Tensor, signed: Tensor, light: float) -> Tensor:
    """A gain of each colour by `signed` (n, 3), or no colour where `draw` (n,) is low; grey images stay as they are."""
    if images.shape[1] != 3 or light == 0:
        return images
    gain = torch.exp((signed - signed.mean(1, keepdim=True)) * light)[:, :, None, None]
    grey = (draw < light * _GREY).view(-1, 1, 1, 1)
    return torch.where(grey, images.mean(1, keepdim=True).expand_as(images), images * gain)


def _blur(images: Tensor, draw: Tensor, chance: float) -> Tensor:
    """A five-pixel binomial blur, blended in at a random strength with probability `chance`."""
    if chance == 0:
        return images
    smooth = _binomial(_binomial(F.pad(images, (2, 2, 2, 2), mode="replicate"), -1), -2)
    amount = (1 - draw / max(chance, 1e-9)).clamp_min(0).view(-1, 1, 1, 1)
    return torch.lerp(images, smooth, amount)


def _binomial(images: Tensor, axis: int) -> Tensor:
    """Images filtered with (1, 4, 6, 4, 1) / 16 along an axis, which loses 4 pixels: as sums, which are six times faster
    than torch's convolution with a group per channel."""
    first, second, middle, fourth, fifth = (images.narrow(axis, i, images.shape[axis] - 4) for i in range(5))
    return ((first + fifth) / 16).add_(second + fourth, alpha=4 / 16).add_(middle, alpha=6 / 16)


def _add_noise(images: Tensor, deviation: Tensor, generator: torch.Generator, workers: Workers) -> Tensor:
    """White noise of standard deviation `deviation` (n,), relative to white; drawn for the whole batch, of which this
    process takes its share."""
    shape = (len(images) * workers.world, *images.shape[1:])
    white = torch.randn(shape, generator=generator, device=images.device)[workers.rank :: workers.world]
    return images + white * (255 * deviation).view(-1, 1, 1, 1)


def _erase(images: Tensor, draws: Tensor, chance: float) -> Tensor:
    """A grey rectangle of up to 3/8 of each side, with probability `chance`; points under it keep their labels."""
    height, width = images.shape[-2:]
    x = torch.linspace(0, 1, width, device=images.device)
    y = torch.linspace(0, 1, height, device=images.device)
    half = draws[:, 3:5] / 6 + 0.02
    across = (x - draws[:, 1, None]).abs() < half[:, 0, None]
    down = (y - draws[:, 2, None]).abs() < half[:, 1, None]
    hidden = across[:, None, None, :] & down[:, None, :, None] & (draws[:, 0] < chance).view(-1, 1, 1, 1)
    return torch.where(hidden, 255 * draws[:, 5].view(-1, 1, 1, 1), images)
