"""Weights and training state on disk.

`model.safetensors` is what people keep: the averaged weights, with everything predicting needs as JSON in its
metadata. `last.ckpt` is what ``--resume`` reads, loaded with ``weights_only=True``. Neither can run code when read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kptool.config import ModelConfig, model_from_dict, to_dict
from kptool.detector import Detector
from kptool.errors import CheckpointError, ConfigError, DataError
from kptool.files import atomic

SCHEMA = 1
WEIGHTS, STATE = "model.safetensors", "last.ckpt"


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself beside its configuration: training settings, data, split, metrics."""

    config: ModelConfig
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


def save_weights(path: Path, detector: Detector, card: Card, *, half: bool = False) -> None:
    """Write the detector's weights and `card`, all or nothing; `half` stores float16, half the size."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    body = {
        "schema": SCHEMA,
        "config": to_dict(card.config),
        "training": card.training,
        "data": card.data,
        "metrics": card.metrics,
    }
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"kptool": json.dumps(body)})


def read_card(path: Path) -> Card:
    """The description in a weights file. Raises CheckpointError where it is missing, damaged or of another schema."""
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}; train some with `kptool train`")
    try:
        with safe_open(path, framework="pt") as file:
            body = json.loads((file.metadata() or {})["kptool"])
        if body["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path} has weights schema {body['schema']} and this kptool reads {SCHEMA}; train again"
            )
        return Card(model_from_dict(body["config"]), body["training"], body["data"], body["metrics"])
    except KeyError as error:
        raise CheckpointError(
            f"{path} holds weights, but not of kptool's: {error} is missing from its metadata"
        ) from error
    except (SafetensorError, OSError, ValueError, TypeError, ConfigError, DataError) as error:
        raise CheckpointError(f"{path} is not a readable weights file of kptool's ({error})") from error


def load_detector(path: Path, device: torch.device | None = None) -> tuple[Detector, Card]:
    """The detector of a weights file, in evaluation mode. Raises CheckpointError, also where weights do not fit."""
    card = read_card(path)
    device = device or torch.device("cpu")
    try:
        detector = Detector(card.config)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        detector.load_state_dict(
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        )
    except (RuntimeError, SafetensorError, ConfigError) as error:
        raise CheckpointError(
            f"the weights in {path} do not fit their configuration: {str(error).splitlines()[0]}"
        ) from error
    return detector.place(device).eval(), card


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state (tensors, numbers, text, lists and dictionaries of them), all or nothing."""
    with atomic(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state. Raises CheckpointError where it is missing, damaged or holds anything but data."""
    if not path.is_file():
        raise CheckpointError(f"there is nothing to resume at {path}; start without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, UnpicklingError and RuntimeError among them
        raise CheckpointError(f"{path} is not a readable training state; start again without --resume") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} is not a training state of this kptool; start again without --resume")
    return state


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
