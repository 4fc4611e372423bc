"""Initialises a network from existing weights, layer by layer, before its first training step.

    weights file -> names and shapes of its tensors -> layers that fit -> the network

Only tensor names and shapes are compared, so this works for any two models that share layers. The meaning of each
dimension is found by building the network on torch's meta device with one more keypoint and with another number of
colour channels. A dimension that grows with the number of keypoints belongs to the head and is matched by keypoint name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from kptool.base.config import ModelConfig
from kptool.base.errors import CheckpointError
from kptool.base.face68 import PARTS, is_face68
from kptool.data.notes import listed
from kptool.network import cards
from kptool.network.keypoint_model import KeypointModel, build_network, stem_of
from kptool.system.files import sha256

_PREFIX = "network."
_UNUSED = "num_batches_tracked"
"""Batch norm's step counter, which is unused with a fixed momentum."""
_NOISE = 0.01
"""Noise added to duplicated channels, as a fraction of the tensor's standard deviation (see `_resized`)."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Taken:
    """The parts of a network that were initialised from weights.

    `path`: the weights file; `origin`: the same in words; `card`: its card. `layers` and `fresh`: the layers outside the
    head that were taken, and those that were not. `keypoints`: the keypoints whose head was taken. `config`: the network's
    configuration.
    """

    name: str
    path: Path
    origin: str
    layers: tuple[str, ...]
    fresh: tuple[str, ...]
    keypoints: tuple[str, ...]
    config: ModelConfig
    card: cards.Card

    def describe(self) -> dict[str, Any]:
        """The summary that the card of the trained weights keeps."""
        origin = self.origin.replace(str(self.path), self.path.name)  # weights are shared, and must not reveal folders
        return {
            "name": self.name,
            "origin": origin.replace(str(self.path.parent), self.path.parent.name or "."),
            "sha256": sha256((self.path,)),
            "layers": len(self.layers),
            "layers_of": len(self.layers) + len(self.fresh),
            "keypoints": list(self.keypoints),
        }

    def sentence(self) -> str:
        """A sentence on what was taken and what starts from random values."""
        old, new, total = self.card.config, self.config, len(self.layers) + len(self.fresh)
        changes = [f"from width {old.width} to {new.width}"] if old.width != new.width else []
        if old.channels != new.channels:
            changes.append("from grey to colour" if new.channels == 3 else "from colour to grey")
        adapted = f", adapted {' and '.join(changes)}" if changes else ""
        said = f"took {len(self.layers)} of {total} layers and the head of {len(self.keypoints)} of {len(new.names)} keypoints"
        plain = [layer.removeprefix(_PREFIX) for layer in self.fresh]
        random = [f"layer{'s' * (len(plain) > 1)} {listed(plain)}"] if plain else []
        others = [name for name in new.names if name not in self.keypoints]
        random += [f"the head of {listed(others)}"] if others else []
        return f"{said} from {self.origin}{adapted}" + (f"; new: {' and '.join(random)}" if random else "")


@dataclass(frozen=True)
class Axes:
    """The meaning of a tensor's dimensions.

    `keypoints`: by how much each grows with one more keypoint; `colour`: whether each is the number of colour channels;
    `inputs`: the index of the input dimension, over which the layer sums.
    """

    keypoints: Shape
    colour: tuple[bool, ...]
    inputs: int

    @property
    def head(self) -> bool:
        """Whether the tensor belongs to the head."""
        return any(self.keypoints)


def take(model: KeypointModel, weights: str, *, runs: Path = Path("runs")) -> Taken:
    """Copy the layers of `weights` (a weights file, a run folder, or a name) that fit into the network of `model`.

    A layer is taken if all its tensors fit: same name, and a shape that differs only by the number of keypoints (matched
    by name), the number of colour channels, or the width. All other layers keep their random initialisation. The head
    is not taken from heatmap weights trained with another loss, whose raw heatmaps have another scale. Raises
    CheckpointError if the weights do not exist or are damaged, if no layer fits, or if they are another model's and fewer
    than half of the layers fit.
    """
    path, origin = cards.resolve(weights, runs)
    card = cards.read_card(path)
    pairs = match([n if n not in card.unlearnt else "" for n in card.config.names], model.config.names)
    if model.plugin.output == "heatmap" and card.config.loss != model.config.loss:
        pairs = []
    plan = Plan(model, card.config, pairs)
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
            fitting = plan.fitting(stored)
            plan.check(fitting, origin)
            plan.fill({name: file.get_tensor(name) for layer in fitting for name in plan.layers[layer]}, path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable weights file of kptool's ({error})") from error
    whole = tuple(layer for layer in fitting if layer not in plan.head)
    fresh = tuple(layer for layer in plan.layers if layer not in plan.head and layer not in whole)
    headed = bool(plan.head) and all(layer in fitting for layer in plan.head)
    return Taken(
        name=Path(weights).name,
        path=path,
        origin=origin,
        layers=whole,
        fresh=fresh,
        keypoints=tuple(model.config.names[new] for _, new in pairs) if headed else (),
        config=model.config,
        card=card,
    )


def match(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs (old, new) of the keypoints in both lists. 300-W's 68 points also match the names of the 15 face points."""
    known = {name: index for index, name in enumerate(_plain(old)) if name}
    return [(known[name], index) for index, name in enumerate(_plain(new)) if name in known]


