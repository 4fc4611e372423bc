"""Every setting of kptool, as frozen dataclasses that check themselves and are stored whole in checkpoints.

`RECIPES` is the one place where the models' training defaults live. ``--set key=value`` reaches every field by its
name, those of the augmentation as ``augment.rotation=10``.
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


def require(condition: bool, what: str) -> None:
    """Raise ConfigError(`what`) unless the condition holds."""
    if not condition:
        raise ConfigError(what)


@dataclass(frozen=True)
class ModelConfig:
    """All that it takes to build a network and read its output: what a checkpoint stores beside the weights."""

    model: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    size: Size = (96, 96)
    channels: int = 1
    width: int = 32
    loss: str = "dsnt"
    sigma: float = 1.5
    decoder: str = "gaussian"
    mirror: bool = True
    """whether a mirrored image, with the flip pairs swapped, is as good as the image"""

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
    """How far training images are varied. Geometry is drawn uniformly from +- the value; chances are per image."""

    rotation: float = 8.0
    """degrees; prediction turns faces upright, so more than that is for things that stand at all angles"""
    scale: float = 0.08
    """relative"""
    shift: float = 0.04
    """of the image's side"""
    stretch: float = 0.05
    """of x against y, relative; and as much of shear"""
    elastic: float = 0.02
    """largest displacement of a smooth deformation, of the image's side; less where it would fold the picture"""
    flip: float = 0.5
    """chance of a mirrored image (left and right swapped)"""
    light: float = 0.35
    """strength of gamma and of a light gradient across the image"""
    blur: float = 0.3
    """chance"""
    noise: float = 0.03
    """largest standard deviation; white is 1"""
    erase: float = 0.3
    """chance of a rectangle painted over"""

    def __post_init__(self) -> None:
        for chance in ("flip", "blur", "erase"):
            require(
                0 <= getattr(self, chance) <= 1, f"augment.{chance} is a chance of 0 to 1; got {getattr(self, chance)}"
            )
        require(0 <= self.rotation <= 180, f"augment.rotation is 0 to 180 degrees; got {self.rotation}")
        require(0 <= self.scale < 0.9, f"augment.scale is 0 to 0.9; got {self.scale}")
        require(0 <= self.shift <= 0.5, f"augment.shift is 0 to 0.5; got {self.shift}")
        require(0 <= self.stretch < 0.9, f"augment.stretch is 0 to 0.9; got {self.stretch}")
        require(0 <= self.elastic <= 0.08, f"augment.elastic is 0 to 0.08 of the side; got {self.elastic}")
        require(0 <= self.light <= 1, f"augment.light is 0 to 1; got {self.light}")
        require(0 <= self.noise <= 1, f"augment.noise is 0 to 1; got {self.noise}")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained."""

    epochs: int = 40
    batch_size: int = 16
    lr: float = 1e-3
    """peak learning rate of AdamW"""
    weight_decay: float = 0.1
    warmup: float = 0.05
    """share of the steps over which the learning rate rises; a cosine takes it down to zero after that"""
    ema: float = 0.998
    """decay per step of the averaged weights, which are the ones that are evaluated and kept"""
    clip: float = 1.0
    """largest norm of the gradient"""
    seed: int = 0
    offset: bool = True
    """whether to measure how far labels are off their mirror image, and to train without that"""
    amp: str = "auto"
    """auto, on or off: bfloat16 arithmetic, where the device is fast at it"""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        require(1 <= self.epochs <= 100_000, f"epochs must be 1 to 100000; got {self.epochs}")
        require(2 <= self.batch_size <= 65_536, f"batch_size must be 2 to 65536; got {self.batch_size}")
        require(0 < self.lr <= 10, f"lr must be above 0 and at most 10; got {self.lr}")
        require(self.weight_decay >= 0, f"weight_decay must not be negative; got {self.weight_decay}")
        require(0 <= self.warmup < 1, f"warmup is a share, 0 to 1; got {self.warmup}")
        require(0 <= self.ema < 1, f"ema must be at least 0 and below 1; got {self.ema}")
        require(self.clip > 0, f"clip must be positive; got {self.clip}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1; got {self.seed}")
        require(self.amp in ("auto", "on", "off"), f"amp must be auto, on or off; got {self.amp!r}")


RECIPES: dict[str, dict[str, Any]] = {
    "vgg": {"loss": "wing", "epochs": 100, "augment.rotation": 12, "augment.scale": 0.12, "augment.shift": 0.06},
    "resnet": {"loss": "wing", "epochs": 100, "augment.rotation": 12, "augment.scale": 0.12, "augment.shift": 0.06},
    "fcn": {"loss": "dsnt", "epochs": 40},
    "unet": {"loss": "dsnt", "epochs": 40},
}
"""What differs from the fields' defaults, model by model, as each was measured on 1928 faces: see docs/results.md."""


