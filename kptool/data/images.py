"""Decodes, crops and resizes images: files of any mode and orientation, bounded in size, as uint8 arrays."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kptool.base.errors import DataError
from kptool.base.geometry import Size, apply_affine, image_box, invert_affine, scale_affine, to_edges
from kptool.data import embedded, intensity

MAX_PIXELS, MAX_SIDE = 1 << 26, 65_535
Pixels = NDArray[np.uint8]
_BAND = 1 << 22
"""Pixels converted at a time, which bounds the memory that Pillow's copies of large images take."""
_ORIENTATION = 0x0112
"""The EXIF tag of the orientation."""
SLACK, FRACTIONS = 1e-9, 1 << 24
"""Tolerance before rounding up or down, and the fractions of a pixel that affine coefficients are rounded to. They are public
because `kptool.predict.letterbox` must compute the same numbers."""
_32_BITS = ("I", "F")
"""Pillow's 32-bit modes; the names of the 16-bit modes begin with I;16."""


@dataclass(frozen=True)
class DecodedImage:
    """An image's pixels, and how they were obtained.

    pixels: uint8, grey (H, W) or RGB (H, W, 3). remarks: how other sample types were converted to 8 bits, and whether the
    image is nearly constant; see `kptool.data.intensity`.
    """

    pixels: Pixels
    remarks: tuple[str, ...] = ()


def read(source: Path | BinaryIO, name: str = "", *, upright: bool = True) -> Pixels:
    """The pixels of `decode`."""
    return decode(source, name, upright=upright).pixels


def decode(source: Path | BinaryIO, name: str = "", *, upright: bool = True) -> DecodedImage:
    """Decode an image file or stream; of several frames, the first.

    name: in messages, by default `source`. upright: apply the EXIF orientation. The format is detected from the content,
    not from the file name. Raises DataError if the file is missing, not an image, damaged, or above 67 million pixels.
    """
    name = name or str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large sizes, which are checked below
            with Image.open(embedded.stream(source)) as image:
                if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                    raise DataError(
                        f"{name} has {image.width}x{image.height} pixels; kptool reads up to {MAX_PIXELS:,},"
                        f" {MAX_SIDE:,} along a side, so make it smaller"
                    )
                decoded, orientation = from_pil(image), image.getexif().get(_ORIENTATION) if upright else None
        return DecodedImage(_oriented(decoded.pixels, orientation), decoded.remarks)
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
"""What Pillow's decoders raise for damaged files."""


