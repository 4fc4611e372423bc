"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from kptool.base.errors import ConfigError
from kptool.cli.defaults import from_line

DEFAULT_CACHE = Path("data/faces/dataset.h5")
_UNIT_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}

Json = Annotated[bool, typer.Option("--json", help="Print a single JSON document on stdout.")]
Device = Annotated[
    str, typer.Option(envvar="KPTOOL_DEVICE", help="auto (a GPU if available), cpu, cuda, cuda:1, mps or xpu.")
]
CachePath = Annotated[
    Path, typer.Argument(metavar="CACHE", envvar="KPTOOL_CACHE", help="A dataset.h5 written by `kptool extract`.")
]
ModelName = Annotated[
    str, typer.Option("--model", envvar="KPTOOL_MODEL", help="A name, a run folder, or a model.safetensors.")
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the pictures labelled by SOURCE; default: SOURCE's folder or its subfolder images.",
        show_default=False,
    ),
]
Category = Annotated[
    str | None, typer.Option(help="The category to read, if SOURCE labels several.", show_default=False)
]
AsLabelled = Annotated[
    bool,
    typer.Option(
        "--as-labelled", help="Predict where the training data's labels would be, instead of where the features are."
    ),
]


def _use_plugins(files: list[Path] | None) -> None:
    """Make the plugins of --plugin available, before other arguments are looked at."""
    if files:
        from kptool import plugins

        for file in files:
            plugins.use(file)


Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        callback=_use_plugins,
        is_eager=True,
        help="A Python file with your own model, loss, decoder, format or logger; its code runs; repeatable.",
    ),
]
Seed = Annotated[int, typer.Option(envvar="KPTOOL_SEED", help="Random seed.")]


def check_split(split: str) -> None:
    """Raise ConfigError unless `split` is train, val or all."""
    if split not in ("train", "val", "all"):
        raise ConfigError(f"--split must be train, val or all; got {split!r}")


def check_settings(model: str, given: Mapping[str, object], device: str) -> None:
    """Raise ConfigError for settings or a device that are invalid whatever the cache, before it is opened."""
    from kptool import plugins
    from kptool.base.config import configure
    from kptool.base.skeleton import FACE15
    from kptool.network import keypoint_model
    from kptool.system import devices

    network, _ = configure(model, FACE15, (96, 96), 1, {**plugins.defaults(model), **given})
    keypoint_model.matching_plugins(network)
    devices.pick(device)


def overrides(pairs: list[str], **named: object) -> dict[str, object]:
    """``key=value`` texts and the options that were given, as one dictionary; options win.

    Raises ConfigError for a text without ``=``.
    """
    values: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set expects key=value, for example --set augment.rotation=10; got {pair!r}")
        values[key.strip()] = value.strip()
    return values | {key: value for key, value in named.items() if value is not None}


def ranked(
    context: typer.Context, recipe: Mapping[str, object], settings: list[str], **named: object
) -> dict[str, object]:
    """The settings of a `recipe` given with --config, and those of --set and other options, which win.

    A recipe named on the command line wins over options that come from the environment or from kptool.toml.
    """
    if not from_line(context, "config"):
        return {**recipe, **overrides(settings, **named)}
    on_line = {name for name in (*named, "settings") if from_line(context, name)}
    line = overrides(settings if "settings" in on_line else [], **{k: v for k, v in named.items() if k in on_line})
    return {**overrides(settings, **named), **recipe, **line}


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse "H,W", or "S" for a square, as (H, W). Raises ConfigError for anything else."""
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) > 2 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise ConfigError(f"--size is height,width in pixels, or one number for both; got {text!r}")
    return int(parts[0]), int(parts[-1])


def parse_duration(text: str, option: str = "--time") -> float:
    """Seconds in a text such as "90s", "20m", "1.5h" or "1h30m": units d, h, m, s, each at most once, largest first.

    Raises ConfigError, naming `option`, for anything else, for a number without a unit, and for zero.
    """
    parts = "".join(rf"(?:(?P<{unit}>\d{{1,9}}(?:\.\d{{1,9}})?)\s*{unit})?\s*" for unit in _UNIT_SECONDS)
    found = re.fullmatch(parts, text.strip().lower(), re.ASCII)
    seconds = sum(float(found[unit] or 0) * length for unit, length in _UNIT_SECONDS.items()) if found else 0.0
    if seconds <= 0:
        raise ConfigError(
            f"{option} is a duration above zero with its unit, such as 90s, 20m, 2h or 1h30m; got {text!r}"
        )
    return seconds