def _plain(names: Sequence[str]) -> list[str]:
    if not is_face68(names):
        return list(names)
    single = {points[0]: name for name, points in PARTS.items() if len(points) == 1}
    return [single.get(index, f"68 points, {index}") for index in range(len(names))]


class Plan:
    """How the tensors of a model with configuration `old` map to those of `model`; `pairs`: see `match`."""

    def __init__(self, model: KeypointModel, old: ModelConfig, pairs: Sequence[tuple[int, int]]) -> None:
        self.old, self.new, self.pairs = old, model.config, np.array(pairs, np.int64).reshape(-1, 2)
        self.axes = axes_of(model)
        self.tensors = {n: t for n, t in model.state_dict().items() if n in self.axes}
        self.layers: dict[str, list[str]] = {}
        for name in self.tensors:
            self.layers.setdefault(name.rpartition(".")[0], []).append(name)
        self.head = {layer for layer, names in self.layers.items() if any(self.axes[name].head for name in names)}

    def fitting(self, stored: Mapping[str, Shape]) -> list[str]:
        """The layers, in network order, of which every tensor fits the `stored` one of the same name."""
        return [
            layer
            for layer, names in self.layers.items()
            if all(name in stored and self.fits(name, stored[name]) for name in names)
        ]

    def check(self, fitting: Sequence[str], origin: str) -> None:
        """Raise CheckpointError if no layer outside the head fits, or fewer than half of another model's layers."""
        old, new = self.old, self.new
        found, total = len(set(fitting) - self.head), len(set(self.layers) - self.head)
        some = f"only {found} of its {total} layers fit" if found else "no layer fits"
        if old.model != new.model and 2 * found < total:
            raise CheckpointError(
                f"{origin} cannot initialise a {new.model}: the weights are of a {old.model}, and {some}; choose weights of"
                f" a {new.model}, or train a {old.model}"
            )
        if not found:
            raise CheckpointError(
                f"{origin} cannot initialise this {new.model}: {some} by name and shape; choose other weights"
            )

    def fits(self, name: str, old: Shape) -> bool:
        """Whether a tensor of shape `old` can be converted to the one called `name`."""
        axes, new = self.axes[name], tuple(self.tensors[name].shape)
        if len(old) != len(new):
            return False
        for before, after, per, colour in zip(old, new, axes.keypoints, axes.colour, strict=True):
            if per:
                good = before == per * len(self.old.names) and after == per * len(self.new.names)
            elif colour:
                good = before == self.old.channels and after == self.new.channels
            else:
                good = before == after or before * self.new.width == after * self.old.width
            if not good:
                return False
        return True

    @torch.no_grad()
    def fill(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Write the tensors into the network. Raises CheckpointError, writing nothing, if a value is not finite."""
        converted = {name: self.convert(name, tensor.float()) for name, tensor in tensors.items()}
        if not all(bool(tensor.isfinite().all()) for tensor in converted.values()):
            raise CheckpointError(f"the weights in {path} are not all finite numbers; they are damaged, so train again")
        for name, tensor in converted.items():
            self.tensors[name].copy_(tensor)

    def convert(self, name: str, old: Tensor) -> Tensor:
        """The tensor called `name` from `old`; the part of keypoints that only the new model has stays as initialised."""
        axes, fresh = self.axes[name], self.tensors[name].cpu()
        for axis, per in enumerate(axes.keypoints):
            if not per and old.shape[axis] != fresh.shape[axis]:
                if axes.colour[axis]:
                    old = _recoloured(old, axis, fresh.shape[axis])
                else:
                    old = _resized(old, axis, fresh.shape[axis], inputs=axis == axes.inputs and old.ndim > 1)
        if not axes.head:
            return old
        result: Tensor = fresh.clone()
        source, place = (self._open_mesh(axes, fresh.shape, side) for side in (0, 1))
        result[place] = old[source]
        return result

    def _open_mesh(self, axes: Axes, shape: Shape, side: int) -> tuple[Tensor, ...]:
        """Broadcastable index tensors of the elements that belong to matched keypoints (`side` 0: old, 1: new)."""
        of_keypoint = self.pairs[:, side]
        lines = [
            (of_keypoint[:, None] * per + np.arange(per)).ravel() if per else np.arange(length)
            for per, length in zip(axes.keypoints, shape, strict=True)
        ]
        return tuple(torch.from_numpy(line) for line in np.ix_(*lines))


def axes_of(model: KeypointModel) -> dict[str, Axes]:
    """The meaning of the dimensions of each of the network's tensors, by the tensor's name in the model."""
    config = model.config
    keypoints, channels = len(config.names), config.channels
    shapes = _shapes(model, keypoints, channels)
    grown, coloured = _shapes(model, keypoints + 1, channels), _shapes(model, keypoints, 4 - channels)
    found = {}
    for name, shape in shapes.items():
        if name.endswith(_UNUSED):
            continue
        per = tuple(b - a for a, b in zip(shape, grown.get(name, shape), strict=True))
        colour = tuple(a != b for a, b in zip(shape, coloured.get(name, shape), strict=True))
        layer = model.get_submodule(name.rpartition(".")[0])
        transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
        found[name] = Axes(per, colour, 0 if transposed else 1)
    return found


def _shapes(model: KeypointModel, keypoints: int, channels: int) -> dict[str, Shape]:
    """Tensor shapes, by their names in the model, for these numbers of keypoints and colour channels, on the meta device."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        parts = nn.ModuleDict(
            {
                "stem": stem_of(model.config, channels),
                "network": build_network(model.config, model.plugin, keypoints, channels),
            }
        )
    return {name: tuple(tensor.shape) for name, tensor in parts.state_dict().items()}


