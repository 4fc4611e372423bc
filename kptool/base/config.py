"""Settings of models, training and augmentation: frozen dataclasses that check their values and are stored in checkpoints.

The defaults are those of the fields and, per model, of `RECIPES`. ``--set key=value`` sets any field by its name, those of
the augmentation as ``augment.rotation=10``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_type_hints

from kptool.base.errors import ConfigError
from kptool.base.geometry import Size
from kptool.base.settings import Setting, check, settings_of
from kptool.base.skeleton import MAX_KEYPOINTS, Skeleton
from kptool.base.steps import PLAIN, STEP

IGNORE, EMPTY = "ignore", "empty"
"""Values of the setting ``absent``."""
MAX_SIDE = 4096
"""Largest width and height of a network's input, in pixels."""


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(`message`) unless the condition is true."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build a network and decode its output; stored with the weights. Raises ConfigError, or DataError from
    `Skeleton`, for values out of range."""

    model: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    size: Size = (96, 96)
    """(H, W) of the input in pixels"""
    channels: int = 1
    """1 for grey, 3 for colour"""
    width: Annotated[int, Setting("channels of the network's first stage", 1, 512, unit="channels")] = 32
    stem: Annotated[
        int,
        Setting(
            "learnt halvings of the image, and heatmaps, in front of the network; 1 by default above 160 pixels", 0, 4
        ),
    ] = 0
    loss: Annotated[str, Setting("loss function", plugins="losses")] = "dsnt"
    sigma: Annotated[
        float,
        Setting(
            "standard deviation of the target Gaussians; models with heatmaps only", 0.3, 50, unit="heatmap pixels"
        ),
    ] = 1.5
    decoder: Annotated[str, Setting("how a heatmap becomes a point; models with heatmaps only", plugins="decoders")] = (
        "gaussian"
    )
    mirror: bool = True
    """whether a mirrored image with the flip pairs swapped is a valid image of the same kind of object"""

    def __post_init__(self) -> None:
        Skeleton(self.names, self.flip_pairs)
        require(len(self.names) <= MAX_KEYPOINTS, f"at most {MAX_KEYPOINTS} keypoints; got {len(self.names)}")
        require(
            all(8 <= side <= MAX_SIDE for side in self.size), f"size must be 8 to {MAX_SIDE} pixels; got {self.size}"
        )
        require(self.channels in (1, 3), f"channels must be 1 (grey) or 3 (colour); got {self.channels}")
        check(self)


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of the augmentations. Geometric ones are uniform in +- the value; probabilities apply to each image.

    Raises ConfigError for values out of range.
    """

    rotation: Annotated[
        float,
        Setting(
            "largest rotation; prediction turns faces upright first, so only objects seen at any angle need more",
            0,
            180,
            unit="degrees",
        ),
    ] = 8.0
    upright: Annotated[
        float,
        Setting(
            "share of the images in which the object is turned upright and brought to one size first; predict then does so"
            " for a second look",
            0,
            1,
        ),
    ] = 0.0
    scale: Annotated[float, Setting("largest relative change of size", 0, 0.9, below=True)] = 0.08
    shift: Annotated[float, Setting("largest translation as a fraction of the image's side", 0, 0.5)] = 0.04
    stretch: Annotated[
        float, Setting("largest relative change of the aspect ratio, and largest shear", 0, 0.9, below=True)
    ] = 0.05
    elastic: Annotated[
        float,
        Setting(
            "largest displacement of a smooth deformation, as a fraction of the image's side; reduced where it would fold",
            0,
            0.08,
        ),
    ] = 0.02
    flip: Annotated[float, Setting("probability of mirroring, with the flip pairs swapped", 0, 1)] = 0.5
    light: Annotated[
        float,
        Setting("strength of a random gamma, of a brightness gradient across the image, and of its colours", 0, 1),
    ] = 0.35
    blur: Annotated[float, Setting("probability of a blur", 0, 1)] = 0.3
    noise: Annotated[float, Setting("largest standard deviation of Gaussian noise; white is 1", 0, 1)] = 0.03
    erase: Annotated[float, Setting("probability of a rectangle painted over the image", 0, 1)] = 0.3

    def __post_init__(self) -> None:
        check(self, "augment.")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained. Raises ConfigError for values out of range."""

    epochs: Annotated[int, Setting("passes over the training images", 1, 100_000)] = 40
    batch_size: Annotated[int, Setting("images per step", 2, 65_536)] = 16
    lr: Annotated[float, Setting("peak learning rate of AdamW", 0, 10, above=True)] = 1e-3
    weight_decay: Annotated[float, Setting("weight decay of AdamW", 0)] = 0.1
    warmup: Annotated[
        float,
        Setting(
            "fraction of the steps over which the learning rate rises linearly; a cosine takes it to zero after that",
            0,
            1,
            below=True,
        ),
    ] = 0.05
    ema: Annotated[
        float,
        Setting(
            "decay per step of the averaged weights (EMA), which are the ones evaluated and saved", 0, 1, below=True
        ),
    ] = 0.998
    small: Annotated[float, Setting("share of the training that begins with images of half the size", 0, 0.9)] = 0.0
    patience: Annotated[
        int,
        Setting("epochs without a better validation RMSE after which training ends; 0: it never ends early", 0),
    ] = 0
    freeze: Annotated[
        int,
        Setting(
            "epochs, from the first on, in which the layers taken by --init keep their weights and batch-norm statistics",
            0,
        ),
    ] = 0
    clip: Annotated[float, Setting("largest norm of the gradient", 0, above=True)] = 1.0
    seed: Annotated[int, Setting("random seed", 0, 2**32 - 1)] = 0
    offset: Annotated[
        bool,
        Setting("measure the labels' systematic offset from their mirror images, and remove it for training"),
    ] = True
    prior: Annotated[bool, Setting("choose between peaks of unsure heatmaps by the other keypoints' positions")] = True
    absent: Annotated[
        str,
        Setting(
            "what a keypoint without a label is taught: ignore: nothing; empty: an empty heatmap, as it is not there;"
            " models with heatmaps only",
            choices=(IGNORE, EMPTY),
        ),
    ] = IGNORE
    amp: Annotated[
        str,
        Setting(
            "bfloat16 mixed precision; auto: on if the device has fast bfloat16 arithmetic",
            choices=("auto", "on", "off"),
        ),
    ] = "auto"
    step: Annotated[str, STEP] = PLAIN
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check(self)


RECIPES: dict[str, dict[str, Any]] = {
    "vgg": {"loss": "wing", "epochs": 100, "augment.rotation": 12, "augment.scale": 0.12, "augment.shift": 0.06},
    "resnet": {"loss": "wing", "epochs": 100, "augment.rotation": 12, "augment.scale": 0.12, "augment.shift": 0.06},
    "fcn": {"loss": "dsnt", "epochs": 40},
    "unet": {"loss": "dsnt", "epochs": 40},
}
"""Each model's differences from the fields' defaults, chosen by measurement on 1928 faces: see docs/results.md."""
LARGE = 160
"""Longer side in pixels above which a recipe halves images first, for about a quarter of the work."""


def recipe_of(model: str, size: Size, *, mirror: bool) -> dict[str, Any]:
    """What differs from the fields' defaults for a model, an image size, and objects that may or may not be mirrored."""
    large = {"stem": 1} if model in RECIPES and max(size) > LARGE else {}
    return {**RECIPES.get(model, {}), **large, **({} if mirror else {"augment.flip": 0.0})}


