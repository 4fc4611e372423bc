"""Weights and training state on disk.

`model.safetensors` is what people keep: the averaged weights, with everything predicting needs as JSON in its
metadata. `last.ckpt` is what ``--resume`` reads, loaded with ``weights_only=True``. Neither can run code when read.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kptool.base.errors import CheckpointError, ConfigError
from kptool.network.cards import SCHEMA, Card, read_card
from kptool.network.keypoint_model import KeypointModel
from kptool.system.files import write_bytes


def save_weights(path: Path, model: KeypointModel, card: Card, *, half: bool = False) -> None:
    """Write the model's weights and `card`, all or nothing; `half` stores float16, half the size."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    write_bytes(path, save(tensors, metadata={"kptool": card.to_json()}))


def load_model(path: Path, device: torch.device | None = None) -> tuple[KeypointModel, Card]:
    """The model of a weights file, in evaluation mode. Raises CheckpointError, also where weights do not fit."""
    card = read_card(path)
    device = device or torch.device("cpu")
    try:
        with safe_open(path, framework="pt") as file:
            _check_shapes(path, card, {name: file.get_slice(name).get_shape() for name in file.keys()})  # noqa: SIM118
            model = KeypointModel(card.config)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise CheckpointError(f"the weights in {path} are not all finite numbers; they are damaged, so train again")
        model.load_state_dict(
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        )
    except (RuntimeError, SafetensorError, ConfigError) as error:
        raise CheckpointError(
            f"the weights in {path} do not fit their configuration: {str(error).splitlines()[0]}"
        ) from error
    return model.place(device).eval(), card


def _check_shapes(path: Path, card: Card, stored: dict[str, list[int]]) -> None:
    """Raise CheckpointError where the network that the card describes has other tensors than those that are stored.

    It is built without memory: a card may describe one of any size.
    """
    with torch.device("meta"):
        expected = {name: list(tensor.shape) for name, tensor in KeypointModel(card.config).state_dict().items()}
    wrong = next((name for name in {**expected, **stored} if expected.get(name) != stored.get(name)), None)
    if wrong is not None:
        raise CheckpointError(
            f"the weights in {path} do not fit their configuration: {wrong[:100]} is {stored.get(wrong, 'missing')},"
            f" expected {expected.get(wrong, 'none')}; train again"
        )


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state (tensors, numbers, text, lists and dictionaries of them), all or nothing."""
    buffer = io.BytesIO()  # torch writing to the disk itself says nothing sensible of a full one
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


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
