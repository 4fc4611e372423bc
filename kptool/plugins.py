"""The interfaces of plugins, and how plugins are found: one file per dataset format, model, loss, decoder or logger.

A plugin's name is its file's name. Names are listed from the folder alone, and for other people's plugins from the metadata
of installed distributions (entry points) and from files that were given to `use`; so ``kptool --help`` never imports torch. A
plugin's module is imported on first use, and exports one constant (``MODEL``, ``LOSS``, ``DECODER``, ``DATASET``, ``LOGGER``).
"""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from kptool.base import extensions
from kptool.base.config import require
from kptool.base.errors import ConfigError
from kptool.base.extensions import Offer, singular

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from kptool.data.annotations import Dataset, LabelFile, Labelled

    Tensor = torch.Tensor

__all__ = ["Dataset", "Decoder", "LabelFile", "Labelled", "Log", "Logger", "Loss", "Model", "Training", "use"]

log = logging.getLogger(__name__)

Kind = Literal["datasets", "models", "losses", "decoders", "loggers"]
Output = Literal["coordinates", "heatmap"]

KINDS: tuple[Kind, ...] = get_args(Kind)
_CONSTANTS: dict[Kind, str] = {
    "datasets": "DATASET",
    "models": "MODEL",
    "losses": "LOSS",
    "decoders": "DECODER",
    "loggers": "LOGGER",
}


@dataclass(frozen=True)
class Model:
    """A model plugin.

    `output` is what the network predicts: coordinates (N, K, 2), normalised so that -1 and 1 are the image's edges, or
    raw heatmaps (N, K, h, w) at 1/`stride` of the image's resolution. `build(keypoints, size, channels, width)` returns
    the module for images of `size` (H, W); `width` is the number of channels of the first stage, and `default_width`
    suits faces of 96x96 pixels. With the setting ``stem``, `size` and `channels` are those of features of the image instead.
    `summary` describes the model in a line. `recipe` holds the settings of which the model's defaults differ from
    everyone's, by their ``--set`` names, such as ``{"loss": "wing", "epochs": 100}``.
    """

    output: Output
    stride: int
    default_width: int
    build: Callable[..., torch.nn.Module]
    summary: str
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require("augment.flip" not in self.recipe, "a model's recipe cannot set augment.flip: it depends on the labels")


@dataclass(frozen=True)
class Loss:
    """A loss plugin.

    `function(output, target, points)` returns the loss (N, K) of each keypoint; the trainer averages over those that
    have a label, so a loss need not handle visibility; with the setting ``absent=empty`` also over absent ones, whose target
    heatmap is 0 everywhere. For coordinates, `output` and `target` are (N, K, 2), normalised,
    and `points` is `target`; for heatmaps, `output` (raw) and `target` (peak 1) are (N, K, h, w) and `points` (N, K, 2)
    are the true positions in heatmap pixels. `activation(raw, sigma)` turns raw heatmaps into those that decoders read,
    with a peak of about 1; None for coordinates. `summary` describes the loss in a line.

    `separable(output, column, row, points)`, if there is one, is the same loss for targets that are the outer products of
    `column` (N, K, h) and `row` (N, K, w). The trainer then calls it instead of `function`, and draws no target heatmaps.
    """

    output: Output
    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    summary: str
    activation: Callable[[Tensor, float], Tensor] | None = None
    separable: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Decoder:
    """A decoder plugin: `function`, in torch, takes heatmaps (N, K, h, w) and returns points (N, K, 2) in heatmap pixels
    and scores (N, K). `summary` describes it in a line."""

    function: Callable[[Tensor], tuple[Tensor, Tensor]]
    summary: str


@dataclass(frozen=True)
class Training:
    """A training that is logged: its run folder, the model's name, the text of config.toml, and its first logged epoch, which
    is above 1 where a training is resumed."""

    out: Path
    model: str
    config: str
    first_epoch: int


class Log(Protocol):
    """An opened log of a training."""

    def epoch(self, row: Mapping[str, float | None]) -> None:
        """Log an epoch: its row of metrics.csv, of which what was not measured is None."""

    def picture(self, epoch: int, pixels: NDArray[np.uint8]) -> None:
        """Log a picture (H, W, 3) of example predictions, drawn after the epochs with the best weights so far."""

    def close(self) -> None:
        """The training has ended, or was interrupted."""


@dataclass(frozen=True)
class Logger:
    """A logger plugin, for ``kptool train --log NAME``.

    `open(training)` is called after the first epoch, and returns a `Log`. `summary` describes the logger in a line.
    `requires` maps each module that `open` imports to what pip installs for it; they are looked for before the training.
    """

    open: Callable[[Training], Log]
    summary: str
    requires: Mapping[str, str] = field(default_factory=dict)


