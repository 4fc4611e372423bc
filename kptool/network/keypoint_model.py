"""A network with everything that turns pixels into points around it.

    uint8 images -> normalise -> network -> (loss's activation -> decoder) -> points in image pixels, scores

Training uses `forward`, everything else `points`; both therefore see images in exactly the same way.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kptool import heatmaps, plugins
from kptool.base.config import ModelConfig
from kptool.base.errors import ConfigError
from kptool.base.geometry import Size, heatmap_size, swap_order


def parts(config: ModelConfig) -> tuple[plugins.Model, plugins.Loss]:
    """The plugins that a network is made of. Raises ConfigError where there are none, or they do not fit each other."""
    model, loss = plugins.load_model(config.model), plugins.load_loss(config.loss)
    plugins.load_decoder(config.decoder)
    if loss.output != model.output:
        fitting = [n for n in plugins.names("losses") if plugins.load_loss(n).output == model.output]
        raise ConfigError(
            f"loss {config.loss!r} is for {loss.output} and {config.model} predicts {model.output};"
            f" choose one of {', '.join(fitting)}"
        )
    return model, loss


class KeypointModel(nn.Module):
    """The network of a `ModelConfig`, and its reading. Raises ConfigError where model, loss and decoder do not fit."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.plugin, self.loss = parts(config)
        self.network = self.plugin.build(len(config.names), config.size, config.channels, config.width)
        self._swap = swap_order(len(config.names), config.flip_pairs)
        self.register_buffer("offset", torch.zeros(len(config.names), 2))
        self.offset: Tensor
        """(K, 2), pixels of the image: what labels are off from what a mirror-symmetric network can say"""

    def place(self, device: torch.device) -> KeypointModel:
        """Move to a device; on a GPU with the memory layout that convolutions are fastest in.

        Not on the CPU: there, with torch 2.13, gradients of convolutions in that layout write beyond their memory at
        some sizes.
        """
        if device.type == "cuda":
            for parameter in self.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self.to(device)

    @property
    def heatmap_size(self) -> Size:
        """(h, w) of the network's heatmaps."""
        return heatmap_size(self.config.size, self.plugin.stride)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of the configured size, uint8 or float 0..255 -> the network's raw output."""
        images = normalise(images)
        if images.is_cuda:  # as in `place`
            images = images.contiguous(memory_format=torch.channels_last)
        raw: Tensor = self.network(images)
        return raw

    @torch.inference_mode()
    def points(
        self, images: Tensor, *, flip: bool = False, decoder: str | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images (N, C, H, W) -> points (N, K, 2) and spreads (N, K) in their pixels, scores (N, K) in 0..1.

        All float32 on the CPU. The spread says how wide the heatmap is (see `heatmap_std`). `flip` averages with the
        prediction for the mirrored image, where the model knows left from right. Direct regression has no heatmap: its
        scores and spreads are 1.
        """
        output = self.output(images)
        if flip and self.config.mirror:
            output = (output + self._unflip(self.output(images.flip(-1)))) / 2
        if self.plugin.output == "coordinates":
            points = normalised_to_pixels(output, self.config.size) + self.offset
            return points.cpu(), torch.ones(points.shape[:2]), torch.ones(points.shape[:2])
        points, scores = decode(output, decoder or self.config.decoder)
        wide = heatmap_std(output).cpu() * self.plugin.stride
        return (points + 0.5) * self.plugin.stride - 0.5 + self.offset.cpu(), scores.clamp(0, 1), wide

    @torch.no_grad()
    def measure_offset(self, images: Tensor, truth: Tensor, labelled: Tensor, *, batch_size: int = 64) -> None:
        """Set `offset` from labelled training images (N, C, H, W), points (N, K, 2) in their pixels, flags (N, K).

        Training on mirrored copies, too, makes a network symmetric, and labels often are not: rounding down alone
        moves all of them to the left in the picture, and in a mirrored picture to the right. A network that must say
        both says neither. The part of the median error that changes its sign in the mirror is that difference;
        training takes it off the labels, and prediction adds it. At most 1/32 of the image.
        """
        found = (
            torch.cat([self.points(some)[0] for some in torch.split(images, batch_size)]).to(truth.device) - self.offset
        )
        error = torch.where(labelled[..., None], truth - found, torch.nan).nanmedian(0).values.nan_to_num()
        mirrored = error[self._swap] * error.new_tensor([-1.0, 1.0])
        self.offset.copy_(((error - mirrored) / 2).clamp(-max(self.config.size) / 32, max(self.config.size) / 32))

    def output(self, images: Tensor) -> Tensor:
        """What the network says, in float32: normalised coordinates, or heatmaps with a peak of about 1."""
        raw = self(images).float()
        return raw if self.loss.activation is None else self.loss.activation(raw, self.config.sigma)

    def _unflip(self, output: Tensor) -> Tensor:
        swapped = output[:, self._swap]
        if self.plugin.output == "heatmap":
            if self.config.size[1] % self.plugin.stride:
                raise ConfigError("flip averaging needs an image width that is a multiple of the model's stride")
            return swapped.flip(-1)
        return swapped * swapped.new_tensor([-1.0, 1.0])


def normalise(images: Tensor) -> Tensor:
    """Zero mean and unit spread image by image, so that exposure and contrast do not matter. float32."""
    values = images.float()
    mean = values.mean((1, 2, 3), keepdim=True)
    std = values.std((1, 2, 3), keepdim=True, correction=0)
    return (values - mean) / (std + 4.0)  # 4 of 255: an image without contrast stays quiet


def pixels_to_normalised(points: Tensor, size: Size) -> Tensor:
    """Pixels -> the network's coordinates, in which the image's edges are -1 and 1."""
    return (points + 0.5) * points.new_tensor([2 / size[1], 2 / size[0]]) - 1


def normalised_to_pixels(points: Tensor, size: Size) -> Tensor:
    """The inverse of `pixels_to_normalised`."""
    return (points + 1) * points.new_tensor([size[1] / 2, size[0] / 2]) - 0.5


def heatmap_std(maps: Tensor) -> Tensor:
    """How far from its middle a heatmap (N, K, h, w) lies, (N, K), in its pixels: a root mean square over both axes.

    Weighted by the squared values, so that a low background does not count; at least half a pixel.
    """
    weight = maps.clamp_min(0).square()
    total = weight.sum((2, 3)).clamp_min(1e-12)
    variance = torch.zeros_like(total)
    for axis in (2, 3):
        at = torch.arange(maps.shape[axis], dtype=maps.dtype, device=maps.device)
        line = weight.sum(5 - axis)
        variance += (line @ at.square()) / total - ((line @ at) / total).square()
    return variance.clamp_min(0.25).sqrt()


def decode(maps: Tensor, decoder: str) -> tuple[Tensor, Tensor]:
    """Heatmaps (N, K, h, w) -> points in heatmap pixels and scores, float32 on the CPU.

    By the C++ core where the maps are on the CPU and it knows the decoder; by the plugin's own function otherwise.
    """
    plugin = plugins.load_decoder(decoder)
    if maps.device.type == "cpu" and decoder in heatmaps.METHODS:
        points, scores = heatmaps.decode(maps.contiguous().numpy(), decoder, threads=torch.get_num_threads())
        return torch.from_numpy(np.asarray(points)), torch.from_numpy(np.asarray(scores))
    points_, scores_ = plugin.function(maps)
    return points_.float().cpu(), scores_.float().cpu()
