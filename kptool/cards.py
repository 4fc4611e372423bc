"""What a weights file says of itself, and which file a model's name means. No torch: a prediction need not load it.

`model.safetensors` and an exported `.onnx` both carry the same JSON in their metadata, under the key ``kptool``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from kptool.config import ModelConfig, model_from_dict, to_dict
from kptool.errors import CheckpointError, ConfigError, DataError
from kptool.reading import strict_json

SCHEMA = 1
_MOST_CHARACTERS = 1 << 25
WEIGHTS, STATE, GRAPH = "model.safetensors", "last.ckpt", "model.onnx"


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself beside its configuration: training settings, data, split, metrics."""

    config: ModelConfig
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text that files carry."""
        body = {
            "schema": SCHEMA,
            "config": to_dict(self.config),
            "training": self.training,
            "data": self.data,
            "metrics": self.metrics,
        }
        return json.dumps(body)


def parse_card(path: Path, metadata: Mapping[str, str]) -> Card:
    """The card in a file's metadata. Raises CheckpointError where it is missing, damaged or of another schema."""
    try:
        if len(metadata["kptool"]) > _MOST_CHARACTERS:
            raise CheckpointError(f"{path} is not a readable weights file of kptool's (its metadata is too large)")
        body = strict_json(metadata["kptool"])
        if body["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path} has weights schema {body['schema']} and this kptool reads {SCHEMA}; train again"
            )
        parts = [body[name] for name in ("training", "data", "metrics")]
        if not all(isinstance(part, dict) for part in parts):
            raise CheckpointError(f"{path} is not a readable weights file of kptool's (its metadata is no table)")
        return Card(model_from_dict(body["config"]), *parts)
    except KeyError as error:
        raise CheckpointError(
            f"{path} holds weights, but not of kptool's: {error} is missing from its metadata"
        ) from error
    except (ValueError, TypeError, AttributeError, OverflowError, ConfigError, DataError) as error:
        raise CheckpointError(f"{path} is not a readable weights file of kptool's ({error})") from error


def read_card(path: Path) -> Card:
    """The card of a safetensors file. Raises CheckpointError where it is missing, damaged or of another schema."""
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}; train some with `kptool train`")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable weights file of kptool's ({error})") from error
    return parse_card(path, metadata)


def resolve(model: str, runs: Path = Path("runs")) -> tuple[Path, str]:
    """The weights file that MODEL means, and where it came from, in words.

    MODEL is a weights file, a run folder, or a name: a finished run under `runs`, else weights that ship with kptool.
    """
    path = Path(model)
    if path.is_file():
        return path, str(path)
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS, f"the run in {path}"
    if (runs / model / WEIGHTS).is_file():
        return runs / model / WEIGHTS, f"the run in {runs / model}"
    shipped = Path(__file__).parent / "weights" / f"{path.name}.safetensors"
    if path.name == model and shipped.is_file():
        return shipped, f"the {model} weights that ship with kptool"
    raise CheckpointError(
        f"{model!r} is neither a weights file, nor a run folder, nor a finished run in {runs}/;"
        f" train one with `kptool train {model}`"
        if path.name == model
        else f"there is no weights file or finished run at {model}"
    )
