"""Building blocks that the models share. Convolutions are He-initialised and followed by batch norm."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kptool.base.geometry import Size


class ConvBlock(nn.Sequential):
    """3x3 (or `kernel`) convolution, batch norm, ReLU; halves the resolution where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(conv, SyncedBatchNorm(outputs), nn.ReLU(inplace=True))


def conv_stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """`depth` convolution blocks at one resolution."""
    return nn.Sequential(*(ConvBlock(inputs if i == 0 else outputs, outputs) for i in range(depth)))


def halvings(channels: int, outputs: int, count: int) -> nn.Sequential:
    """`count` learnt halvings of the resolution of images with `channels`, with `outputs` channels each."""
    return nn.Sequential(
        *(
            ConvBlock(channels if i == 0 else outputs, outputs, kernel=5 if i == 0 else 3, stride=2)
            for i in range(count)
        )
    )


class CoordinateHead(nn.Module):
    """Feature maps (N, C, h, w) -> coordinates (N, K, 2), the image's edges at -1 and 1.

    A 1x1 convolution reduces the channels, so that the map can be flattened without losing positions, as global pooling
    would; one hidden layer follows, then the 2K output units.
    """

    def __init__(self, channels: int, size: Size, keypoints: int, *, squeeze: int = 64, hidden: int = 256) -> None:
        super().__init__()
        self.squeeze = ConvBlock(channels, squeeze, kernel=1)
        self.hidden = nn.Linear(squeeze * size[0] * size[1], hidden)
        self.units = nn.Linear(hidden, 2 * keypoints)

    def forward(self, features: Tensor) -> Tensor:
        flat = self.squeeze(features).flatten(1)
        hidden = torch.relu(self.hidden(flat))
        points: Tensor = self.units(hidden)
        return points.reshape(points.shape[0], -1, 2)


def initialise(module: nn.Module) -> nn.Module:
    """He initialisation (He et al., ICCV 2015) of the convolutions; linear layers and 1x1 convolutions start near zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.kernel_size != (1, 1):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.02)
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the whole batch when several processes share it.

    torch's SyncBatchNorm rejects CPU tensors (on CUDA it is used: see `synchronised`); this one also runs with gloo on
    the CPU, so that training with two processes computes the same as with one. Counts, means and centred sums of squares
    are combined (Chan, Golub & LeVeque, The American Statistician 1983), because the mean of squares minus the squared
    mean cancels catastrophically for values far from 0.
    """

    def forward(self, features: Tensor) -> Tensor:
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(features)
        values = features.float()
        own = values.mean((0, 2, 3))
        centred = (values - own[:, None, None]).square().sum((0, 2, 3))
        count = values.new_full((1,), values.numel() / values.shape[1])
        every: Tensor = _AllGather.apply(torch.cat([own, centred, count]))  # type: ignore[no-untyped-call]
        means, sums = every[:, :-1].chunk(2, dim=1)
        counts = every[:, -1:]
        total = counts.sum()
        mean = means[0] + (counts * (means - means[0])).sum(0) / total
        variance = (sums + counts * (means - mean).square()).sum(0) / total
        self._update_running(mean.detach(), variance.detach(), float(total.detach()))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shifted = values - mean[:, None, None]
        return (shifted * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: float) -> None:
        momentum = self.momentum or 0.0
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / max(count - 1.0, 1.0)), momentum)  # unbiased, as in torch
        self.num_batches_tracked += 1


def synchronised(module: nn.Module, device: torch.device) -> nn.Module:
    """`module` with batch norm that is synchronised on this device: on CUDA converted to torch's own, with the same weights."""
    if device.type != "cuda":
        return module
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return converted


class _AllGather(torch.autograd.Function):
    """Tensors (D,) of all processes -> (processes, D), differentiable: gradients are summed over the processes.

    torch.distributed.nn.functional.all_gather is deprecated without a public successor.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[dist.get_rank()]


def vector(like: Tensor, *values: float) -> Tensor:
    """`values` as a tensor (n,) of the device and type of `like`, without a copy from the host, which would wait for the GPU."""
    return torch.stack([like.new_full((), value) for value in values])


def match_size(features: Tensor, like: Tensor) -> Tensor:
    """Crop or pad `features` at the right and bottom to the size of `like`: rounding differs for odd sizes."""
    height, width = like.shape[-2:]
    missing = (0, width - features.shape[-1], 0, height - features.shape[-2])
    return features if not any(missing) else nn.functional.pad(features, missing)