def to_dict(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """Plain values, as JSON can hold them."""
    return dataclasses.asdict(config)


def model_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """The inverse of `to_dict`, from a file that need not be ours. Raises ConfigError on anything unexpected."""
    try:
        pairs = tuple((int(a), int(b)) for a, b in values["flip_pairs"])
        fixed = {"names": tuple(map(str, values["names"])), "flip_pairs": pairs, "size": _size(values["size"])}
        return ModelConfig(**{**_typed(ModelConfig, {k: v for k, v in values.items() if k not in fixed}), **fixed})
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ConfigError(f"the stored model configuration is not valid ({error!r})") from error


def train_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """The inverse of `to_dict` for a training configuration."""
    augment = AugmentConfig(**_typed(AugmentConfig, values.get("augment", {})))
    return TrainConfig(**_typed(TrainConfig, {k: v for k, v in values.items() if k != "augment"}), augment=augment)


def configure(
    model: str, skeleton: Skeleton, size: Size, channels: int, overrides: Mapping[str, Any]
) -> tuple[ModelConfig, TrainConfig]:
    """The recipe of `model` with `overrides` (field name, or ``augment.field`` -> value or its text).

    Raises ConfigError for a field that does not exist, naming the nearest, and for a value that does not fit.
    """
    values = {**RECIPES.get(model, {}), **({} if skeleton.mirror else {"augment.flip": 0.0}), **overrides}
    fixed = {"model", "names", "flip_pairs", "mirror", "size", "channels", "augment"}
    homes: dict[str, type] = {f.name: ModelConfig for f in dataclasses.fields(ModelConfig) if f.name not in fixed}
    homes |= {f.name: TrainConfig for f in dataclasses.fields(TrainConfig) if f.name not in fixed}
    homes |= {f"augment.{f.name}": AugmentConfig for f in dataclasses.fields(AugmentConfig)}
    parts: dict[type, dict[str, Any]] = {ModelConfig: {}, TrainConfig: {}, AugmentConfig: {}}
    for key, value in values.items():
        if key not in homes:
            near = difflib.get_close_matches(key, homes, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"there is no setting {key!r}{hint}; known: {', '.join(sorted(homes))}")
        parts[homes[key]].update(_typed(homes[key], {key.removeprefix("augment."): value}))
    augment = AugmentConfig(**parts[AugmentConfig])
    return (
        ModelConfig(
            model, skeleton.names, skeleton.flip_pairs, size, channels, mirror=skeleton.mirror, **parts[ModelConfig]
        ),
        TrainConfig(**parts[TrainConfig], augment=augment),
    )


def _typed(home: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` converted to the types of the fields of `home`."""
    hints = get_type_hints(home)
    unknown = sorted(set(values) - set(hints))
    require(not unknown, f"{home.__name__} has no field {', '.join(unknown)}")
    return {key: _convert(key, value, hints[key]) for key, value in values.items()}


def _convert(key: str, value: Any, kind: type) -> Any:
    if kind is bool:
        words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
        require(str(value).lower() in words, f"{key} is on or off; got {value!r}")
        return words[str(value).lower()]
    try:
        converted = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{key} must be of type {kind.__name__}; got {value!r}") from None
    fits = not isinstance(converted, float) or math.isfinite(converted)
    require(fits, f"{key} must be a finite number; got {value!r}")
    return converted


def _size(values: Any) -> Size:
    height, width = (int(side) for side in values)
    return height, width
