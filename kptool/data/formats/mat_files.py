"""Reads variables of MATLAB files before version 7.3 with SciPy, which is an extra."""

from __future__ import annotations

import struct as packed
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.data.formats import mat_header

_UNREADABLE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError, MemoryError, EOFError,
    NotImplementedError, packed.error, zlib.error,
)  # fmt: skip
"""What SciPy raises for damaged files."""


def array(path: Path, name: str) -> NDArray[np.float64]:
    """A numeric variable, with its axes as in MATLAB. Raises DataError if it cannot be read."""
    try:
        return np.asarray(_load(path, name), np.float64)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def struct(path: Path, name: str) -> Any:
    """A struct as an object with its fields as attributes. Raises DataError if it cannot be read."""
    try:
        return _load(path, name, struct_as_record=False, squeeze_me=True)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(
        f"{path} cannot be read as a file of MATLAB's ({str(error)[:80]}); it may be damaged, save it again"
    )


def _load(path: Path, name: str, **options: bool) -> Any:
    """A variable of a file before version 7.3."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(f"{path} needs SciPy; install it with pip install 'keypoint-toolkit[formats]'") from error
    mat_header.check_size(path)
    try:
        return loadmat(path, variable_names=[name], **options)[name]
    except Exception as error:
        if type(error).__module__.startswith("scipy."):  # its own errors derive from Exception alone
            raise _damaged(path, error) from error
        raise
