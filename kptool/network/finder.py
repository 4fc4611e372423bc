"""The finder: a small heatmap network over whole pictures that says where instances are and how large.

    uint8 picture, letterboxed -> normalise -> network -> centre map, size maps -> peaks -> boxes and scores

Instances are peaks of the map of their boxes' centres, with width and height read beside the peak, as in "Objects as
Points" (Zhou, Wang & Krähenbühl, arXiv:1904.07850), here with a soft target that the loss fits rather than a hard one.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from kptool.base.errors import CheckpointError
from kptool.base.geometry import from_heatmap
from kptool.network.finder_config import LEAST_SCORE, MOST, STRIDE, FinderConfig
from kptool.network.keypoint_model import normalise
from kptool.network.layers import ConvBlock, conv_stage, initialise
from kptool.network.maxima import find_peaks
from kptool.system.files import write_bytes

_UNIT = 32.0
"""Sizes are predicted as logarithms of their ratio to this many pixels."""


class Finder(nn.Module):
    """Pictures (N, C, H, W), 0..255 -> raw maps (N, 3, H/4, W/4): logits of the centre map, and two maps of sizes."""

    def __init__(self, config: FinderConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        widths = (2 * w, 4 * w, 6 * w, 6 * w)
        self.stem = nn.Sequential(ConvBlock(config.channels, w, stride=2), ConvBlock(w, 2 * w, stride=2))
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b, stride=2), conv_stage(b, b, 1)) for a, b in pairwise(widths)
        )
        self.side = nn.ModuleList(nn.Conv2d(c, 2 * w, 1) for c in widths)
        self.merge = nn.ModuleList(ConvBlock(2 * w, 2 * w) for _ in widths[:-1])
        self.heat = nn.Sequential(ConvBlock(2 * w, 2 * w), nn.Conv2d(2 * w, 1, 1))
        self.extent = nn.Sequential(ConvBlock(2 * w, 2 * w), nn.Conv2d(2 * w, 2, 1))
        initialise(self)
        bias = self.heat[-1].bias
        assert isinstance(bias, Tensor)
        nn.init.constant_(bias, -4.0)  # nearly all of a picture is no centre

    def forward(self, images: Tensor) -> Tensor:
        features = [self.stem(normalise(images))]
        for stage in self.down:
            features.append(stage(features[-1]))
        sides = [side(each) for side, each in zip(self.side, features, strict=True)]
        merged = sides[-1]
        for side, merge in zip(reversed(sides[:-1]), self.merge, strict=True):
            merged = merge(side + F.interpolate(merged, scale_factor=2.0, mode="nearest"))
        return torch.cat([self.heat(merged), self.extent(merged)], 1)

    @torch.inference_mode()
    def find(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) of the configured size -> boxes (N, 100, 4), left and top edge, width, height, in pixels of the
        images, and scores (N, 100), from the highest to the lowest; 0 where there is no further candidate."""
        return candidates(self(images).float())


def candidates(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes (N, 100, 4) and scores (N, 100) of the raw maps (N, 3, h, w) of a `Finder`."""
    heat = maps[:, :1].sigmoid()
    points, scores = peaks(heat)
    height, width = maps.shape[2:]
    cell = points.round().long()
    column, row = cell[..., 0].clamp(0, width - 1), cell[..., 1].clamp(0, height - 1)
    extents = maps[:, 1:].flatten(2).gather(2, (row * width + column)[:, None].expand(-1, 2, -1))
    sizes = sizes_of(extents).transpose(1, 2)
    centres = from_heatmap(points, STRIDE)
    return torch.cat([centres - sizes / 2, sizes], -1), scores


def peaks(heat: Tensor) -> tuple[Tensor, Tensor]:
    """The highest local maxima of maps (N, 1, h, w): places (N, 100, 2) in pixels of the maps and heights (N, 100)."""
    places, heights, _ = find_peaks(heat, LEAST_SCORE, 2, MOST, method="argmax")
    return places[:, 0], heights[:, 0]


def sizes_of(raw: Tensor) -> Tensor:
    """Widths and heights in pixels from the network's output, or of tensors of any shape."""
    return raw.clamp(-6, 6).exp() * _UNIT


def raw_sizes(sizes: Tensor) -> Tensor:
    """The inverse of `sizes_of`."""
    return (sizes.clamp_min(1e-3) / _UNIT).log()


def save_finder(path: Path, finder: Finder, config: FinderConfig) -> None:
    """Write a finder's weights atomically, with `config`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in finder.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"finder": config.to_json()}))


def load_finder(path: Path, device: torch.device | None = None) -> Finder:
    """A finder in evaluation mode. Raises CheckpointError for a missing or damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            config = FinderConfig.parse(path, file.metadata() or {})
            with torch.device("meta"):
                expected = {name: list(tensor.shape) for name, tensor in Finder(config).state_dict().items()}
            stored = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a dict
            if stored != expected:
                raise CheckpointError(f"the weights in {path} do not fit their configuration; train again")
            tensors = {name: file.get_tensor(name) for name in stored}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable finder of kptool's ({error})") from error
    if not all(math.isfinite(float(tensor.double().sum())) for tensor in tensors.values()):
        raise CheckpointError(f"the weights in {path} are damaged: they are not all finite; train again")
    finder = Finder(config)
    finder.load_state_dict(tensors)
    return finder.to(device or torch.device("cpu")).eval()
