"""Reading and writing weights and training states.

`model.safetensors` holds the averaged weights, and in its metadata, as JSON, all that prediction needs. `last.ckpt` is
the state that ``--resume`` reads, loaded with ``weights_only=True``. Loading either cannot run code.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kptool.base.errors import CheckpointError, ConfigError
from kptool.network import provenance
from kptool.network.cards import PRIOR, SCHEMA, Card, read_card
from kptool.network.keypoint_model import KeypointModel
from kptool.network.shape_prior import ShapePrior
from kptool.system.files import write_bytes


def save_weights(path: Path, model: KeypointModel, card: Card, *, half: bool = False) -> None:
    """Write the model's weights and `card` atomically; `half` stores float16."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    write_bytes(path, save(tensors, metadata={"kptool": card.to_json()}))


def load_model(path: Path, device: torch.device | None = None) -> tuple[KeypointModel, Card]:
    """The model of a weights file on `device` (the CPU without one), in evaluation mode, and its card.

    Raises CheckpointError for a missing or damaged file, and for weights that do not fit the card or are not finite.
    """
    card = read_card(path)
    provenance.check(path, card)
    device = device or torch.device("cpu")
    try:
        with safe_open(path, framework="pt") as file:
            _check_shapes(path, card, {name: file.get_slice(name).get_shape() for name in file.keys()})  # noqa: SIM118
            model = KeypointModel(card.config)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise CheckpointError(f"the weights in {path} are damaged: they are not all finite; train again")
        model.load_state_dict(
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        )
    except (RuntimeError, SafetensorError, ConfigError) as error:
        raise CheckpointError(
            f"the weights in {path} do not fit their configuration: {str(error).splitlines()[0]}"
        ) from error
    if model.plugin.output == "heatmap":
        model.prior = ShapePrior.of(card.data.get(PRIOR), len(card.config.names))
    return model.place(device).eval(), card


def _check_shapes(path: Path, card: Card, stored: dict[str, list[int]]) -> None:
    """Raise CheckpointError where the stored tensors are not those of the network that the card describes.

    The network is built on the meta device, without memory: a card may describe one of any size.
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
    """Write a training state (tensors, numbers, text, and lists and dictionaries of them) atomically."""
    buffer = io.BytesIO()  # torch's own error for a full disk is misleading
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state. Raises CheckpointError where it is missing, damaged or holds more than plain data."""
    if not path.is_file():
        raise CheckpointError(f"there is nothing to resume at {path}; start without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError and many more
        raise CheckpointError(f"{path} is not a readable training state; start again without --resume") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} is not a training state of this kptool; start again without --resume")
    return state
