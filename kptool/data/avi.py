"""Finds the intact frames of a damaged AVI file by its index, because AVI frames carry no timestamps.

Layout (Microsoft, "AVI RIFF File Reference"): RIFF chunks, among them a LIST ``movi`` of frames, each with a header of
its own, then the index ``idx1`` with 16 bytes per frame: chunk name, flags, offset, length. The offset counts from
``movi`` or from the beginning of the file, depending on the writer.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_ENTRY = struct.Struct("<4sIII")
_HEAD = struct.Struct("<4sI")
_VIDEO = (b"dc", b"db")


def intact_frames(path: Path) -> list[int]:
    """The numbers, from 0, of the frames that are where the index says; empty if no frame is missing, or no index found."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _intact_frames(data)
    except (OSError, ValueError, struct.error):  # missing, empty or truncated file
        return []


def _intact_frames(data: mmap.mmap) -> list[int]:
    movi, index, size = _chunks(data)
    entries = [_ENTRY.unpack_from(data, at) for at in range(index, index + size - 15, 16)]
    stream = next((name for name, *_ in entries if name[2:] in _VIDEO), None)
    frames = [(offset, length) for name, _, offset, length in entries if name == stream]
    if stream is None:
        return []
    for base in (movi, 0):
        whole = [n for n, (offset, length) in enumerate(frames) if _is_intact(data, base + offset, stream, length)]
        if whole:
            return whole if len(whole) < len(frames) else []
    return []


def _is_intact(data: mmap.mmap, offset: int, name: bytes, length: int) -> bool:
    return length > 0 and offset + 8 + length <= len(data) and _HEAD.unpack_from(data, offset) == (name, length)


def _chunks(data: mmap.mmap) -> tuple[int, int, int]:
    """Offsets of ``movi`` and of the index, and the index's length in bytes; zeros for what is missing."""
    movi, offset = 0, 12
    if data[:4] != b"RIFF" or data[8:12] != b"AVI ":
        return 0, 0, 0
    while offset + 8 <= len(data):
        name, length = _HEAD.unpack_from(data, offset)
        if name == b"LIST" and data[offset + 8 : offset + 12] == b"movi":
            movi = offset + 8
        if name == b"idx1":
            return movi, offset + 8, min(length, len(data) - offset - 8)
        offset += 8 + length + length % 2  # chunks are padded to even lengths
    return movi, 0, 0
