"""The optimizer, its learning-rate schedule and weight-decay groups, and the exponential moving average (EMA) of the weights."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kptool.base.config import TrainConfig


def adamw(module: nn.Module, config: TrainConfig, device: torch.device) -> torch.optim.AdamW:
    """The optimizer (Loshchilov & Hutter, ICLR 2019): on CUDA in one kernel, and with its numbers on the device, so that a graph
    of a step can be replayed with others."""
    groups = parameter_groups(module, config)
    if device.type != "cuda":
        return torch.optim.AdamW(groups, lr=config.lr)
    warnings.filterwarnings(
        "ignore", "This instance was constructed with capturable=True"
    )  # which steps not recorded give
    return torch.optim.AdamW(groups, lr=torch.tensor(config.lr, device=device), fused=True, capturable=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state as it is saved, on whatever device it was."""
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
    return state


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what `optimizer_state` returned, perhaps on another device. Raises as `load_state_dict` does."""
    own = [{key: group[key] for key in ("lr", "fused", "capturable")} for group in optimizer.param_groups]
    groups = [{**saved, **mine} for saved, mine in zip(state["param_groups"], own, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for parameter, kept in optimizer.state.items():
        for key, value in kept.items():
            if value.ndim and value.stride() != parameter.stride():  # fused steps need the parameters' memory format
                kept[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


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


def average_decay(step: int, config: TrainConfig) -> float:
    """The decay of `update_average` after `step` steps: it rises from 0.1 to `config.ema`, so that early averages forget the
    initial weights."""
    return min(config.ema, step / (step + 9))


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float | Tensor) -> None:
    """average <- decay * average + (1 - decay) * module, batch norm statistics included; a tensor's decay is read on its device.

    Integer buffers, batch norm's counters, are copied. Not `torch.optim.swa_utils.AveragedModel`, whose state dict has other
    names.
    """
    pairs = list(zip(average.state_dict().values(), module.state_dict().values(), strict=True))
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    averaged, current = map(list, zip(*floating, strict=True))
    if isinstance(decay, Tensor):
        torch._foreach_mul_(averaged, decay)
        torch._foreach_add_(averaged, torch._foreach_mul(current, 1 - decay))
    else:
        get_ema_multi_avg_fn(decay)(averaged, current, None)  # type: ignore[no-untyped-call]
    counters = [pair for pair in pairs if not pair[0].is_floating_point()]
    if counters:
        torch._foreach_copy_([mine for mine, _ in counters], [new for _, new in counters])
