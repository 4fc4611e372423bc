"""Reads the names and shapes of the variables in a MATLAB file, without any other library, to tell what it holds.

Version 5 (MATLAB 5 to 7) is described in MathWorks' "MAT-File Format"; version 7.3 is HDF5, see `mat_hdf5`.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kptool.base.errors import DataError

_MAGIC = b"MATLAB 5.0"
_HEADER, _MATRIX, _COMPRESSED, _STRUCT = 128, 14, 15, 2
_NUMERIC = range(6, 16)
_START, _PIECE, _MOST_BYTES = 1024, 1 << 20, 1 << 30
"""Bytes that hold a variable's name and shape, bytes inflated at a time, and the most that a file may inflate to."""


@dataclass(frozen=True)
class Variable:
    """A variable's name and shape; whether it is a struct or an array of numbers, else neither."""

    name: str
    shape: tuple[int, ...]
    is_struct: bool
    is_numeric: bool


def variables(path: Path) -> list[Variable]:
    """The variables of a MATLAB file of version 5; none if it is not valid."""
    try:
        with path.open("rb") as file:
            return list(_variables(file)) if file.read(len(_MAGIC)) == _MAGIC else []
    except (OSError, struct.error, zlib.error, ValueError, OverflowError):
        return []


def check_size(path: Path) -> None:
    """Raise DataError if the compressed variables of a file of version 5 are larger than 1 GiB in all."""
    total = 0
    with path.open("rb") as file:
        for kind, size, _ in _elements(file):
            if kind != _COMPRESSED:
                continue
            inflate, left = zlib.decompressobj(), size
            while left > 0 and not inflate.eof:
                piece = file.read(min(left, 1 << 16))
                left -= len(piece)
                if not piece:
                    break
                while piece:
                    total += len(inflate.decompress(piece, _PIECE))
                    piece = inflate.unconsumed_tail
                    if total > _MOST_BYTES:
                        raise DataError(f"{path} is larger than 1 GiB when inflated; kptool reads smaller ones")


def _elements(file: BinaryIO) -> Iterator[tuple[int, int, str]]:
    """Type, size and byte order ("<" or ">") of each element; the file is at its content then."""
    header = file.read(_HEADER)
    order = "<" if header[126:128] == b"IM" else ">"
    place = _HEADER
    while len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        yield kind, size, order
        place += 8 + size
        file.seek(place)


def _variables(file: BinaryIO) -> Iterator[Variable]:
    """The variables of a file."""
    file.seek(0)
    for kind, size, order in _elements(file):
        start = file.read(min(size, _START))
        if kind == _COMPRESSED:
            start = zlib.decompressobj().decompress(start, _START)[8:]
        elif kind != _MATRIX:
            continue
        yield _variable(start, order)


def _variable(data: bytes, order: str) -> Variable:
    """The variable whose content `data` begins: elements with its class, shape and name."""
    flags, rest = _element(data, order)
    shape, rest = _element(rest, order)
    name, _ = _element(rest, order)
    kind = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    sides = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    return Variable(name.decode("ascii", "replace"), sides, kind == _STRUCT, kind in _NUMERIC)


def _element(data: bytes, order: str) -> tuple[bytes, bytes]:
    """The content of the first element of `data`, and what follows it; small ones have their content in the tag."""
    first, size = struct.unpack_from(f"{order}II", data)
    if first >> 16:
        return data[4 : 4 + (first >> 16)], data[8:]
    return data[8 : 8 + size], data[8 + math.ceil(size / 8) * 8 :]
