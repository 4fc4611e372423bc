"""The settings of a finder, stored in its weights and its graph. Imports no torch, as prediction with ONNX Runtime needs none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kptool.base.config import MAX_SIDE, require
from kptool.base.errors import CheckpointError, ConfigError
from kptool.base.geometry import Size
from kptool.system.text import strict_json

STRIDE = 4
"""Input pixels per pixel of the maps."""
LEAST_SCORE = 0.05
"""Lowest height of a peak that is a candidate."""
MOST = 100
"""Most candidates in a picture."""
KEY = "finder"
"""The name of the settings in a file's metadata."""
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
            body = strict_json(metadata[KEY])
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


def finder_beside(weights: Path) -> Path:
    """The file of the finder that belongs to a weights file or graph: model.safetensors -> model.finder.safetensors."""
    return weights.with_name(f"{weights.stem}.finder{weights.suffix}")
