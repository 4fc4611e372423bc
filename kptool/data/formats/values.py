"""Checked access to values in JSON and XML label files, which may hold anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kptool.base.errors import DataError
from kptool.base.geometry import Size

_MOST = 1 << 24
"""Largest plausible side of a picture."""


def numbers(where: str, what: str, stated: Any, count: int) -> tuple[float, ...]:
    """`count` finite numbers from a list; texts that are numbers are accepted. Raises DataError, beginning with `where`."""
    values = stated if isinstance(stated, list | tuple) else ()
    try:
        found = tuple(float(value) for value in values if not isinstance(value, bool))
    except (TypeError, ValueError, OverflowError):
        found = ()
    if len(found) != count or len(values) != count or not all(map(math.isfinite, found)):
        wanted = "1 finite number" if count == 1 else f"{count} finite numbers"
        raise DataError(f"{where}: {what} must be {wanted}, but is {str(stated)[:60]}; correct it, or remove it")
    return found


def objects(where: str, what: str, stated: Any) -> list[dict[str, Any]]:
    """A list of objects; None is an empty one. Raises DataError, beginning with `where`, for anything else."""
    rows = [] if stated is None else stated
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{where}: {what} must be a list of objects; export it again")
    return rows


def mapping(stated: Any) -> Mapping[str, Any]:
    """An object, or an empty one if `stated` is something else."""
    return stated if isinstance(stated, dict) else {}


def size(height: Any, width: Any) -> Size | None:
    """A picture's (H, W); None unless both are whole numbers in a plausible range."""
    try:
        sides = (float(height), float(width))
    except (TypeError, ValueError, OverflowError):
        return None
    whole = all(math.isfinite(side) and side == int(side) and 0 < side <= _MOST for side in sides)
    return (int(sides[0]), int(sides[1])) if whole else None
