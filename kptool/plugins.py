"""The interfaces of plugins, and how plugins are found: one file per dataset format, model, loss or decoder.

A plugin's name is its file's name. Names are listed from the folder alone, so that ``kptool --help`` never imports torch;
a plugin's module is imported on first use, and exports one constant (``MODEL``, ``LOSS``, ``DECODER``, ``DATASET``).
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kptool.base.errors import ConfigError

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor

Kind = Literal["datasets", "models", "losses", "decoders"]
Output = Literal["coordinates", "heatmap"]

_CONSTANTS: dict[Kind, str] = {"datasets": "DATASET", "models": "MODEL", "losses": "LOSS", "decoders": "DECODER"}


@dataclass(frozen=True)
class Model:
    """A model plugin.

    `output` is what the network predicts: coordinates (N, K, 2), normalised so that -1 and 1 are the image's edges, or
    raw heatmaps (N, K, h, w) at 1/`stride` of the image's resolution. `build(keypoints, size, channels, width)` returns
    the module for images of `size` (H, W); `width` is the number of channels of the first stage, and `default_width`
    suits faces of 96x96 pixels. `summary` describes the model in a line.
    """

    output: Output
    stride: int
    default_width: int
    build: Callable[..., torch.nn.Module]
    summary: str


@dataclass(frozen=True)
class Loss:
    """A loss plugin.

    `function(output, target, points)` returns the loss (N, K) of each keypoint; the trainer averages over those that
    have a label, so a loss need not handle visibility. For coordinates, `output` and `target` are (N, K, 2), normalised,
    and `points` is `target`; for heatmaps, `output` (raw) and `target` (peak 1) are (N, K, h, w) and `points` (N, K, 2)
    are the true positions in heatmap pixels. `activation(raw, sigma)` turns raw heatmaps into those that decoders read,
    with a peak of about 1; None for coordinates. `summary` describes the loss in a line.
    """

    output: Output
    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    summary: str
    activation: Callable[[Tensor, float], Tensor] | None = None


@dataclass(frozen=True)
class Decoder:
    """A decoder plugin: `function`, in torch, takes heatmaps (N, K, h, w) and returns points (N, K, 2) in heatmap pixels
    and scores (N, K). `summary` describes it in a line."""

    function: Callable[[Tensor], tuple[Tensor, Tensor]]
    summary: str


def names(kind: Kind) -> tuple[str, ...]:
    """The names of the plugins of a kind, sorted, without importing any."""
    folder = Path(__file__).parent / kind
    found = (module.name for module in pkgutil.iter_modules([str(folder)]))
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


def load(kind: Kind, name: str) -> Any:
    """The plugin called `name`. Raises ConfigError, suggesting the most similar name, where there is none."""
    known = names(kind)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"there is no {kind.removesuffix('s').removesuffix('e')} {name!r}{hint}; known: {', '.join(known)}"
        )
    module = importlib.import_module(f"kptool.{kind}.{name.replace('-', '_')}")
    return getattr(module, _CONSTANTS[kind])


def load_model(name: str) -> Model:
    """The model plugin called `name`. Raises ConfigError where there is none."""
    model: Model = load("models", name)
    return model


def load_loss(name: str) -> Loss:
    """The loss plugin called `name`. Raises ConfigError where there is none."""
    loss: Loss = load("losses", name)
    return loss


def load_decoder(name: str) -> Decoder:
    """The decoder plugin called `name`. Raises ConfigError where there is none."""
    decoder: Decoder = load("decoders", name)
    return decoder
