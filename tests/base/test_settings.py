"""Ranges and meanings of settings, and the checks made of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from kptool.base.config import AugmentConfig, ModelConfig, TrainConfig, configure, known_settings, to_dict
from kptool.base.errors import ConfigError
from kptool.base.settings import Setting
from kptool.base.skeleton import FACE15

OF_THE_CACHE = {"model", "names", "flip_pairs", "size", "channels", "mirror", "augment"}


def test_every_field_that_can_be_set_has_a_meaning() -> None:
    owners = {ModelConfig: "", TrainConfig: "", AugmentConfig: "augment."}
    fields = {prefix + f.name for owner, prefix in owners.items() for f in dataclasses.fields(owner)}
    assert set(known_settings()) == fields - OF_THE_CACHE
    assert all(each.setting.meaning for each in known_settings().values())


def test_defaults_are_valid_and_convert_from_their_texts() -> None:
    texts = {key: str(each.default) for key, each in known_settings().items()}
    model, training = configure("unet", FACE15, (96, 96), 1, texts)
    values: dict[str, Any] = {**to_dict(model), **to_dict(training)}
    values |= {f"augment.{name}": value for name, value in values["augment"].items()}
    assert {key: values[key] for key in texts} == {key: each.default for key, each in known_settings().items()}


@pytest.mark.parametrize(
    ("setting", "words", "valid", "invalid"),
    [
        (Setting("", 0, 1), "0 to 1", (0, 0.5, 1), (-0.001, 1.001, math.nan, math.inf)),
        (Setting("", 1, 512, unit="channels"), "1 to 512 channels", (1, 512), (0, 513)),
        (Setting("", 0, 10, above=True), "above 0 and at most 10", (1e-9, 10), (0, 10.1)),
        (Setting("", 0, 0.9, below=True), "at least 0 and below 0.9", (0, 0.899), (-1, 0.9)),
        (Setting("", 0), "at least 0", (0, 1e300), (-1, math.nan)),
        (Setting("", 0, above=True), "above 0", (0.1,), (0,)),
        (Setting("", choices=("auto", "on", "off")), "auto, on or off", ("on",), ("On", "", 1)),
    ],
)
def test_a_range_is_said_and_checked(
    setting: Setting, words: str, valid: tuple[Any, ...], invalid: tuple[Any, ...]
) -> None:
    assert setting.range() == words
    for value in valid:
        setting.check("key", value)
    for value in invalid:
        with pytest.raises(ConfigError, match=f"^key must be {words}; got "):
            setting.check("key", value)


@pytest.mark.parametrize("key", [key for key, each in known_settings().items() if math.isfinite(each.setting.low)])
def test_values_beyond_a_limit_are_refused_by_name(key: str) -> None:
    known = known_settings()[key]
    limits = [known.setting.low - 1] + ([known.setting.high + 1] if math.isfinite(known.setting.high) else [])
    for value in limits:
        with pytest.raises(ConfigError, match=f"^{key} must be .*; got "):
            configure("unet", FACE15, (96, 96), 1, {key: value})
