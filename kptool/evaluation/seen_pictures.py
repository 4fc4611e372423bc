"""Which pictures of labels a model was trained on, so that it is measured on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError
from kptool.data.truth import LabelledPictures
from kptool.system.files import sha256


def seen(source: LabelledPictures, data: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    """For each picture whether an instance in it was used for training, by the `data` of a model's card.

    None where the model was trained on other labels, or on a part of these, so that rows cannot be told apart.
    """
    rows, count = data.get("val_rows"), data.get("train_images")
    if not isinstance(rows, list) or not isinstance(count, int) or not source.files:
        return None
    known = [each.rows[~each.ignored] for each in source.pictures]
    if sum(map(len, known)) != count + len(rows) or data.get("source_sha256") != sha256(source.files):
        return None
    return np.array([bool((~np.isin(each, rows)).any()) for each in known], np.bool_)


def part(source: LabelledPictures, used: NDArray[np.bool_] | None, split: str, labels: str) -> LabelledPictures:
    """The pictures that were `used` ("train"), those that were not ("val"), or "all". Raises ConfigError where that is not
    known, or where there are none; `labels` names the source."""
    if split == "all":
        return source
    if used is None:
        raise ConfigError(
            f"the model was not trained on {labels}, as far as known, so --split {split} has no meaning; leave it out"
        )
    wanted = used if split == "train" else ~used
    if not wanted.any():
        raise ConfigError(f"{labels} has no {split} pictures to measure on; leave out --split")
    return replace(source, pictures=[each for each, yes in zip(source.pictures, wanted.tolist(), strict=True) if yes])