def own_names(kind: Kind) -> tuple[str, ...]:
    """The names of kptool's own plugins of a kind, sorted, without importing any."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / kind)]))
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


def names(kind: Kind) -> tuple[str, ...]:
    """The names of all plugins of a kind, sorted, without importing any."""
    return tuple(sorted({*own_names(kind), *(offer.name for offer in offers() if offer.kind == kind)}))


_used: dict[tuple[str, str], Offer] = {}
"""The plugins in files that were given to `use`, by kind and name."""


def use(path: Path) -> tuple[Offer, ...]:
    """Make the plugins in a Python file available, each under the file's name; returns them, not imported yet.

    Raises ConfigError where the file holds none, or where a plugin of that kind already has its name.
    """
    found = extensions.in_file(path.absolute(), {constant: kind for kind, constant in _CONSTANTS.items()})
    for offer in found:
        where = _whose(offer)
        if where is not None:
            raise ConfigError(
                f"{path}: there is a {singular(offer.kind)} {offer.name!r} of {where} already; rename the file"
            )
    _used.update({(offer.kind, offer.name): offer for offer in found})
    return found


def _whose(offer: Offer) -> str | None:
    """Who else has a plugin of that kind and name; None if nobody."""
    if offer.name in own_names(offer.kind):  # type: ignore[arg-type]
        return "kptool's own"
    others = [*extensions.installed(), *_used.values()]
    same = (each.origin for each in others if (each.kind, each.name) == (offer.kind, offer.name))
    return next((str(origin) for origin in same if origin.path is None or origin.path != offer.origin.path), None)


def offers() -> tuple[Offer, ...]:
    """Every plugin from outside kptool that can be used: with a name that is not kptool's, and of one distribution or file."""
    return tuple(offer for offer, why in survey() if why is None)


def survey() -> list[tuple[Offer, str | None]]:
    """Every plugin from outside kptool, and why it cannot be used; None if it can."""
    every = [*extensions.installed(), *_used.values()]
    return [(offer, _obstacle(offer, every)) for offer in every]


def _obstacle(offer: Offer, every: list[Offer]) -> str | None:
    if offer.kind not in KINDS:
        return f"kptool has no plugins of the kind {offer.kind!r}, only {', '.join(KINDS)}"
    if offer.name in own_names(offer.kind):
        return f"kptool has a {singular(offer.kind)} of this name itself"
    same = [str(each.origin) for each in every if (each.kind, each.name) == (offer.kind, offer.name) and each != offer]
    return f"{same[0]} has a {singular(offer.kind)} of this name too" if same else None


def origin(kind: Kind, name: str) -> dict[str, str] | None:
    """Where the plugin called `name` comes from, as weights store it; None for kptool's own, and where there is none."""
    if name in own_names(kind):
        return None
    return next((offer.origin.describe() for offer in offers() if (offer.kind, offer.name) == (kind, name)), None)


def origins(**chosen: str) -> dict[str, dict[str, str]]:
    """Where the plugins `chosen`, such as ``models="unet"``, come from, by kind: for weights; kptool's own are left out."""
    found = {kind: (name, origin(kind, name)) for kind, name in chosen.items()}  # type: ignore[arg-type]
    return {kind: {"name": name, **where} for kind, (name, where) in found.items() if where is not None}


def load(kind: Kind, name: str) -> Any:
    """The plugin called `name`.

    Raises ConfigError, suggesting the most similar name, where there is none, and where one from outside kptool fails.
    """
    if name in own_names(kind):
        module = importlib.import_module(f"kptool.{kind}.{name.replace('-', '_')}")
        return getattr(module, _CONSTANTS[kind])
    for offer, why in survey():
        if (offer.kind, offer.name) == (kind, name):
            if why is not None:
                raise ConfigError(f"the {singular(kind)} {name!r} of {offer.origin} cannot be used: {why}; rename it")
            return _loaded(offer, kind)
    known = names(kind)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"there is no {singular(kind)} {name!r}{hint}; known: {', '.join(known)}")


def _loaded(offer: Offer, kind: Kind) -> Any:
    """A plugin from outside kptool. Raises ConfigError where its code fails or it is not what its kind asks for."""
    constant = _CONSTANTS[kind]
    what = f"the {singular(kind)} {offer.name!r} of {offer.origin}"
    try:
        found = offer.load()
    except Exception as error:
        raise ConfigError(f"{what} cannot be loaded: {type(error).__name__}: {error}; see --debug") from error
    found = getattr(found, constant, found)
    expected = getattr(importlib.import_module(__name__), constant.capitalize())
    if not isinstance(found, expected):
        raise ConfigError(f"{what} must be a kptool.plugins.{expected.__name__}; it is a {type(found).__name__}")
    return found


def defaults(model: str) -> dict[str, Any]:
    """The settings of which a model plugin states the defaults, for `kptool.base.config.configure`: width and recipe.

    Raises ConfigError where there is no such model.
    """
    plugin = load_model(model)
    return {"width": plugin.default_width, **plugin.recipe}


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


def load_logger(name: str) -> Logger:
    """The logger plugin called `name`. Raises ConfigError where there is none."""
    logger: Logger = load("loggers", name)
    return logger


def __getattr__(name: str) -> Any:
    if name in ("Dataset", "LabelFile", "Labelled"):  # defined higher up, and imported by plugin files from here
        return getattr(importlib.import_module("kptool.data.annotations"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
