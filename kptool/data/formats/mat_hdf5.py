"""Reads an array from a MATLAB file of version 7.3, which is HDF5.

The file is read in a subprocess, because a corrupt file can crash libhdf5.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from kptool.system import quarantine

_CODE = """
import json, pathlib, sys
from kptool.data.formats.mat_hdf5 import joints
try:
    answer = joints(pathlib.Path(sys.argv[1])).tolist()
except ValueError as error:
    answer = str(error)
json.dump(answer, sys.stdout)
"""
_START, _SEARCHED_BYTES, _MOST_VALUES = b"MATLAB 7.3 MAT-file", 1 << 22, 1 << 24
_FIX = "save it again in MATLAB with the option -v7"


def has(path: Path, name: bytes) -> bool:
    """Whether `path` is of version 7.3, and `name` occurs at its beginning."""
    try:
        with path.open("rb") as file:
            return file.read(len(_START)) == _START and name in file.read(_SEARCHED_BYTES)
    except OSError:
        return False


def read(path: Path) -> NDArray[np.float64]:
    """The first variable of three axes whose name begins with joints, axes as in MATLAB. Raises DataError if there is none."""
    return np.array(quarantine.answer_of(_CODE, path, _FIX), np.float64)


def joints(path: Path) -> NDArray[np.float64]:
    """As `read`, but in this process. Raises ValueError with the reason."""
    try:
        with h5py.File(path, "r") as file:
            own = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
            for name in own:
                data = file[name] if name.lower().startswith("joints") else None
                if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
                    continue
                if data.ndim == 3 and data.dtype.kind in "fiu" and data.size <= _MOST_VALUES:
                    return np.asarray(data[()], np.float64).T
    except (OSError, KeyError, RuntimeError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is not as expected ({str(error)[:80]})") from error
    raise ValueError("it has no array of joints with three axes")
