"""Which frames of an AVI file are still where its index says: the format has no times that would tell after a loss.

RIFF chunks: a LIST ``movi`` of frames, each with its own header, then ``idx1`` with 16 bytes for each: name, flags, offset
from ``movi`` or from the file's beginning, and length (Microsoft, "AVI RIFF File Reference").
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_ENTRY = struct.Struct("<4sIII")
_HEAD = struct.Struct("<4sI")
_VIDEO = (b"dc", b"db")


def surviving(path: Path) -> list[int]:
    """The numbers of the frames that are whole, from 0; empty where the file has no index, and where none is missing."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _surviving(data)
    except (OSError, ValueError, struct.error):  # not there, empty, cut off
        return []


def _surviving(data: mmap.mmap) -> list[int]:
    movi, index, size = _places(data)
    entries = [_ENTRY.unpack_from(data, at) for at in range(index, index + size - 15, 16)]
    stream = next((name for name, *_ in entries if name[2:] in _VIDEO), None)
    frames = [(offset, length) for name, _, offset, length in entries if name == stream]
    if stream is None:
        return []
    for base in (movi, 0):  # writers differ in what offsets are counted from
        whole = [n for n, (offset, length) in enumerate(frames) if _stands(data, base + offset, stream, length)]
        if whole:
            return whole if len(whole) < len(frames) else []
    return []


def _stands(data: mmap.mmap, place: int, name: bytes, length: int) -> bool:
    return length > 0 and place + 8 + length <= len(data) and _HEAD.unpack_from(data, place) == (name, length)


def _places(data: mmap.mmap) -> tuple[int, int, int]:
    """Where ``movi`` and the index begin, and the index's length in bytes, 0 where there is none."""
    movi, place = 0, 12
    if data[:4] != b"RIFF" or data[8:12] != b"AVI ":
        return 0, 0, 0
    while place + 8 <= len(data):
        name, length = _HEAD.unpack_from(data, place)
        if name == b"LIST" and data[place + 8 : place + 12] == b"movi":
            movi = place + 8
        if name == b"idx1":
            return movi, place + 8, min(length, len(data) - place - 8)
        place += 8 + length + length % 2
    return movi, 0, 0
