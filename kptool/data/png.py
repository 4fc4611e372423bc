"""Encodes PNG files."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file of an image (H, W) or (H, W, 3), encoded several times faster than by Pillow, at about the same size.

    Every row is stored as its difference from the row above (filter type 2, PNG specification, section 9.2) and compressed
    by ISA-L.
    """
    height, width = image.shape[:2]
    rows = image.reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    kind = 0 if image.ndim == 2 else 2  # grey or RGB
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", isal_zlib.compress(filtered, 1)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
