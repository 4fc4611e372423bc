"""Pastes instances into other pictures of a batch: a few hundred boxes then appear in front of every background.

A box is copied with what surrounds it, scaled, and blended in with soft edges where it covers no other instance, after
"Cut, Paste and Learn" (Dwibedi, Misra & Hebert, ICCV 2017), which needs masks of the instances instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_CHANCE, _TRIES = 0.5, 8
"""Probability for each picture, and places tried for an instance."""
_AROUND, _SOFT = 1.3, 0.2
"""What is copied, relative to the box, and the share of its half side over which it is blended in."""
_SCALE = 0.35
"""Largest logarithm of the change of size."""
_LEAST = 6.0
"""Smallest side of a pasted box in pixels."""


@dataclass(frozen=True)
class Boxed:
    """Pictures float (n, C, H, W) and their boxes (n, M, 4), left and top edge, width, height in pixels: whether they are
    there (n, M), and whether they teach (n, M). The last slot of each picture is free."""

    images: Tensor
    boxes: Tensor
    there: Tensor
    teaches: Tensor


def paste(batch: Boxed, generator: torch.Generator) -> Boxed:
    """The batch with some instances of its pictures in others, too; random numbers come from a `generator` on the CPU."""
    boxes, there, teaches = (each.cpu().clone() for each in (batch.boxes, batch.there, batch.teaches))
    images = batch.images.clone()
    count = len(images)
    for i in range(count):
        draws = torch.rand(4 + 2 * _TRIES, generator=generator).tolist()
        if draws[0] >= _CHANCE or count < 2:
            continue
        source = (i + 1 + int(draws[1] * (count - 1))) % count
        size = (images.shape[-2], images.shape[-1])
        alone = _alone(batch.boxes[source].cpu(), batch.there[source].cpu(), size) & batch.teaches[source].cpu()
        chosen = alone.nonzero().flatten()
        if not len(chosen):
            continue
        box = batch.boxes[source, chosen[int(draws[2] * len(chosen))]].cpu()
        sides = box[2:] * math.exp((2 * draws[3] - 1) * _SCALE)
        place = _place(sides, boxes[i][there[i]], size, draws[4:])
        if place is None:
            continue
        target = torch.cat([place, sides])
        _blend(images[i], batch.images[source], box, target)
        boxes[i, -1], there[i, -1], teaches[i, -1] = target, True, True
    device = batch.boxes.device
    return Boxed(images, boxes.to(device), there.to(device), teaches.to(device))


def _around(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) with what surrounds them."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] * (_AROUND - 1) / 2, boxes[..., 2:] * _AROUND], -1)


def _shared(a: Tensor, b: Tensor) -> Tensor:
    """The area (n, m) that boxes (n, 4) and (m, 4) share."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    return (high - low).clamp_min(0).prod(-1)


def _alone(boxes: Tensor, there: Tensor, size: tuple[int, int]) -> Tensor:
    """Which of the boxes (M, 4) that are `there` (M,), in a picture of `size`, can be copied whole and without a part of
    another."""
    shared = _shared(_around(boxes), boxes) * there
    shared.fill_diagonal_(0)
    inside = (boxes[:, :2] >= -0.5).all(1) & (boxes[:, :2] + boxes[:, 2:] <= boxes.new_tensor(size[::-1]) - 0.5).all(1)
    return there & inside & (shared.sum(1) == 0) & (boxes[:, 2:].amin(1) >= _LEAST)


def _place(sides: Tensor, others: Tensor, size: tuple[int, int], draws: list[float]) -> Tensor | None:
    """A left and top edge (2,) at which a box of `sides` covers none of the `others` (m, 4); None if there was none."""
    room = torch.tensor([size[1] - 0.5, size[0] - 0.5]) - sides
    if float(sides.min()) < _LEAST or bool((room < 0).any()):
        return None
    for k in range(_TRIES):
        at = torch.tensor(draws[2 * k : 2 * k + 2]) * (room + 0.5) - 0.5
        if float(_shared(_around(torch.cat([at, sides])[None]), others).sum()) == 0:
            return at
    return None


def _blend(image: Tensor, source: Tensor, box: Tensor, target: Tensor) -> None:
    """Blend what `source` (C, H, W) shows in and around `box` into `image` (C, H, W), which it changes, about `target`."""
    height, width = image.shape[-2:]
    x, y, wide, high = _around(target).tolist()
    left, top = max(0, math.ceil(x)), max(0, math.ceil(y))
    right, bottom = min(width, math.ceil(x + wide)), min(height, math.ceil(y + high))
    across = (torch.arange(left, right, device=image.device) - x) / wide  # 0 to 1 from edge to edge
    down = (torch.arange(top, bottom, device=image.device) - y) / high
    there = _around(box).tolist()
    grid = torch.stack(
        torch.meshgrid(
            (there[0] + across * there[2] + 0.5) * 2 / width - 1,
            (there[1] + down * there[3] + 0.5) * 2 / height - 1,
            indexing="xy",
        ),
        -1,
    )
    shown = F.grid_sample(source[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    far = torch.maximum((2 * across - 1).abs()[None], (2 * down - 1).abs()[:, None])
    part = image[:, top:bottom, left:right]
    part.lerp_(shown, ((1 - far) / _SOFT).clamp(0, 1).expand_as(part))
