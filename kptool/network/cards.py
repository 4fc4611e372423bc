"""Model cards, stored in weights files, and the lookup of weights by a model's name. Imports no torch, so that prediction
with ONNX Runtime need not load it.

`model.safetensors` and an exported `.onnx` carry the same JSON in their metadata, under the key ``kptool``.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from kptool.base.config import ModelConfig, model_from_dict, to_dict
from kptool.base.errors import CheckpointError, ConfigError, DataError
from kptool.data.notes import listed
from kptool.network.label_shift import LabelShift
from kptool.network.presence import Presence
from kptool.system.text import strict_json

log = logging.getLogger(__name__)

SCHEMA = 1
_MOST_CHARACTERS, _LONGEST_NAME = 1 << 25, 100
WEIGHTS, STATE, GRAPH = "model.safetensors", "last.ckpt", "model.onnx"
PRIOR = "prior"
"""The key, in `Card.data`, of the model of the training shapes, see `kptool.network.shape_prior`."""
UPRIGHT = "upright"
"""The key, in `Card.data`, of the shape onto which objects were turned for training, see `kptool.data.upright`."""
CLEARLY = 0.8
"""A run is clearly better than its mean shape where its RMSE is below this share of the mean shape's; good runs reach a
third."""


@dataclass(frozen=True)
class Card:
    """A model's configuration, training settings, data (with its split) and metrics, and the shift of its labels from the
    features that they name, which `kptool.network.label_shift.LabelShift.of` reads."""

    config: ModelConfig
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    plugins: dict[str, Any] = field(default_factory=dict)
    """where the plugins that are not kptool's own come from; see `kptool.network.provenance`"""

    @property
    def shift(self) -> LabelShift:
        """How far the training data's labels lie from the features."""
        return LabelShift.of(self.labels, len(self.config.names))

    @property
    def presence(self) -> Presence | None:
        """The map from peak heights to the probability that a keypoint is there; None where scores are not calibrated."""
        return Presence.of(self.metrics, len(self.config.names))

    @property
    def category(self) -> str | None:
        """What an instance is, such as "bee"; None where the training data do not name it."""
        name = self.data.get("category")
        return name if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable() else None

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The index pairs of the skeleton's lines; empty where the training data state none."""
        stored = self.data.get("edges")
        try:
            edges = tuple((int(a), int(b)) for a, b in stored) if isinstance(stored, list) else ()
        except (TypeError, ValueError):
            return ()
        return edges if all(0 <= each < len(self.config.names) for edge in edges for each in edge) else ()

    @property
    def unlearnt(self) -> tuple[str, ...]:
        """The keypoints without a label in any training image: the mean shape has null for them, and (0, 0) in files of
        older releases."""
        shape = self.data.get("mean_shape")
        if not isinstance(shape, list) or len(shape) != len(self.config.names):
            return ()
        return tuple(n for n, point in zip(self.config.names, shape, strict=True) if point in ([None] * 2, [0, 0]))

    @property
    def caveats(self) -> tuple[str, ...]:
        """What this model's predictions lack and why, one sentence each."""
        found = []
        if self.unlearnt:
            some = listed(self.unlearnt)
            found.append(f"no training image had a label of {some}, so the model cannot predict it")
        missing = self.metrics.get("radius90_missing")
        return (*found, *([missing] if isinstance(missing, str) else []))

    def to_json(self) -> str:
        """The JSON text that files store."""
        body = {
            "schema": SCHEMA,
            "config": to_dict(self.config),
            "training": self.training,
            "data": self.data,
            "metrics": self.metrics,
            "labels": self.labels,
            **({"plugins": self.plugins} if self.plugins else {}),
        }
        return json.dumps(body)


def parse_card(path: Path, metadata: Mapping[str, str]) -> Card:
    """The card in the metadata of the file at `path`. Raises CheckpointError where it is missing, damaged or of another
    schema."""
    try:
        if len(metadata["kptool"]) > _MOST_CHARACTERS:
            raise CheckpointError(f"{path} is not a readable weights file of kptool's (its metadata is too large)")
        body = strict_json(metadata["kptool"])
        if body["schema"] != SCHEMA:
            raise CheckpointError(
                f"{path} has weights schema {body['schema']} and this kptool reads {SCHEMA}; train again"
            )
        parts = [
            *(body[name] for name in ("training", "data", "metrics")),
            *(body.get(name, {}) for name in ("labels", "plugins")),
        ]
        if not all(isinstance(part, dict) for part in parts):
            raise CheckpointError(f"{path} is not a readable weights file of kptool's (its metadata is not a table)")
        return Card(model_from_dict(body["config"]), *parts)
    except KeyError as error:
        raise CheckpointError(
            f"{path} is not a weights file of kptool's: {error} is missing from its metadata"
        ) from error
    except (ValueError, TypeError, AttributeError, OverflowError, ConfigError, DataError) as error:
        raise CheckpointError(f"{path} is not a readable weights file of kptool's ({error})") from error


