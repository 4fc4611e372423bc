"""The kernels for GPUs that stand in for torch's operations, wherever they compute the same."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Decode = Callable[[Tensor], tuple[Tensor, Tensor]]
TYPES = (torch.float32, torch.float16, torch.bfloat16)
"""The heatmaps' types that the kernels read."""
_TOLERANCE = 1e-3
"""Heatmap pixels by which points may differ."""
_LOG = logging.getLogger("kptool")


@cache
def decoder(name: str, plain: Decode, device: torch.device) -> Decode | None:
    """The kernel called `name`, after a trial that it computes what `plain` does on this device; None, and a warning, where it
    does not. None as well where torch came without Triton, as on Windows."""
    try:
        module = importlib.import_module("kptool.network.gpu_decode")
    except ImportError:
        return None

    def decode(maps: Tensor) -> tuple[Tensor, Tensor]:
        points, scores = module.decode(maps, name)
        return points, scores

    try:
        fails = _differs(decode, plain, device)
    except Exception as error:  # any: a compiler for another machine may fail in many ways
        fails = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if fails:
        _LOG.warning(
            "the %s kernel does not work on %s (%.200s); heatmaps are decoded by torch instead", name, device, fails
        )
        return None
    return decode


def _differs(decode: Decode, plain: Decode, device: torch.device) -> str:
    """How the points of a few maps differ, or nothing."""
    at = torch.arange(24.0, device=device)
    centre = torch.linspace(-1, 24, 8, device=device)
    line = torch.exp(-((at - centre[:, None]).square()) / 8)
    maps = line[:, None, :, None] * line.flip(0)[:, None, None, :]
    maps = torch.cat([maps, maps.clamp_max(0.6), torch.zeros_like(maps[:1])])
    difference = float((decode(maps)[0] - plain(maps)[0]).abs().max())
    return "" if difference <= _TOLERANCE else f"it differs by {difference:.3g} heatmap pixels"
