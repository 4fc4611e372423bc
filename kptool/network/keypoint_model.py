"""A keypoint network with its pre- and post-processing.

    uint8 images -> normalise -> network -> (loss's activation -> decoder) -> points in image pixels, scores

Training uses `forward`, everything else `points`, so both see images in exactly the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kptool import heatmaps, plugins
from kptool.base.config import ModelConfig
from kptool.base.errors import ConfigError
from kptool.base.geometry import Size, from_edges, from_heatmap, heatmap_size, swap_order, to_edges
from kptool.network.layers import halvings, initialise, vector
from kptool.network.shape_prior import ShapePrior


@dataclass(frozen=True)
class Inference:
    """How a model is run. `flip`: average with the prediction for the mirrored image (test-time augmentation), where the
    model has flip pairs. `decoder`: a decoder's name in place of the model's own."""

    flip: bool = False
    decoder: str | None = None


DEFAULT_INFERENCE = Inference()


def matching_plugins(config: ModelConfig) -> tuple[plugins.Model, plugins.Loss]:
    """The model and loss plugins of a configuration.

    Raises ConfigError where one of them or the decoder does not exist, or where the loss is for another kind of output.
    """
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
    """The network that a `ModelConfig` describes. Raises ConfigError where model, loss and decoder do not fit together."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.plugin, self.loss = matching_plugins(config)
        self.stem = stem_of(config, config.channels)
        self.network = build_network(config, self.plugin, len(config.names), config.channels)
        self.stride = self.plugin.stride * 2**config.stem
        """image pixels per heatmap pixel"""
        self._swap = swap_order(len(config.names), config.flip_pairs)
        self.register_buffer("offset", torch.zeros(len(config.names), 2))
        self.prior: ShapePrior | None = None
        """chooses between the peaks of unsure heatmaps; set where a card has one, and while training"""
        self.offset: Tensor
        """(K, 2), image pixels: the part of the labels' bias that a mirror-symmetric network cannot learn; see
        `measure_offset`"""

    def place(self, device: torch.device) -> KeypointModel:
        """Move to a device; on a GPU in channels-last memory format, in which convolutions are fastest, and with all bits of
        float32 where that is computed: torch's default is TF32 for convolutions, which has bfloat16's range and ten bits.

        No channels-last on the CPU: there, torch 2.13 computes convolution gradients in that format with out-of-bounds writes at
        some sizes.
        """
        if device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # of the whole process: torch has no setting for one network
            for parameter in self.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self.to(device)

    @property
    def heatmap_size(self) -> Size:
        """(h, w) of the network's heatmaps."""
        return heatmap_size(self.config.size, self.stride)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of the configured size, uint8 or float 0..255 -> the network's raw output."""
        images = normalise(images)
        if images.is_cuda:  # as in `place`
            images = channels_last(images)
        raw: Tensor = self.network(self.stem(images))
        return raw

    @torch.inference_mode()
    def points(self, images: Tensor, inference: Inference = DEFAULT_INFERENCE) -> tuple[Tensor, Tensor, Tensor]:
        """Images (N, C, H, W) -> points (N, K, 2) and spreads (N, K) in image pixels, scores (N, K) in 0..1.

        All are float32 on the CPU. The spread is the heatmap's width (see `heatmap_std`). Direct regression has no
        heatmap: its scores and spreads are 1.
        """
        output = self.output(images)
        if inference.flip and self.config.mirror:
            output = (output + self._unflip(self.output(images.flip(-1)))) / 2
        return self.read(output, inference.decoder)

    def read(self, output: Tensor, decoder: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Points, scores and spreads, as `points` returns them, from an `output`; `decoder` replaces the model's own."""
        if self.plugin.output == "coordinates":
            points = normalised_to_pixels(output, self.config.size) + self.offset
            return points.cpu(), torch.ones(points.shape[:2]), torch.ones(points.shape[:2])
        peaks, scores = decode(output, decoder or self.config.decoder)
        if self.prior is not None:
            heights = output.amax((2, 3)).clamp(0, 1).cpu().numpy()
            revised = self.prior.revise(peaks.numpy(), heights, lambda i, k: output[i, k].float().cpu().numpy())
            peaks = torch.from_numpy(revised)
        spread = heatmap_std(output).cpu() * self.stride
        return from_heatmap(peaks, self.stride) + self.offset.cpu(), scores.clamp(0, 1), spread

    @torch.no_grad()
    def measure_offset(self, found: Tensor, truth: Tensor, labelled: Tensor) -> None:
        """Set `offset` from this model's points for training images and their labels, (N, K, 2) in pixels, and flags (N, K).

        Training on mirrored copies makes a network mirror-symmetric, and labels often are not: coordinates that were
        rounded down lie too far left in every image, and too far right in its mirrored copy. The network can only
        learn the average of the two. The part of the median error that changes its sign under mirroring is therefore
        stored here; training subtracts it from the labels, and prediction adds it. At most 1/32 of the image.
        """
        error = torch.where(labelled[..., None], truth - (found - self.offset), torch.nan).nanmedian(0).values
        error = error.nan_to_num()
        mirrored = error[self._swap] * error.new_tensor([-1.0, 1.0])
        limit = max(self.config.size) / 32
        self.offset.copy_(((error - mirrored) / 2).clamp(-limit, limit))

    def output(self, images: Tensor) -> Tensor:
        """The network's output in float32: normalised coordinates, or heatmaps with a peak of about 1."""
        return self.activate(self(images).float())

    def activate(self, raw: Tensor) -> Tensor:
        """The network's raw output, float32, as the decoders read it."""
        return raw if self.loss.activation is None else self.loss.activation(raw, self.config.sigma)

    def _unflip(self, output: Tensor) -> Tensor:
        """The output for mirrored images, mirrored back."""
        swapped = output[:, self._swap]
        if self.plugin.output == "heatmap":
            if self.config.size[1] % self.stride:
                raise ConfigError("flip averaging needs an image width that is a multiple of the model's stride")
            return swapped.flip(-1)
        return swapped * swapped.new_tensor([-1.0, 1.0])


def stem_of(config: ModelConfig, channels: int) -> nn.Module:
    """What halves images with `channels` before the network sees them; it changes nothing where `config.stem` is 0."""
    return initialise(halvings(channels, _stem_width(config), config.stem))


def build_network(config: ModelConfig, plugin: plugins.Model, keypoints: int, channels: int) -> nn.Module:
    """The network of a configuration, for other numbers of `keypoints` and of the images' `channels`."""
    seen = heatmap_size(config.size, 2**config.stem)
    return plugin.build(keypoints, seen, _stem_width(config) if config.stem else channels, config.width)


def _stem_width(config: ModelConfig) -> int:
    return max(4, config.width // 2)


def normalise(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with zero mean and unit standard deviation each, float32: exposure and contrast do not matter."""
    values = images.float()
    mean = values.mean((1, 2, 3), keepdim=True)
    std = values.std((1, 2, 3), keepdim=True, correction=0)
    return (values - mean) / (std + 4.0)  # 4 of 255, so that the noise of a flat image is not amplified


def channels_last(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in channels-last memory format, with strides that say so. Those of grey images fit both formats, and
    torch would take the other one, in which batch norm of the first layer's output is five times slower on a GPU."""
    images = images.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = images.shape
    return images.as_strided(images.shape, (channels * height * width, 1, channels * width, channels))


def pixels_to_normalised(points: Tensor, size: Size) -> Tensor:
    """Points (..., 2) in pixels -> the network's coordinates, in which the image's edges are at -1 and 1."""
    return to_edges(points) * vector(points, 2 / size[1], 2 / size[0]) - 1


def normalised_to_pixels(points: Tensor, size: Size) -> Tensor:
    """The inverse of `pixels_to_normalised`."""
    return from_edges((points + 1) * points.new_tensor([size[1] / 2, size[0] / 2]))


def heatmap_std(maps: Tensor) -> Tensor:
    """The spread (N, K) of heatmaps (N, K, h, w) about their centre of mass, in heatmap pixels: root mean square over x
    and y.

    Weighted by the squared values, so that a low background does not count; at least half a pixel.
    """
    weight = maps.clamp_min(0).square()
    total = weight.sum((2, 3)).clamp_min(1e-12)
    variance = torch.zeros_like(total)
    for axis in (2, 3):
        at = torch.arange(maps.shape[axis], dtype=maps.dtype, device=maps.device)
        marginal = weight.sum(5 - axis)
        variance += (marginal @ at.square()) / total - ((marginal @ at) / total).square()
    return variance.clamp_min(0.25).sqrt()


def decode(maps: Tensor, decoder: str) -> tuple[Tensor, Tensor]:
    """Heatmaps (N, K, h, w) -> points (N, K, 2) in heatmap pixels and scores (N, K), float32 on the CPU.

    The C++ core decodes maps on the CPU with the decoders that it implements; otherwise the plugin's function does.
    """
    plugin = plugins.load_decoder(decoder)
    if maps.device.type == "cpu" and decoder in heatmaps.METHODS:
        points, scores = heatmaps.decode(maps.contiguous().numpy(), decoder, threads=torch.get_num_threads())
        return torch.from_numpy(np.asarray(points)), torch.from_numpy(np.asarray(scores))
    points_, scores_ = plugin.function(maps)
    return points_.float().cpu(), scores_.float().cpu()
