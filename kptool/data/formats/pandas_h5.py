"""Reads tables that pandas wrote to HDF5 in its "fixed" format, without PyTables and without unpickling.

The file is read in a subprocess, because a corrupt file can crash libhdf5.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kptool.system import quarantine

_CODE = """
import json, pathlib, sys
from kptool.data.formats.pandas_h5 import rows
try:
    answer = rows(pathlib.Path(sys.argv[1]))
except ValueError as error:
    answer = str(error)
json.dump(answer, sys.stdout)
"""
_MAGIC, _PANDAS, _SEARCHED_BYTES = b"\x89HDF\r\n\x1a\n", b"pandas_type", 1 << 22
_MOST_CELLS, _MOST_LEVELS, _MOST_CHARACTERS = 1 << 24, 8, 1 << 10
_FIX = "use the csv that DeepLabCut writes beside it"


def matches(path: Path) -> bool:
    """Whether `path` is an HDF5 file that pandas wrote."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC and _PANDAS in file.read(_SEARCHED_BYTES)
    except OSError:
        return False


def read(path: Path) -> list[list[str]]:
    """The table as text: a header row per column level, then the rows, each beginning with its name; NaN is empty.

    Raises DataError unless the file holds exactly one numeric table in pandas' fixed format.
    """
    return [[str(cell) for cell in row] for row in quarantine.answer_of(_CODE, path, _FIX)]


def rows(path: Path) -> list[list[str]]:
    """As `read`, but in this process. Raises ValueError with the reason."""
    try:
        with h5py.File(path, "r") as file:
            group = _frame(file)
            heads, index = _axis(group, "axis0"), _axis(group, "axis1")
            values = _plain(group, "block0_values")
            columns = _axis(group, "block0_items")
            if values.ndim != 2 or values.shape != (len(index), len(columns)) or values.dtype.kind not in "fiu":
                raise ValueError(f"its values are {values.dtype} {values.shape}")
            order = [columns.index(column) for column in heads]
            names = [_text(_attribute(group[f"axis0_level{k}"], "name")) for k in range(len(heads[0]))]
            before = [""] * (len(index[0]) - 1) if index else []
            top = [[name, *before, *(column[k] for column in heads)] for k, name in enumerate(names)]
            table = np.asarray(values[()], np.float64)[:, order].tolist()
            return [*top, *([*name, *map(_number, row)] for name, row in zip(index, table, strict=True))]
    except (OSError, KeyError, RuntimeError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is not a table of pandas' as expected ({str(error)[:80]})") from error


def _frame(file: h5py.File) -> h5py.Group:
    """The only table. Raises ValueError for pandas' "table" format, whose column names are pickled."""
    groups = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    found = [file[name] for name in groups[:_MOST_LEVELS] if isinstance(file[name], h5py.Group)]
    kinds = {_text(_attribute(group, "pandas_type")): group for group in found if "pandas_type" in group.attrs}
    if "frame_table" in kinds:
        raise ValueError("its columns' names are pickled (pandas' table format), which kptool never opens")
    if len(kinds) != 1 or "frame" not in kinds or int(_attribute(kinds["frame"], "nblocks")) != 1:
        raise ValueError("expected one table of numbers")
    return kinds["frame"]


def _axis(group: h5py.Group, name: str) -> list[tuple[str, ...]]:
    """The names of the rows or columns, a text per level."""
    if name in group:
        return [(_text(value),) for value in _plain(group, name)[()].tolist()]
    levels = sum(f"{name}_level{k}" in group for k in range(_MOST_LEVELS))
    parts = []
    for k in range(levels):
        texts = [_text(value) for value in _plain(group, f"{name}_level{k}")[()].tolist()]
        labels: NDArray[np.int64] = np.asarray(_plain(group, f"{name}_label{k}")[()], np.int64)
        parts.append([texts[i] if i >= 0 else "" for i in labels.tolist()])
    return list(zip(*parts, strict=True))


def _plain(group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset of numbers or short texts. Raises ValueError if it is stored elsewhere or too large."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is not in it")
    data = group[name]
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual or data.dtype.kind not in "fiuS":
        raise ValueError(f"{name} is not an array as expected")
    if data.ndim > 2 or math.prod(data.shape) > _MOST_CELLS or data.dtype.itemsize > _MOST_CHARACTERS:
        raise ValueError(f"{name} is larger than kptool reads")
    return data


def _attribute(thing: Any, name: str) -> Any:
    value = thing.attrs[name]
    return value.item() if isinstance(value, np.generic) else value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
