"""How samples of other kinds than 8 bits become 0..255, by a rule that a picture's own kind and range decide.

Whole numbers are taken for the least of 8, 10, 12, 14 and 16 bits that holds the highest one, and lose what is below
their upper 8 bits. Numbers with a fraction are taken for 0..1, for -1..1, for 0..255, or for 10 to 16 bits as well. What
fits none of these is stretched from its lowest value to its highest. Pixels that are no finite numbers become black.
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
"""How far resampling may have carried fractions beyond their range, as a share of it."""
_LEAST_HIGHEST = 16
"""Fractions below are not 0..255: they would be all but black."""
_LEAST_SPAN, _LEAST_DEVIATION = 16, 1.5
_PART, _SOME = 1 << 20, 1 << 14
"""Samples that are looked at in one go, and so many that are enough to see that a usual picture is not constant."""

NOT_FINITE = "pixels that are no finite numbers, which become black"
FLAT = "constant or nearly so, with little to see; check the picture and its range"


@dataclass(frozen=True)
class Rule:
    """Values from `low` to `high` become 0 to 255: rounded, or where `cut`, without what is below a whole number.

    `why` says so in words, as `sentences` wants it; empty for 8 bits.
    """

    low: float
    high: float
    why: str = ""
    cut: bool = False

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """`values` of any numbers, as uint8 of the same shape."""
        span = self.high - self.low
        if not span > 0:
            return np.zeros(values.shape, np.uint8)
        floats = values.astype(np.float64) / span - self.low / span  # divided first: a span may be beyond float's range
        floats *= 256 if self.cut else 255
        np.nan_to_num(floats, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return (floats if self.cut else np.rint(floats)).clip(0, 255).astype(np.uint8)


AS_IT_IS = Rule(0, 255)


def rule(values: Iterable[NDArray[Any]]) -> tuple[Rule, tuple[str, ...]]:
    """The rule for a picture whose values come in one part or several, and what there is to say of it, see `sentences`."""
    lowest, highest, whole, finite = np.inf, -np.inf, True, True
    for part in values:
        whole = whole and part.dtype.kind in "bui"
        good = part if part.dtype.kind in "bui" else part[np.isfinite(part)]
        finite = finite and good.size == part.size
        if good.size:
            lowest, highest = min(lowest, float(good.min())), max(highest, float(good.max()))
    if lowest > highest:  # not one finite number
        return Rule(0, 0), (NOT_FINITE,)
    chosen = (_of_whole if whole else _of_fractions)(lowest, highest)
    return chosen, (chosen.why,) if finite else (chosen.why, NOT_FINITE)


def _of_whole(lowest: float, highest: float) -> Rule:
    bits = next((b for b in _BITS if lowest >= 0 and highest < 2**b), None)
    if bits is None:
        return _stretched(lowest, highest)
    if bits == 8:
        return Rule(0, 255, "whole numbers of more than 8 bits, none above 255, used as they are")
    return Rule(0, 2**bits, f"whole numbers of up to {bits} bits, of which the upper 8 are used", cut=True)


def _of_fractions(lowest: float, highest: float) -> Rule:
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


def flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture, of any shape, is constant or nearly so: a span below 16, or a standard deviation below 1.5.

    The latter is of a picture with a single odd pixel.
    """
    if int(pixels.max()) - int(pixels.min()) < _LEAST_SPAN:
        return True
    line = pixels.reshape(-1)
    if float(line[:: 1 + line.size // _SOME].std(dtype=np.float64)) >= _LEAST_DEVIATION:
        return False
    counts, levels = np.zeros(256), np.arange(256)
    for start in range(0, line.size, _PART):
        counts += np.bincount(line[start : start + _PART], minlength=256)
    mean = counts @ levels / line.size
    return float(np.sqrt(counts @ (levels - mean) ** 2 / line.size)) < _LEAST_DEVIATION


def sentences(remarks: Iterable[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """What there is to say of pictures, a sentence for each kind of remark: which is the first, and how many more.

    `remarks` are pictures' names with what `rule` and `flat` gave; a name counts once.
    """
    names: dict[str, dict[str, None]] = {}
    for name, several in remarks:
        for remark in several:
            names.setdefault(remark, {})[name] = None
    which = {remark: printable(next(iter(those))) for remark, those in names.items()}
    more = {remark: f" and {len(those) - 1} more" if len(those) > 1 else "" for remark, those in names.items()}
    return tuple(f"{which[remark]}{more[remark]}: {remark}" for remark in names)