@dataclass(frozen=True)
class Known:
    """A setting of ``--set``: the configuration that holds it, its type, its default without a recipe, and its meaning."""

    owner: type
    kind: type
    default: Any
    setting: Setting


def known_settings() -> dict[str, Known]:
    """Every setting by its ``--set`` name."""
    return {
        f"{prefix}{name}": Known(owner, get_type_hints(owner)[name], owner.__dataclass_fields__[name].default, setting)
        for owner, prefix in _OWNERS.items()
        for name, setting in settings_of(owner).items()
    }


_OWNERS: dict[type[Any], str] = {ModelConfig: "", TrainConfig: "", AugmentConfig: "augment."}
"""The configurations with settings, and what their names begin with."""


def to_dict(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """The configuration as plain values that JSON can represent."""
    return dataclasses.asdict(config)


def model_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """The inverse of `to_dict`, for values from an untrusted file. Raises ConfigError for anything unexpected."""
    try:
        height, width = (int(side) for side in values["size"])
        pairs = tuple((int(a), int(b)) for a, b in values["flip_pairs"])
        fixed = {"names": tuple(map(str, values["names"])), "flip_pairs": pairs, "size": (height, width)}
        rest = _convert_fields(ModelConfig, {key: value for key, value in values.items() if key not in fixed})
        return ModelConfig(**{**rest, **fixed})
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ConfigError(f"the stored model configuration is not valid ({error!r})") from error


def train_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """The inverse of `to_dict` for a training configuration. Raises ConfigError for unknown fields and invalid values."""
    augment = AugmentConfig(**_convert_fields(AugmentConfig, values.get("augment", {})))
    rest = _convert_fields(TrainConfig, {key: value for key, value in values.items() if key != "augment"})
    return TrainConfig(**rest, augment=augment)


def configure(
    model: str, skeleton: Skeleton, size: Size, channels: int, overrides: Mapping[str, Any]
) -> tuple[ModelConfig, TrainConfig]:
    """The recipe of `model` with `overrides` (field name, or ``augment.field`` -> value or its text).

    Raises ConfigError for an unknown field, naming the most similar one, and for an invalid value.
    """
    values = {**recipe_of(model, size, mirror=skeleton.mirror), **overrides}
    owners = {key: each.owner for key, each in known_settings().items()}
    parts: dict[type, dict[str, Any]] = {ModelConfig: {}, TrainConfig: {}, AugmentConfig: {}}
    for key, value in values.items():
        if key not in owners:
            near = difflib.get_close_matches(key, owners, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"there is no setting {key!r}{hint}; known: {', '.join(sorted(owners))}")
        parts[owners[key]].update(_convert_fields(owners[key], {key.removeprefix("augment."): value}))
    augment = AugmentConfig(**parts[AugmentConfig])
    return (
        ModelConfig(
            model, skeleton.names, skeleton.flip_pairs, size, channels, mirror=skeleton.mirror, **parts[ModelConfig]
        ),
        TrainConfig(**parts[TrainConfig], augment=augment),
    )


def _convert_fields(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, by field name, converted to the types of the fields of the dataclass `owner`."""
    hints = get_type_hints(owner)
    unknown = sorted(set(values) - set(hints))
    require(not unknown, f"{owner.__name__} has no field {', '.join(unknown)}")
    return {key: _convert(key, value, hints[key]) for key, value in values.items()}


def _convert(key: str, value: Any, kind: type) -> Any:
    """`value`, of that type already or as text, as a `kind`. Raises ConfigError if it is none, or not finite."""
    if kind is bool:
        words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
        require(str(value).lower() in words, f"{key} must be on or off; got {value!r}")
        return words[str(value).lower()]
    try:
        converted = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{key} must be of type {kind.__name__}; got {value!r}") from None
    finite = not isinstance(converted, float) or math.isfinite(converted)
    require(finite, f"{key} must be a finite number; got {value!r}")
    return converted
