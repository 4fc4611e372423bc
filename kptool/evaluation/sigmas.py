"""The sigmas of OKS: how far from a keypoint's place a label or a prediction may be, as a share of the instance's size.

An error d of a keypoint with sigma s in an instance of area a contributes exp(-d² / (2 (2 s)² a)) to the OKS
(https://cocodataset.org/#keypoints-eval): COCO's s is the standard deviation of redundant labels, relative to the square
root of the area.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.system.text import csv_rows, read_json, read_text

COCO: Mapping[str, float] = {
    "nose": 0.026,
    **{f"{side}_eye": 0.025 for side in ("left", "right")},
    **{f"{side}_ear": 0.035 for side in ("left", "right")},
    **{f"{side}_shoulder": 0.079 for side in ("left", "right")},
    **{f"{side}_elbow": 0.072 for side in ("left", "right")},
    **{f"{side}_wrist": 0.062 for side in ("left", "right")},
    **{f"{side}_hip": 0.107 for side in ("left", "right")},
    **{f"{side}_knee": 0.087 for side in ("left", "right")},
    **{f"{side}_ankle": 0.089 for side in ("left", "right")},
}
"""The sigmas of COCO's 17 keypoints of a person, in COCO's order."""
DEFAULT = 0.067
"""The mean of COCO's 17, for keypoints of anything else."""
ESTIMATE = "estimate"
_MOST = 10.0
_MEDIAN = math.sqrt(math.log(2))
"""The median of a length whose components are normal and equal, as a share of its root mean square."""
_LEAST_LABELS = 9
_MOST_BYTES = 1 << 22


@dataclass(frozen=True)
class Sigmas:
    """values: float64 (K,), shares of the square root of the area. origin: where they come from, in words."""

    values: NDArray[np.float64]
    origin: str


def choose(names: Sequence[str], stated: str | float | None) -> Sigmas:
    """The sigmas of the keypoints `names`: `stated`, a number, a fraction such as "1/11", or a file; else COCO's where all
    names are COCO's, else `DEFAULT`.

    A file is JSON, a list in the order of the keypoints or an object by their names (or one that has such an object as
    "sigmas", as an evaluation prints), or a csv with a name and a number in a row. Raises ConfigError for other texts and
    numbers out of range, DataError for a file that does not fit.
    """
    if stated is None:
        if set(names) <= set(COCO):
            return Sigmas(np.array([COCO[name] for name in names]), "COCO's")
        return Sigmas(np.full(len(names), DEFAULT), f"{DEFAULT:g} for each keypoint, the mean of COCO's 17")
    number = _number(stated)
    if number is not None:
        if not 0 < number <= _MOST:
            raise ConfigError(f"--sigmas must be above 0 and at most {_MOST:g}; got {stated}")
        return Sigmas(np.full(len(names), number), f"{stated} for each keypoint, as given")
    path = Path(str(stated)).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"--sigmas is a number, a fraction such as 1/11, a file of numbers by keypoint, or {ESTIMATE}; got {stated!r}"
        )
    return Sigmas(_read(path, names), f"from {path}")


def _number(stated: str | float) -> float | None:
    """A number, or a fraction of two; None for any other text."""
    over, bar, under = str(stated).partition("/")
    try:
        value = float(over) / float(under) if bar else float(over)
    except (ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def _read(path: Path, names: Sequence[str]) -> NDArray[np.float64]:
    """The sigmas in a file. Raises DataError where it lacks one, or one is no number in range."""
    found = _json(path, names) if path.suffix.lower() == ".json" else _csv(path)
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} has no sigma of {missing[0]!r}; give a number for each of {', '.join(names[:20])}")
    values = {name: found[name] for name in names}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
            raise DataError(f"{path}: the sigma of {name!r} must be above 0 and at most {_MOST:g}; got {value!r:.40}")
    return np.array(list(values.values()), np.float64)


def _json(path: Path, names: Sequence[str]) -> Mapping[str, Any]:
    document = read_json(path)
    if isinstance(document, dict) and isinstance(document.get("sigmas"), dict | list):
        document = document["sigmas"]
    if isinstance(document, list):
        if len(document) != len(names):
            raise DataError(f"{path} holds {len(document)} sigmas for {len(names)} keypoints; give one for each")
        return dict(zip(names, document, strict=True))
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected an object of sigmas by keypoint name, or a list of them")
    return document


def _csv(path: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for line, row in enumerate(csv_rows(path, read_text(path, _MOST_BYTES).splitlines()), start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells:
            continue
        number = _number(cells[-1]) if len(cells) == 2 else None
        if number is None and line > 1:
            raise DataError(f"{path}, line {line}: expected a keypoint's name and its sigma with a comma between")
        if number is not None:
            found[cells[0]] = number
    return found


def estimated(errors: NDArray[np.float64], names: Sequence[str]) -> Sigmas:
    """The spread of errors (N, K), distances as shares of the square root of the area, NaN where there is none.

    It is the root mean square that a normal distribution with the errors' median would have, so that mistakes do not make
    the rule more lenient. Raises DataError where a keypoint has fewer than 9 errors.
    """
    counts = np.isfinite(errors).sum(0)
    if counts.min(initial=_LEAST_LABELS) < _LEAST_LABELS:
        few = names[int(counts.argmin())]
        raise DataError(
            f"estimating the sigma of {few!r} takes {_LEAST_LABELS} found instances with its label, and there are"
            f" {counts.min()}; give --sigmas a number or a file"
        )
    values = np.nanmedian(errors, axis=0) / _MEDIAN if len(names) else np.empty(0)
    return Sigmas(np.maximum(values, 1e-6), "estimated from the spread of this model's errors on these pictures")
