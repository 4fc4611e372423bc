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
from typing import Any, get_type_hints

from kptool.base.errors import ConfigError
from kptool.base.geometry import Size
from kptool.base.skeleton import MAX_KEYPOINTS, Skeleton

MAX_SIDE = 4096
"""Largest width and height of a network's input, in pixels."""


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(`message`) unless the condition is true."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to build a network and decode its output. A checkpoint stores it with the weights.

    Raises ConfigError, or DataError from `Skeleton`, for values out of range.
    """

    model: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    size: Size = (96, 96)
    """(H, W) of the input in pixels"""
    channels: int = 1
    """1 for grey, 3 for colour"""
    width: int = 32
    """channels of the network's first stage"""
    loss: str = "dsnt"
    sigma: float = 1.5
    """standard deviation of the target Gaussians in heatmap pixels"""
    decoder: str = "gaussian"
    mirror: bool = True
    """whether a mirrored image with the flip pairs swapped is a valid image of the same kind of object"""

    def __post_init__(self) -> None:
        Skeleton(self.names, self.flip_pairs)
        require(len(self.names) <= MAX_KEYPOINTS, f"at most {MAX_KEYPOINTS} keypoints; got {len(self.names)}")
        require(
            all(8 <= side <= MAX_SIDE for side in self.size), f"size must be 8 to {MAX_SIDE} pixels; got {self.size}"
        )
        require(self.channels in (1, 3), f"channels must be 1 (grey) or 3 (colour); got {self.channels}")
        require(1 <= self.width <= 512, f"width must be 1 to 512 channels; got {self.width}")
        require(0.3 <= self.sigma <= 50, f"sigma must be 0.3 to 50 heatmap pixels; got {self.sigma}")


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of the augmentations. Geometric ones are uniform in +- the value; probabilities apply to each image.

    Raises ConfigError for values out of range.
    """

    rotation: float = 8.0
    """degrees; prediction turns faces upright first, so only objects seen at any angle need more"""
    scale: float = 0.08
    """relative change of size"""
    shift: float = 0.04
    """translation as a fraction of the image's side"""
    stretch: float = 0.05
    """relative change of the aspect ratio, and range of the shear"""
    elastic: float = 0.02
    """largest displacement of a smooth deformation, as a fraction of the image's side; reduced where it would fold"""
    flip: float = 0.5
    """probability of mirroring, with the flip pairs swapped"""
    light: float = 0.35
    """strength of a random gamma and of a brightness gradient across the image"""
    blur: float = 0.3
    """probability of a blur"""
    noise: float = 0.03
    """largest standard deviation of Gaussian noise; white is 1"""
    erase: float = 0.3
    """probability of a rectangle painted over the image"""

    def __post_init__(self) -> None:
        for name in ("flip", "blur", "erase"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"augment.{name} must be a probability from 0 to 1; got {value}")
        require(0 <= self.rotation <= 180, f"augment.rotation must be 0 to 180 degrees; got {self.rotation}")
        require(0 <= self.scale < 0.9, f"augment.scale must be at least 0 and below 0.9; got {self.scale}")
        require(0 <= self.shift <= 0.5, f"augment.shift must be 0 to 0.5; got {self.shift}")
        require(0 <= self.stretch < 0.9, f"augment.stretch must be at least 0 and below 0.9; got {self.stretch}")
        require(0 <= self.elastic <= 0.08, f"augment.elastic must be 0 to 0.08 of the side; got {self.elastic}")
        require(0 <= self.light <= 1, f"augment.light must be 0 to 1; got {self.light}")
        require(0 <= self.noise <= 1, f"augment.noise must be 0 to 1; got {self.noise}")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained. Raises ConfigError for values out of range."""

    epochs: int = 40
    batch_size: int = 16
    lr: float = 1e-3
    """peak learning rate of AdamW"""
    weight_decay: float = 0.1
    warmup: float = 0.05
    """fraction of the steps over which the learning rate rises linearly; a cosine takes it to zero after that"""
    ema: float = 0.998
    """decay per step of the averaged weights (EMA), which are the ones evaluated and saved"""
    patience: int = 0
    """epochs without a better validation RMSE after which training ends; 0: it never ends early"""
    freeze: int = 0
    """epochs, from the first on, in which the layers taken by --init keep their weights and batch-norm statistics"""
    clip: float = 1.0
    """largest norm of the gradient"""
    seed: int = 0
    offset: bool = True
    """whether to measure the labels' systematic offset from their mirror images, and to remove it for training"""
    amp: str = "auto"
    """bfloat16 mixed precision: on, off, or auto (on if the device has fast bfloat16 arithmetic)"""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        require(1 <= self.epochs <= 100_000, f"epochs must be 1 to 100000; got {self.epochs}")
        require(2 <= self.batch_size <= 65_536, f"batch_size must be 2 to 65536; got {self.batch_size}")
        require(0 < self.lr <= 10, f"lr must be above 0 and at most 10; got {self.lr}")
        require(self.weight_decay >= 0, f"weight_decay must not be negative; got {self.weight_decay}")
        require(0 <= self.warmup < 1, f"warmup must be at least 0 and below 1; got {self.warmup}")
        require(0 <= self.ema < 1, f"ema must be at least 0 and below 1; got {self.ema}")
        require(self.patience >= 0, f"patience must not be negative; got {self.patience}")
        require(self.freeze >= 0, f"freeze must not be negative; got {self.freeze}")
        require(self.clip > 0, f"clip must be positive; got {self.clip}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1; got {self.seed}")
        require(self.amp in ("auto", "on", "off"), f"amp must be auto, on or off; got {self.amp!r}")


RECIPES: dict[str, dict[str, Any]] = {
    "vgg": {"loss": "wing", "epochs": 100, "augment.rotation": 12, "augment.scale": 0.12, "augment.shift": 0.06},
    "resnet": {"loss": "wing", "epochs": 100, "augment.rotation": 12, "augment.scale": 0.12, "augment.shift": 0.06},
    "fcn": {"loss": "dsnt", "epochs": 40},
    "unet": {"loss": "dsnt", "epochs": 40},
}
"""Each model's differences from the fields' defaults, chosen by measurement on 1928 faces: see docs/results.md."""


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
    values = {**RECIPES.get(model, {}), **({} if skeleton.mirror else {"augment.flip": 0.0}), **overrides}
    fixed = {"model", "names", "flip_pairs", "mirror", "size", "channels", "augment"}
    owners: dict[str, type] = {f.name: ModelConfig for f in dataclasses.fields(ModelConfig) if f.name not in fixed}
    owners |= {f.name: TrainConfig for f in dataclasses.fields(TrainConfig) if f.name not in fixed}
    owners |= {f"augment.{f.name}": AugmentConfig for f in dataclasses.fields(AugmentConfig)}
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
