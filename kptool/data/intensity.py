"""Converts samples of any type to 8 bits, by a rule chosen from the image's sample type and range.

Integers are taken to have the fewest of 8, 10, 12, 14 and 16 bits that hold the highest value, and keep their upper 8 bits.
Floats are taken to range over 0..1, -1..1, 0..255, or 10 to 16 bits. Other ranges are stretched from the lowest value to
the highest. Pixels that are not finite become black.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.system.printable import printable

_BITS = (8, 10, 12, 14, 16)
_OVER = 0.1
"""Tolerated overshoot of floats beyond their range, as resampling causes it, as a share of the range."""
_LEAST_HIGHEST = 16
"""Floats up to this maximum are not taken for 0..255: the image would be almost black."""
_LEAST_SPAN, _LEAST_DEVIATION = 16, 1.5
"""Grey levels; an image below either is flat."""
_PART, _SOME, _ROUNDING = 1 << 20, 1 << 14, 0.01
"""Samples per step of the exact computation, and the samples that show that a usual image is not flat."""

NOT_FINITE = "pixels that are no finite numbers, which become black"
FLAT = "constant or nearly so, with little to see; check the picture and its range"


@dataclass(frozen=True)
class Rule:
    """A linear map of `low`..`high` to 0..255, rounded to the nearest integer, or truncated if `cut`.

    why: the rule in words, a remark for `remark_notes`; empty for 8 bits.
    """

    low: float
    high: float
    why: str = ""
    cut: bool = False

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Numbers of any type as uint8 of the same shape."""
        span = self.high - self.low
        if not span > 0:
            return np.zeros(values.shape, np.uint8)
        floats = values.astype(np.float64) / span - self.low / span  # divided first, as values - low may overflow
        floats *= 256 if self.cut else 255
        np.nan_to_num(floats, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return (floats if self.cut else np.rint(floats)).clip(0, 255).astype(np.uint8)


IDENTITY = Rule(0, 255)


def choose_rule(values: Iterable[NDArray[Any]]) -> tuple[Rule, tuple[str, ...]]:
    """The rule for an image given in one or several parts, and remarks on it (see `remark_notes`)."""
    lowest, highest, whole, finite = np.inf, -np.inf, True, True
    for part in values:
        whole = whole and part.dtype.kind in "bui"
        good = part if part.dtype.kind in "bui" else part[np.isfinite(part)]
        finite = finite and good.size == part.size
        if good.size:
            lowest, highest = min(lowest, float(good.min())), max(highest, float(good.max()))
    if lowest > highest:  # no finite value at all
        return Rule(0, 0), (NOT_FINITE,)
    chosen = (_integer_rule if whole else _float_rule)(lowest, highest)
    return chosen, (chosen.why,) if finite else (chosen.why, NOT_FINITE)


def _integer_rule(lowest: float, highest: float) -> Rule:
    bits = next((b for b in _BITS if lowest >= 0 and highest < 2**b), None)
    if bits is None:
        return _stretched(lowest, highest)
    if bits == 8:
        return Rule(0, 255, "whole numbers of more than 8 bits, none above 255, used as they are")
    return Rule(0, 2**bits, f"whole numbers of up to {bits} bits, of which the upper 8 are used", cut=True)


def _float_rule(lowest: float, highest: float) -> Rule:
    if highest <= 1 + _OVER and lowest >= -_OVER:
        return Rule(0, 1, "numbers from 0 to 1, which are multiplied by 255")
    if highest <= 1 + _OVER and lowest >= -1 - _OVER:
        return Rule(-1, 1, "numbers from -1 to 1, which are brought to 0 to 255")
    for bits in _BITS:
        most = 2**bits - 1
        if lowest >= -_OVER * most and _LEAST_HIGHEST < highest <= most * (1 + _OVER):
            if bits == 8:
                return Rule(0, 255, "floating-point numbers up to 255, which are rounded")
            return Rule(
                0, 2**bits, f"floating-point numbers up to {most}, which are divided by {2 ** (bits - 8)}", cut=True
            )
    return _stretched(lowest, highest)


def _stretched(lowest: float, highest: float) -> Rule:
    why = "numbers of no usual range, of which the lowest becomes 0 and the highest 255"
    return Rule(lowest, highest, why)


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether an image of any shape is nearly constant: a range below 16 grey levels, or a standard deviation below 1.5.

    The deviation catches constant images with a few outliers.
    """
    return bool(are_flat(pixels[None])[0])


def are_flat(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each of several images (N, ...) is nearly constant, as in `is_flat`: (N,)."""
    lines = images.reshape(len(images), -1)
    found = lines.max(1).astype(int) - lines.min(1) < _LEAST_SPAN
    some = lines[:, :: 1 + lines.shape[1] // _SOME].astype(np.float32)
    some -= some.mean(1, keepdims=True)
    surely_not = np.einsum("nx,nx->n", some, some) > (_LEAST_DEVIATION + _ROUNDING) ** 2 * some.shape[1]
    for i in np.flatnonzero(~found & ~surely_not):
        counts, levels = np.zeros(256), np.arange(256)
        for start in range(0, lines.shape[1], _PART):
            counts += np.bincount(lines[i, start : start + _PART], minlength=256)
        mean = counts @ levels / lines.shape[1]
        found[i] = float(np.sqrt(counts @ (levels - mean) ** 2 / lines.shape[1])) < _LEAST_DEVIATION
    return np.asarray(found)


def remark_notes(remarks: Iterable[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """A note for each distinct remark, with the first image it is about and the number of others.

    remarks: images' names with their remarks; an image that comes up several times counts once.
    """
    names: dict[str, dict[str, None]] = {}
    for name, several in remarks:
        for remark in several:
            names.setdefault(remark, {})[name] = None
    which = {remark: printable(next(iter(those))) for remark, those in names.items()}
    more = {remark: f" and {len(those) - 1} more" if len(those) > 1 else "" for remark, those in names.items()}
    return tuple(f"{which[remark]}{more[remark]}: {remark}" for remark in names)
