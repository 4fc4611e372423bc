"""Starting a training from other weights (--init): notes for the user, the entry in the card, and resuming such a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.config import require
from kptool.base.errors import CheckpointError
from kptool.network import cards
from kptool.training.run_folder import RunFolder
from kptool.training.trainer import Trainer

log = logging.getLogger(__name__)


def initialise(trainer: Trainer, weights: str, folder: RunFolder) -> None:
    """Initialise the layers that fit from `weights`; log what was taken, and add it to the data of the run's card.

    Raises CheckpointError as `kptool.training.init.take` does.
    """
    taken = trainer.start_from(weights)
    data = folder.settings["data"]
    data["init"] = taken.describe()
    if trainer.workers.rank == 0:
        folder.log(f"# {taken.sentence()}")
        known = seen(taken.card, data["source_sha256"], data["val_rows"])
        if known:
            log.warning(
                "%d of the %d validation images are among the training images of %s, so the validation RMSE is too low",
                known,
                len(data["val_rows"]),
                taken.origin,
            )


def check_freeze(trainer: Trainer) -> None:
    """Raise ConfigError if layers are to be frozen and none were taken from other weights."""
    require(
        bool(trainer.taken) or not trainer.config.freeze,
        f"freeze={trainer.config.freeze} freezes layers that were taken from other weights; add --init, or omit it",
    )


def seen(card: cards.Card, source_sha256: str, rows: Sequence[int]) -> int:
    """How many `rows` of a source are known to be among the training images of weights with this card."""
    held_out = card.data.get("val_rows")
    if card.data.get("source_sha256") != source_sha256 or not isinstance(held_out, list):
        return 0
    return int((~np.isin(list(rows), held_out)).sum())


def remembered(state: Mapping[str, Any], out: Path, weights: str | None) -> dict[str, Any]:
    """The entry `init` of the card's data in a training state, if there is one; the weights are not read again.

    Raises CheckpointError if `weights` are given and the training did not start from weights of that name.
    """
    started = state["data"].get("init")
    name = str(started.get("name")) if isinstance(started, dict) else None
    if weights is not None and name != Path(weights).name:
        was = "from random weights" if name is None else f"from {name}"
        raise CheckpointError(
            f"{out} started {was}, not from {weights}; resume without --init, or choose another --out"
        )
    return {} if name is None else {"init": started}