def read_card(path: Path) -> Card:
    """The card of a safetensors file, with the label offset that is stored as a tensor.

    Raises CheckpointError where the file or its card is missing, damaged or of another schema.
    """
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}; train some with `kptool train`")
    try:
        with safe_open(path, framework="np") as file:
            card = parse_card(path, file.metadata() or {})
            offset = [len(card.config.names), 2]
            if "offset" in file.keys() and file.get_slice("offset").get_shape() == offset:  # noqa: SIM118 - not a dict
                return replace(card, labels={**card.labels, "offset": file.get_tensor("offset").astype(float).tolist()})
            return card
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a readable weights file of kptool's ({error})") from error


def warn_unflipped(config: ModelConfig, flip: bool) -> None:
    """Log a warning where flip averaging was requested for a model without flip pairs."""
    if flip and not config.mirror:
        log.warning(
            "--tta has no effect on this %s: it has no flip pairs, so it cannot read a mirrored image", config.model
        )


def shipped(name: str) -> Path | None:
    """The weights file of this name that ships with kptool, if there is one."""
    path = Path(__file__).parents[1] / "weights" / f"{name}.safetensors"
    return path if path.is_file() else None


def resolve(model: str, runs: Path = Path("runs"), *, measuring: bool = False, warn: bool = True) -> tuple[Path, str]:
    """The weights file that `model` names, and its origin in words.

    `model` is a weights file, a run folder, or a name: a finished run in `runs`, otherwise weights that ship with
    kptool. A run that is not known to be clearly better than its own mean shape (see `doubt`) is passed over for shipped
    weights of that name, unless the model is to be measured (`measuring`). Either way a warning is logged, unless `warn`
    is False. Raises CheckpointError where there is no such model.
    """
    level = logging.WARNING if warn else logging.DEBUG
    path, name = Path(model), Path(model).name == model
    if path.is_file():
        return path, str(path)
    places = (path, runs / model) if name else (path,)
    run = next((place for place in places if (place / WEIGHTS).is_file()), None)
    ships = shipped(model) if name else None
    if run is not None:
        why = doubt(read_card(run / WEIGHTS))
        if why is None or measuring or not ships:
            if why is not None:
                log.log(level, "do not rely on the run in %s: %s", run, why)
            return run / WEIGHTS, f"the run in {run}"
        place = run if len(run.parts) > 1 else f"./{run}"
        text = "the run in %s is not used by name alone: %s; to use it nevertheless, give its folder, %s"
        log.log(level, text, run, why, place)
    if ships is not None:
        return ships, f"the {model} weights that ship with kptool"
    raise CheckpointError(
        f"{model!r} is neither a weights file, nor a run folder, nor a finished run in {runs}/;"
        f" train one with `kptool train {model}`"
        if name
        else f"there is no weights file or finished run at {model}"
    )


def doubt(card: Card) -> str | None:
    """Why a run is not known to be clearly better than its own mean shape; None where it is.

    It is where its RMSE on validation images is below `CLEARLY` times that of the training images' mean shape on them. A
    run without validation images, or without one of the two figures, cannot show it.
    """
    if card.data.get("val_rows") == []:
        return "it was trained without a validation split, so it is unknown whether it is better than its mean shape"
    own, mean = (_figure(card, key) for key in ("rmse", "mean_shape_rmse"))
    if own is None or mean is None:
        return "its card does not hold its mean shape's RMSE beside its own, as it was written by an older kptool"
    if own < CLEARLY * mean:
        return None
    return (
        f"its RMSE of {own:.2f} px on the validation images is not below {CLEARLY:g} times the {mean:.2f} px of its"
        " mean shape"
    )


def _figure(card: Card, key: str) -> float | None:
    value = card.metrics.get(key)
    return float(value) if isinstance(value, float | int) and math.isfinite(value) else None
