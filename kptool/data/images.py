"""Reading pictures of other people: any mode and orientation, bounded in size, as plain uint8 arrays."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kptool.base.errors import DataError
from kptool.base.geometry import Size, apply_affine, invert_affine, scale_affine
from kptool.data import scaling

MAX_PIXELS, MAX_SIDE = 1 << 26, 65_535
Pixels = NDArray[np.uint8]
_BAND = 1 << 22
"""Pixels that are converted at a time: of the largest pictures Pillow's copies would not fit the memory."""
_ORIENTATION = 0x0112
SLACK, FRACTIONS = 1e-9, 1 << 24
"""What rounding may add to a whole number, and fractions of a pixel that places are rounded to: `kptool.predict.letterbox` must
come to the same numbers."""
_DEEP = ("I", "F")
"""Pillow's modes of 32 bits; those of 16 are called I;16 and more."""


@dataclass(frozen=True)
class Decoded:
    """A picture's pixels, uint8 (H, W) grey or (H, W, 3) colour, and what there is to say of how they came about."""

    pixels: Pixels
    remarks: tuple[str, ...] = ()
    """How values of other kinds were brought to 0..255, and whether the picture is all but constant: see kptool.data.scaling."""


def read(source: Path | BinaryIO, name: str = "", *, upright: bool = True) -> Pixels:
    """The picture in a file or stream: the pixels of `decode`."""
    return decode(source, name, upright=upright).pixels


def decode(source: Path | BinaryIO, name: str = "", *, upright: bool = True) -> Decoded:
    """The picture in a file or stream, and what there is to say of it.

    `upright` turns it as its EXIF orientation says. What counts is the content, not the file's name; of several frames
    the first. Raises DataError, with `name`, where it is missing, no picture, damaged, or above 67 million pixels.
    """
    name = name or str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that the bound below judges
            with Image.open(source) as image:
                if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                    raise DataError(
                        f"{name} has {image.width}x{image.height} pixels; kptool reads up to {MAX_PIXELS:,},"
                        f" {MAX_SIDE:,} along a side, so make it smaller"
                    )
                decoded, orientation = from_pil(image), image.getexif().get(_ORIENTATION) if upright else None
        return Decoded(_turned(decoded.pixels, orientation), decoded.remarks)
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not a picture that can be read; expected PNG, JPEG, WebP, BMP or TIFF") from error
    except FileNotFoundError as error:
        raise DataError(f"there is no picture {name}") from error
    except _UNREADABLE as error:
        raise DataError(f"{name} cannot be read as a picture ({error}); it may be cut off or damaged") from error


_UNREADABLE = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError,
    AssertionError, RuntimeError, EOFError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow's readers raise for damaged files: whatever their parsing stumbles over."""


def size(source: Path) -> Size | None:
    """(H, W) of the upright picture in a file, by its header alone; None where that cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source) as image:
                turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
                return image.size if turned else (image.height, image.width)
    except _UNREADABLE:
        return None


def _turned(pixels: Pixels, orientation: object) -> Pixels:
    """The picture the way round that EXIF's `orientation` means (its table of 1 to 8; CIPA DC-008, section 4.6.4)."""
    if orientation not in range(2, 9):
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def from_pil(image: Image.Image) -> Decoded:
    """A Pillow image of any mode as uint8 (H, W) or (H, W, 3). Alpha lies on white; see kptool.data.scaling of deeper samples."""
    image.load()
    width, height = image.size
    rows = max(1, _BAND // max(1, width))
    tops = range(0, height, rows)

    def band(top: int) -> Image.Image:
        return image.crop((0, top, width, min(top + rows, height)))

    rule, remarks = scaling.AS_IT_IS, tuple[str, ...]()
    if image.mode in _DEEP or image.mode.startswith("I;16"):
        rule, remarks = scaling.rule(np.asarray(band(top)) for top in tops)
    first = _band(band(0), rule)
    pixels = np.empty((height, *first.shape[1:]), np.uint8)
    for top in tops:
        pixels[top : top + rows] = _band(band(top), rule) if top else first
    return _judged(pixels, remarks)


def _judged(pixels: Pixels, remarks: tuple[str, ...]) -> Decoded:
    return Decoded(pixels, (*remarks, scaling.FLAT) if pixels.size and scaling.flat(pixels) else remarks)


def _band(image: Image.Image, rule: scaling.Rule) -> Pixels:
    if image.mode in _DEEP or image.mode.startswith("I;16"):
        return rule.apply(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def as_pixels(image: object) -> Decoded:
    """An array, Pillow image or path as `Decoded`. Raises DataError for anything else.

    Arrays are (H, W), (H, W, 1) or (H, W, 3). Other numbers than uint8 become 0..255 as they do in files. What is
    `Decoded` already comes back without remarks, as somebody has them.
    """
    if isinstance(image, Decoded):
        return Decoded(image.pixels)
    if isinstance(image, str | Path):
        return decode(Path(image))
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray) and image.dtype.kind in "buif" and image.size:
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[:, :, 0]
        if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3):
            return _from_array(image)
    what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise DataError(
        f"expected a path, a Pillow image, or an array (H, W) or (H, W, 3) of uint8 or other real numbers; got {what}"
    )


