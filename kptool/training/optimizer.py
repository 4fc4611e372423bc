"""Learning-rate schedule, weight-decay groups, and the exponential moving average (EMA) of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kptool.base.config import TrainConfig


def learning_rate(step: float, total: int, config: TrainConfig) -> float:
    """The learning rate of `step` (from 0) of `total`: linear warm-up, then a cosine to zero (Loshchilov & Hutter, ICLR
    2017)."""
    warm = config.warmup * total
    if step < warm:
        return config.lr * (step + 1) / (warm + 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, total - warm)))


def parameter_groups(module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The optimizer's parameter groups: weight decay for matrices and kernels, none for biases and norms."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    plain = [p for p in module.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, step: int, config: TrainConfig) -> None:
    """average <- decay * average + (1 - decay) * module after `step` steps, batch norm statistics included.

    The decay rises from 0.1 to `config.ema`, so that early averages forget the initial weights. Integer buffers, batch
    norm's counters, are copied. Not `torch.optim.swa_utils.AveragedModel`, whose state dict has other names.
    """
    decay = min(config.ema, step / (step + 9))
    pairs = list(zip(average.state_dict().values(), module.state_dict().values(), strict=True))
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    averaged, current = map(list, zip(*floating, strict=True))
    get_ema_multi_avg_fn(decay)(averaged, current, None)  # type: ignore[no-untyped-call]
    for mine, new in pairs:
        if not mine.is_floating_point():
            mine.copy_(new)