def size(source: Path) -> Size | None:
    """(H, W) of the upright image, from the file's header alone; None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(embedded.stream(source)) as image:
                turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
                return image.size if turned else (image.height, image.width)
    except (*_UNREADABLE, DataError):
        return None


def _oriented(pixels: Pixels, orientation: object) -> Pixels:
    """The upright image for an EXIF orientation of 1 to 8 (CIPA DC-008, section 4.6.4); other values are ignored."""
    if orientation not in range(2, 9):
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def from_pil(image: Image.Image) -> DecodedImage:
    """A Pillow image of any mode as uint8 (H, W) or (H, W, 3).

    Transparent images are composited on white; `kptool.data.intensity` converts samples of more than 8 bits.
    """
    image.load()
    width, height = image.size
    rows = max(1, _BAND // max(1, width))
    tops = range(0, height, rows)

    def band(top: int) -> Image.Image:
        return image.crop((0, top, width, min(top + rows, height)))

    rule, remarks = intensity.IDENTITY, tuple[str, ...]()
    if _is_deep(image):
        rule, remarks = intensity.choose_rule(np.asarray(band(top)) for top in tops)
    first = _to_uint8(band(0), rule)
    pixels = np.empty((height, *first.shape[1:]), np.uint8)
    for top in tops:
        pixels[top : top + rows] = _to_uint8(band(top), rule) if top else first
    return _remarked(pixels, remarks)


def _remarked(pixels: Pixels, remarks: tuple[str, ...]) -> DecodedImage:
    """The decoded image, with a further remark if it is nearly constant."""
    return DecodedImage(pixels, (*remarks, intensity.FLAT) if pixels.size and intensity.is_flat(pixels) else remarks)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in _32_BITS or image.mode.startswith("I;16")


def _to_uint8(image: Image.Image, rule: intensity.Rule) -> Pixels:
    if _is_deep(image):
        return rule.apply(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def as_pixels(image: object) -> DecodedImage:
    """Decode an array, Pillow image or path. Raises DataError for anything else.

    Arrays are (H, W), (H, W, 1) or (H, W, 3); samples other than uint8 are converted as those of files are. A
    `DecodedImage` is returned without its remarks, which its creator has already reported.
    """
    if isinstance(image, DecodedImage):
        return DecodedImage(image.pixels)
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


def _from_array(image: NDArray[Any]) -> DecodedImage:
    if image.dtype == np.uint8:
        return _remarked(image, ())
    if image.dtype == np.bool_:
        return _remarked(image * np.uint8(255), ())
    rows = max(1, _BAND // max(1, image[0].size))
    bands = [image[top : top + rows] for top in range(0, len(image), rows)]
    rule, remarks = intensity.choose_rule(bands)
    return _remarked(np.concatenate([rule.apply(band) for band in bands]), remarks)


def resize_for(image: Pixels, size: Size, channels: int) -> tuple[Pixels, NDArray[np.float64]]:
    """Resize an image (H, W) or (H, W, 3), edges to edges, ignoring its aspect ratio.

    Returns uint8 of `size`, grey (h, w) if channels is 1, else RGB (3, h, w), and the 2x3 affine map to its pixels.
    """
    picture = resized(image, size, "L" if channels == 1 else "RGB")
    pixels = np.asarray(picture)
    affine = scale_affine((image.shape[0], image.shape[1]), size)
    return (pixels if channels == 1 else np.moveaxis(pixels, -1, 0)), affine


def crop(image: Pixels, affine: NDArray[np.float64], size: Size, channels: int) -> Pixels:
    """The crop of `size` that `affine` (2x3, image pixels to crop pixels) defines.

    Returns uint8, grey (h, w) if channels is 1, else RGB (3, h, w). Downscaling averages pixels (antialiasing); beyond the
    image's edges the nearest pixel is repeated.
    """
    back = invert_affine(affine)
    x, y, width, height = image_box(size)
    edges = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]])
    corners = apply_affine(back, edges)
    scale = np.minimum(np.linalg.norm(affine[:, :2], axis=0), 1.0)
    low = np.floor(corners.min(0) - 2 / scale + SLACK).astype(int)
    high = np.ceil(corners.max(0) + 2 / scale - SLACK).astype(int) + 1
    region, full = _region(image, low, high, scale, "L" if channels == 1 else "RGB")
    shrink = scale_affine(full, (region.height, region.width))
    # Pillow's map goes from output to input, both in coordinates whose integers are pixel edges.
    linear = shrink[:, :2] @ back[:, :2]
    offset = to_edges(shrink[:, :2] @ (back[:, 2] - low) + shrink[:, 2]) - linear @ to_edges(np.zeros(2))
    # Rounded to fractions that doubles represent exactly, so that the result does not depend on the order of operations.
    data = (np.rint(np.column_stack([linear, offset]) * FRACTIONS) / FRACTIONS).ravel().tolist()
    pixels = np.asarray(region.transform((size[1], size[0]), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
    return pixels if channels == 1 else np.moveaxis(pixels, -1, 0)


def fitted(image: Pixels, affine: NDArray[np.float64], size: Size, channels: int) -> Pixels:
    """A whole image in one of `size`, as `affine` from `kptool.base.geometry.fit_box` maps it, without rotation.

    As `crop`, but resampled once, which takes a third of the time, and rounded to whole pixels at the picture's borders only.
    """
    mode = "L" if channels == 1 else "RGB"
    x, y, wide, high = image_box((image.shape[0], image.shape[1]))
    (low_x, low_y), (high_x, high_y) = to_edges(apply_affine(affine, np.array([[x, y], [x + wide, y + high]])))
    left, top = math.ceil(low_x - SLACK), math.ceil(low_y - SLACK)
    right, bottom = max(left + 1, math.floor(high_x + SLACK)), max(top + 1, math.floor(high_y + SLACK))
    steps = (high_x - low_x) / image.shape[1], (high_y - low_y) / image.shape[0]
    x0, x1 = (float(np.clip((x - low_x) / steps[0], 0, image.shape[1])) for x in (left, right))
    y0, y1 = (float(np.clip((y - low_y) / steps[1], 0, image.shape[0])) for y in (top, bottom))
    picture = Image.fromarray(image)
    picture = picture if picture.mode == mode else picture.convert(mode)
    side = (right - left, bottom - top)
    small = np.asarray(picture.resize(side, Image.Resampling.BILINEAR, box=(x0, y0, x1, y1), reducing_gap=1.0))
    beyond = ((top, size[0] - bottom), (left, size[1] - right), (0, 0))[: small.ndim]
    pixels = np.pad(small, beyond, mode="edge") if any(map(any, beyond)) else small
    return pixels if channels == 1 else np.moveaxis(pixels, -1, 0)


def resized(image: Pixels, size: Size, mode: str) -> Image.Image:
    """The image in a Pillow mode ("L" or "RGB"), resized to `size` (H, W); downscaling averages pixels."""
    across, down = (0, 0, size[1]), (0, 0, size[0])
    return _pad_and_resize(image, across, down, mode)


def _region(
    image: Pixels, low: NDArray[np.int_], high: NDArray[np.int_], scale: NDArray[np.float64], mode: str
) -> tuple[Image.Image, Size]:
    """The pixels from `low` to `high` (x, y), shrunk by `scale` (x, y), and the region's size (H, W) before shrinking.

    Outside the image the nearest pixel is repeated.
    """
    height, width = image.shape[:2]
    x0, y0 = (int(v) for v in np.clip(low, 0, [width - 1, height - 1]))
    x1, y1 = (int(v) for v in np.clip(high, [x0 + 1, y0 + 1], [width, height]))
    before = [int(v) for v in np.maximum([x0, y0] - low, 0)]
    after = [int(v) for v in np.maximum(high - [x1, y1], 0)]
    full = [x1 - x0 + before[0] + after[0], y1 - y0 + before[1] + after[1]]
    across, down = ((before[i], after[i], max(1, math.ceil(full[i] * scale[i] - SLACK))) for i in (0, 1))
    return _pad_and_resize(image[y0:y1, x0:x1], across, down, mode), (full[1], full[0])


_Axis = tuple[int, int, int]
"""How often the first and the last line are repeated, and the length after resizing."""


def _pad_and_resize(image: Pixels, across: _Axis, down: _Axis, mode: str) -> Image.Image:
    """The image in a Pillow mode, its edges repeated and then resized.

    Large results are computed one axis at a time and in bands, which bounds the memory even for very long and thin images;
    averages are then rounded twice.
    """
    height, width = image.shape[0] + sum(down[:2]), image.shape[1] + sum(across[:2])
    if height * width <= _BAND:
        edges = (down[:2], across[:2], (0, 0))[: image.ndim]
        padded = np.pad(image, edges, mode="edge") if any(map(any, edges)) else image
        picture = Image.fromarray(padded).convert(mode)
        size = (across[2], down[2])
        return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)
    small = len(image) * across[2] <= max(_BAND, len(image) * image.shape[1])  # then across first, as Pillow does
    if small or len(image) * width <= height * image.shape[1]:
        return Image.fromarray(
            _resize_rows(_resize_rows(image, across, mode).swapaxes(0, 1), down, mode).swapaxes(0, 1)
        )
    return Image.fromarray(_resize_rows(_resize_rows(image.swapaxes(0, 1), down, mode).swapaxes(0, 1), across, mode))


def _resize_rows(image: Pixels, axis: _Axis, mode: str) -> Pixels:
    """`_pad_and_resize` along the rows only, a band of rows at a time."""
    before, after, length = axis
    count = max(1, _BAND // (image.shape[1] + before + after))
    bands = []
    for top in range(0, len(image), count):
        band = np.pad(image[top : top + count], ((0, 0), (before, after), (0, 0))[: image.ndim], mode="edge")
        picture = Image.fromarray(band).convert(mode)
        bands.append(np.asarray(picture.resize((length, picture.height), Image.Resampling.BILINEAR)))
    return np.concatenate(bands)