def _from_array(image: NDArray[Any]) -> Decoded:
    if image.dtype == np.uint8:
        return _judged(image, ())
    if image.dtype == np.bool_:
        return _judged(image * np.uint8(255), ())
    rows = max(1, _BAND // max(1, image[0].size))
    bands = [image[top : top + rows] for top in range(0, len(image), rows)]
    rule, remarks = scaling.rule(bands)
    return _judged(np.concatenate([rule.apply(band) for band in bands]), remarks)


def resize_for(image: Pixels, size: Size, channels: int) -> tuple[Pixels, NDArray[np.float64]]:
    """`image` resized to `size`, edges to edges, grey (H, W) or colour (3, H, W), and the 2x3 map from its pixels."""
    picture = resized(image, size, "L" if channels == 1 else "RGB")
    pixels = np.asarray(picture)
    affine = scale_affine((image.shape[0], image.shape[1]), size)
    return (pixels if channels == 1 else np.moveaxis(pixels, -1, 0)), affine


def crop(image: Pixels, affine: NDArray[np.float64], size: Size, channels: int) -> Pixels:
    """What `affine` (picture's pixels -> crop's pixels) brings into a crop of `size`, grey (H, W) or colour (3, H, W).

    Shrinking averages; beyond the picture's edges the nearest pixel is repeated.
    """
    back = invert_affine(affine)
    edges = np.array([[-0.5, -0.5], [size[1] - 0.5, -0.5], [-0.5, size[0] - 0.5], [size[1] - 0.5, size[0] - 0.5]])
    corners = apply_affine(back, edges)
    scale = np.minimum(np.linalg.norm(affine[:, :2], axis=0), 1.0)
    low = np.floor(corners.min(0) - 2 / scale + SLACK).astype(int)
    high = np.ceil(corners.max(0) + 2 / scale - SLACK).astype(int) + 1
    region, full = _region(image, low, high, scale, "L" if channels == 1 else "RGB")
    shrink = scale_affine(full, (region.height, region.width))
    # Pillow maps output to input in coordinates whose integers are edges: half a pixel off ours on both sides.
    linear = shrink[:, :2] @ back[:, :2]
    offset = shrink[:, :2] @ (back[:, 2] - low) + shrink[:, 2] + 0.5 - linear @ np.array([0.5, 0.5])
    # In fractions of which doubles hold every multiple exactly, so that no grey level hangs on their last digit.
    data = (np.rint(np.column_stack([linear, offset]) * FRACTIONS) / FRACTIONS).ravel().tolist()
    pixels = np.asarray(region.transform((size[1], size[0]), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
    return pixels if channels == 1 else np.moveaxis(pixels, -1, 0)


def resized(image: Pixels, size: Size, mode: str) -> Image.Image:
    """The picture in a Pillow mode ("L" or "RGB"), brought to `size` (H, W); averages where it shrinks."""
    across, down = (0, 0, size[1]), (0, 0, size[0])
    return _brought(image, across, down, mode)


def _region(
    image: Pixels, low: NDArray[np.int_], high: NDArray[np.int_], scale: NDArray[np.float64], mode: str
) -> tuple[Image.Image, Size]:
    """The picture's pixels from `low` to `high` (x, y), which may lie outside; the nearest one stands in there.

    Shrunk by `scale` (x, y), and the size (H, W) before that.
    """
    height, width = image.shape[:2]
    x0, y0 = (int(v) for v in np.clip(low, 0, [width - 1, height - 1]))
    x1, y1 = (int(v) for v in np.clip(high, [x0 + 1, y0 + 1], [width, height]))
    before = [int(v) for v in np.maximum([x0, y0] - low, 0)]
    after = [int(v) for v in np.maximum(high - [x1, y1], 0)]
    full = [x1 - x0 + before[0] + after[0], y1 - y0 + before[1] + after[1]]
    across, down = ((before[i], after[i], max(1, math.ceil(full[i] * scale[i] - SLACK))) for i in (0, 1))
    return _brought(image[y0:y1, x0:x1], across, down, mode), (full[1], full[0])


_Axis = tuple[int, int, int]
"""How often the first and the last line are repeated, and the length that the whole is then brought to."""


def _brought(image: Pixels, across: _Axis, down: _Axis, mode: str) -> Image.Image:
    """The picture in a Pillow mode with its edges repeated, resized.

    Where that would be large, axis by axis and in bands, so that not even a picture as long and thin as they come takes
    much more memory than it has pixels; what is averaged is then rounded twice.
    """
    height, width = image.shape[0] + sum(down[:2]), image.shape[1] + sum(across[:2])
    if height * width <= _BAND:
        edges = (down[:2], across[:2], (0, 0))[: image.ndim]
        padded = np.pad(image, edges, mode="edge") if any(map(any, edges)) else image
        picture = Image.fromarray(padded).convert(mode)
        size = (across[2], down[2])
        return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)
    small = len(image) * across[2] <= max(_BAND, len(image) * image.shape[1])  # then as Pillow, which goes across first
    if small or len(image) * width <= height * image.shape[1]:
        return Image.fromarray(_along(_along(image, across, mode).swapaxes(0, 1), down, mode).swapaxes(0, 1))
    return Image.fromarray(_along(_along(image.swapaxes(0, 1), down, mode).swapaxes(0, 1), across, mode))


def _along(image: Pixels, axis: _Axis, mode: str) -> Pixels:
    """`_brought`, across alone, a band of rows at a time."""
    before, after, length = axis
    count = max(1, _BAND // (image.shape[1] + before + after))
    bands = []
    for top in range(0, len(image), count):
        band = np.pad(image[top : top + count], ((0, 0), (before, after), (0, 0))[: image.ndim], mode="edge")
        picture = Image.fromarray(band).convert(mode)
        bands.append(np.asarray(picture.resize((length, picture.height), Image.Resampling.BILINEAR)))
    return np.concatenate(bands)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A PNG of an image (H, W) or (H, W, 3), several times as fast as Pillow's and as small.

    Every row is stored as its difference from the one above (filter 2 of the PNG specification, section 9.2),
    compressed by ISA-L.
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
