"""Image bombs: files of a few kilobytes that decode to a hundred million pixels or more, in every mode."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

_SIDE = 10_000
_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _COLOUR: 3, _PALETTE: 1, _GREY_ALPHA: 2, _ALPHA: 4}


def pictures() -> dict[str, bytes]:
    """File name -> content."""
    palette = png_chunk(b"PLTE", bytes(range(6))) + png_chunk(b"tRNS", b"\x00\x80")
    found = {
        "bomb-1bit.png": png(_SIDE, _SIDE, _GREY, 1),
        "bomb-grey.png": png(_SIDE, _SIDE, _GREY, 8),
        "bomb-deep.png": png(_SIDE, _SIDE, _GREY, 16),
        "bomb-colour.png": png(_SIDE, _SIDE, _COLOUR, 8),
        "bomb-palette.png": png(_SIDE, _SIDE, _PALETTE, 8, palette),
        "bomb-grey-alpha.png": png(_SIDE, _SIDE, _GREY_ALPHA, 8),
        "bomb-alpha.png": png(_SIDE, _SIDE, _ALPHA, 8),
        "bomb-turned.png": png(_SIDE, _SIDE, _COLOUR, 8, png_chunk(b"eXIf", _turned())),
        "bomb-long.png": png(50_000_000, 2, _GREY, 8),
        "bomb-huge.png": png(2**31 - 1, 2**31 - 1, _ALPHA, 16, rows=4),
        "bomb-more-than-said.png": png(64, 64, _GREY, 8, rows=3_000_000),
        "bomb-text.png": png(64, 64, _GREY, 8, png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(300 << 20), 1))),
    }
    for mode, name, options in (
        ("CMYK", "bomb-cmyk.jpg", {"quality": 1}),
        ("RGB", "bomb-colour.jpg", {"quality": 1}),
        ("CMYK", "bomb-cmyk.tif", {"compression": "tiff_deflate"}),
        ("F", "bomb-floats.tif", {"compression": "tiff_deflate"}),
        ("I", "bomb-integers.tif", {"compression": "tiff_deflate"}),
        ("P", "bomb.gif", {}),
    ):
        out = io.BytesIO()
        Image.new(mode, (_SIDE, _SIDE)).save(out, format=_FORMATS[name.rpartition(".")[2]], **options)
        found[name] = out.getvalue()
    return found


_FORMATS = {"jpg": "JPEG", "tif": "TIFF", "gif": "GIF"}


def png(width: int, height: int, kind: int, depth: int, extra: bytes = b"", rows: int | None = None) -> bytes:
    """A PNG of zeros with `rows` rows of data, whatever the header claims."""
    row = bytes(1 + (width * depth * _CHANNELS[kind] + 7) // 8) if width < 10**8 else bytes(1000)
    pack = zlib.compressobj(1)
    parts = [pack.compress(row) for _ in range(height if rows is None else rows)]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = png_chunk(b"IDAT", b"".join([*parts, pack.flush()]))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + data + png_chunk(b"IEND", b"")


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def repaired(data: bytes) -> bytes:
    """The same PNG with correct checksums, so that damage is parsed instead of being rejected by a checksum."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, at)
        end = at + 8 + length
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes().removeprefix(b"Exif\0\0")