def _recoloured(weight: Tensor, axis: int, size: int) -> Tensor:
    """A kernel for another number of colour channels with the same response to grey images.

    3 -> 1 channels is the sum over channels; 1 -> 3 is a third for each.
    """
    whole = weight.sum(axis, keepdim=True)
    return whole.expand(*(size if d == axis else n for d, n in enumerate(whole.shape))) / size


def _resized(weight: Tensor, axis: int, size: int, *, inputs: bool) -> Tensor:
    """A tensor with `size` channels along `axis`; channel i is the old one at floor(i * old / size).

    Wider: channels are duplicated and, along an input dimension, divided by the number of copies, which preserves the
    network's function (Chen, Goodfellow & Shlens, Net2Net, ICLR 2016); a little noise breaks the symmetry of the copies.
    Narrower: a uniform selection of channels (Xu et al., Initializing Models with Larger Ones, ICLR 2024), rescaled
    along an input dimension. The mapping respects concatenated features, because each part scales with the width.
    """
    old = weight.shape[axis]
    index = torch.arange(size) * old // size
    result: Tensor = weight.index_select(axis, index)
    if inputs:
        copies = torch.bincount(index, minlength=old)[index] if size > old else torch.full((size,), size / old)
        result = result / copies.view(-1, *[1] * (weight.ndim - axis - 1))
    if size > old and weight.ndim > 1:
        result = result + torch.randn_like(result) * (_NOISE * float(result.std()))
    return result
