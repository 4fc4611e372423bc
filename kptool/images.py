"""Reading pictures of other people: any mode and orientation, bounded in size, as plain uint8 arrays."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from kptool.errors import DataError
from kptool.geometry import Size, apply_affine, invert_affine, scale_affine

MAX_PIXELS = 100_000_000
Pixels = NDArray[np.uint8]


def read(source: Path | BinaryIO, name: str = "", *, upright: bool = True) -> Pixels:
    """The picture in a file or stream: uint8 (H, W) grey or (H, W, 3) colour.

    `upright` turns it as its EXIF orientation says. What counts is the content, not the file's name; of several frames
    the first. Raises DataError, with `name`, where it is missing, no picture, damaged, or above 100 million pixels.
    """
    name = name or str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that the bound below judges
            with Image.open(source) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"{name} has {image.width}x{image.height} pixels; kptool reads up to {MAX_PIXELS:,}"
                    )
                return from_pil(ImageOps.exif_transpose(image) if upright else image)
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not a picture that can be read; expected PNG, JPEG, WebP, BMP or TIFF") from error
    except FileNotFoundError as error:
        raise DataError(f"there is no picture {name}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} cannot be read as a picture ({error}); it may be cut off or damaged") from error


def from_pil(image: Image.Image) -> Pixels:
    """A Pillow image of any mode as uint8 (H, W) or (H, W, 3). 16 bits become 8 by their upper half; alpha lies on white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
    if image.mode == "F":
        return np.asarray(image).clip(0, 255).astype(np.uint8)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def check(image: object) -> Pixels:
    """An array, Pillow image or path as uint8 (H, W) or (H, W, 3). Raises DataError for anything else."""
    if isinstance(image, str | Path):
        return read(Path(image))
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size:
        if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3):
            return image
        if image.ndim == 3 and image.shape[2] == 1:
            return image[:, :, 0]
    what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise DataError(f"expected a path, a Pillow image, or a uint8 array (H, W) or (H, W, 3); got {what}")


def fit(image: Pixels, size: Size, channels: int) -> tuple[Pixels, NDArray[np.float64]]:
    """`image` resized to `size`, edges to edges, grey (H, W) or colour (3, H, W), and the 2x3 map from its pixels."""
    picture = Image.fromarray(image).convert("L" if channels == 1 else "RGB")
    if picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)  # averages where it shrinks
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
    low = np.floor(corners.min(0) - 2 / scale).astype(int)
    high = np.ceil(corners.max(0) + 2 / scale).astype(int) + 1
    region = _region(image, low, high).convert("L" if channels == 1 else "RGB")
    full = (region.height, region.width)
    if scale.min() < 1:
        small = [max(1, math.ceil(length * by)) for length, by in zip(region.size, scale, strict=True)]
        region = region.resize((small[0], small[1]), Image.Resampling.BILINEAR)
    shrink = scale_affine(full, (region.height, region.width))
    # Pillow maps output to input in coordinates whose integers are edges: half a pixel off ours on both sides.
    linear = shrink[:, :2] @ back[:, :2]
    offset = shrink[:, :2] @ (back[:, 2] - low) + shrink[:, 2] + 0.5 - linear @ np.array([0.5, 0.5])
    data = (linear[0, 0], linear[0, 1], offset[0], linear[1, 0], linear[1, 1], offset[1])
    pixels = np.asarray(region.transform((size[1], size[0]), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
    return pixels if channels == 1 else np.moveaxis(pixels, -1, 0)


def _region(image: Pixels, low: NDArray[np.int_], high: NDArray[np.int_]) -> Image.Image:
    """The picture's pixels from `low` to `high` (x, y), which may lie outside; the nearest one stands in there."""
    height, width = image.shape[:2]
    x0, y0 = (int(v) for v in np.clip(low, 0, [width - 1, height - 1]))
    x1, y1 = (int(v) for v in np.clip(high, [x0 + 1, y0 + 1], [width, height]))
    before = np.maximum([x0, y0] - low, 0)
    after = np.maximum(high - [x1, y1], 0)
    part = image[y0:y1, x0:x1]
    if before.any() or after.any():
        edges = ((before[1], after[1]), (before[0], after[0]), (0, 0))[: image.ndim]
        part = np.pad(part, edges, mode="edge")
    return Image.fromarray(part)


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
