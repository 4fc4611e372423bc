"""The finder: a small heatmap network over whole pictures that says where instances are and how large.

    uint8 picture, letterboxed -> normalise -> network -> centre map, size maps -> peaks -> boxes and scores

Instances are peaks of the map of their boxes' centres, with width and height read beside the peak, as in "Objects as
Points" (Zhou, Wang & Krähenbühl, arXiv:1904.07850), here with a soft target that the loss fits rather than a hard one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from kptool import heatmaps
from kptool.base.config import MAX_SIDE, require
from kptool.base.errors import CheckpointError, ConfigError
from kptool.base.geometry import Size, from_heatmap
from kptool.network.keypoint_model import normalise
from kptool.network.layers import ConvBlock, conv_stage, initialise
from kptool.system.files import write_bytes
from kptool.system.text import strict_json

STRIDE = 4
"""Scene pixels per pixel of the maps."""
LEAST_SCORE = 0.05
"""Lowest height of a peak that is a candidate."""
MOST = 100
"""Most instances in a picture."""
_UNIT = 32.0
"""Sizes are predicted as logarithms of their ratio to this many pixels."""
_SCHEMA = 1


@dataclass(frozen=True)
class FinderConfig:
    """What is needed to build a finder and to use it. size: (H, W) of its input, in pixels. channels: 1 or 3. width: channels
    of the first stage. threshold: the score from which an instance is reported. metrics: what was measured on the
    validation pictures. Raises ConfigError for values out of range."""

    size: Size
    channels: int
    width: int = 16
    threshold: float = 0.3
    metrics: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        require(
            len(self.size) == 2 and all(32 <= side <= MAX_SIDE and side % 32 == 0 for side in self.size),
            f"a finder's input has sides of 32 to {MAX_SIDE} pixels, multiples of 32; got {self.size}",
        )
        require(self.channels in (1, 3), f"a finder's input has 1 or 3 channels; got {self.channels}")
        require(1 <= self.width <= 512, f"a finder's width is 1 to 512; got {self.width}")
        require(0 < self.threshold < 1, f"a finder's threshold is between 0 and 1; got {self.threshold}")

    def to_json(self) -> str:
        """The JSON text that files store."""
        return json.dumps({"schema": _SCHEMA, **asdict(self)})

    @classmethod
    def parse(cls, path: Path, metadata: Mapping[str, str]) -> FinderConfig:
        """From a file's metadata. Raises CheckpointError where it is missing or damaged."""
        try:
            body = strict_json(metadata["finder"])
            if body.pop("schema") != _SCHEMA:
                raise CheckpointError(f"{path} was written by another kptool; train again")
            height, width = body.pop("size")
            numbers = {
                "size": (int(height), int(width)),
                "channels": int(body["channels"]),
                "width": int(body["width"]),
            }
            return replace(cls(**{**body, **numbers}), threshold=float(body["threshold"]))
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError, ConfigError) as error:
            raise CheckpointError(f"{path} is not a readable finder of kptool's ({error})") from error


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
    found = heatmaps.find_peaks(heat.numpy(), LEAST_SCORE, 2, MOST, threads=torch.get_num_threads())
    places, heights = (torch.from_numpy(np.nan_to_num(np.asarray(each[:, 0]))) for each in found[:2])
    return places, heights


def sizes_of(raw: Tensor) -> Tensor:
    """Widths and heights in pixels from the network's output, or of tensors of any shape."""
    return raw.clamp(-6, 6).exp() * _UNIT


def raw_sizes(sizes: Tensor) -> Tensor:
    """The inverse of `sizes_of`."""
    return (sizes.clamp_min(1e-3) / _UNIT).log()


def finder_beside(weights: Path) -> Path:
    """The file of the finder that belongs to a weights file or graph: model.safetensors -> model.finder.safetensors."""
    return weights.with_name(f"{weights.stem}.finder{weights.suffix}")


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
