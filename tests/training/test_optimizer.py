"""The optimizer's state moves between devices, whose weights may be laid out differently."""

from __future__ import annotations

import torch
from torch import nn

from kptool.base.config import TrainConfig
from kptool.training.optimizer import adamw, optimizer_state, restore_optimizer, set_rate, update_average

CPU = torch.device("cpu")


def stepped(module: nn.Module) -> torch.optim.AdamW:
    optimizer = adamw(module, TrainConfig(), CPU)
    module(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    optimizer.step()
    return optimizer


def test_moments_take_the_weights_memory_format() -> None:
    torch.manual_seed(0)
    plain, other = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
    state = optimizer_state(stepped(plain))
    other.weight.data = other.weight.data.contiguous(memory_format=torch.channels_last)
    optimizer = adamw(other, TrainConfig(), CPU)
    restore_optimizer(optimizer, state)
    kept = optimizer.state[other.weight]
    assert kept["exp_avg"].stride() == other.weight.stride() != plain.weight.stride()
    assert torch.equal(kept["exp_avg"], state["state"][0]["exp_avg"])
    assert float(kept["step"]) == 1


def test_a_rate_of_another_device_is_a_number() -> None:
    """On CUDA, the rate is a tensor, which a graph reads; a file holds a number, and the flags are those of the device."""
    module = nn.Conv2d(3, 8, 3)
    optimizer = stepped(module)
    for group in optimizer.param_groups:
        group |= {"lr": torch.tensor(0.5), "fused": True, "capturable": True}
    set_rate(optimizer, 0.25)
    state = optimizer_state(optimizer)
    assert [group["lr"] for group in state["param_groups"]] == [0.25, 0.25]
    again = adamw(module, TrainConfig(), CPU)
    restore_optimizer(again, state)
    assert [(group["fused"], group["capturable"]) for group in again.param_groups] == [(None, False)] * 2
    set_rate(again, 0.125)
    assert [group["lr"] for group in again.param_groups] == [0.125] * 2


def test_a_decay_on_the_device_averages_the_same() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    ones, others = (nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)) for _ in range(2))
    others.load_state_dict(ones.state_dict())
    module[1].num_batches_tracked += 3
    update_average(ones, module, 0.75)
    update_average(others, module, torch.tensor(0.75))
    for (name, one), other in zip(ones.state_dict().items(), others.state_dict().values(), strict=True):
        assert torch.allclose(one, other, atol=1e-7), name
    assert int(others[1].num_batches_tracked) == 3
