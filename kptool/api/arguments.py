"""Values that several functions and commands take, and their defaults."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from kptool.base.errors import ConfigError

PathLike = str | os.PathLike[str]
DEFAULT_CACHE = Path("data/faces/dataset.h5")
_UNIT_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def path_of(value: PathLike) -> Path:
    """A path, with `~` expanded."""
    return Path(value).expanduser()


def optional_path(value: PathLike | None) -> Path | None:
    """A path, with `~` expanded, or None."""
    return None if value is None else path_of(value)


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


def parse_size(size: tuple[int, int] | int | str | None) -> tuple[int, int] | None:
    """(H, W) from that, from one number for both, or from the text "H,W" or "S". Raises ConfigError for anything else."""
    if size is None:
        return None
    if isinstance(size, str):
        parts = size.replace("x", ",").split(",")
    else:
        parts = [str(each) for each in (size if isinstance(size, tuple) else (size,))]
    if len(parts) not in (1, 2) or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise ConfigError(f"--size is height,width in pixels, or one number for both; got {size!r}")
    return int(parts[0]), int(parts[-1])


def parse_duration(text: str | float, option: str = "--time") -> float:
    """Seconds, from a number or a text such as "90s", "20m", "1.5h" or "1h30m".

    The units in a text are d, h, m and s, each at most once, largest first. Raises ConfigError, naming `option`, for
    anything else, for a text without a unit, and for zero.
    """
    if not isinstance(text, str):
        if not 0 < text < math.inf:
            raise ConfigError(f"{option} is a duration above zero, in seconds or such as 20m; got {text!r}")
        return float(text)
    parts = "".join(rf"(?:(?P<{unit}>\d{{1,9}}(?:\.\d{{1,9}})?)\s*{unit})?\s*" for unit in _UNIT_SECONDS)
    found = re.fullmatch(parts, text.strip().lower(), re.ASCII)
    seconds = sum(float(found[unit] or 0) * length for unit, length in _UNIT_SECONDS.items()) if found else 0.0
    if seconds <= 0:
        raise ConfigError(
            f"{option} is a duration above zero with its unit, such as 90s, 20m, 2h or 1h30m; got {text!r}"
        )
    return seconds
