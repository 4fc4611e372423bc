"""Small videos for tests, written with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

av: Any = pytest.importorskip("av", reason="PyAV is an optional extra: keypoint-toolkit[video]")
COUNT = 30


def grey(count: int = COUNT, side: int = 64) -> list[NDArray[np.uint8]]:
    """Frames whose mean grey value is 19.5 plus 5 times their number; see `seen`."""
    noise = np.random.default_rng(0).integers(0, 40, (side, side, 3))
    return [(noise + 5 * number).astype(np.uint8) for number in range(count)]


def seen(pixels: NDArray[np.uint8]) -> int:
    """The frame number that a mean grey value encodes."""
    return round((float(pixels.mean()) - 19.5) / 5)


def film(
    path: Path | str,
    frames: Sequence[NDArray[np.uint8]] = (),
    *,
    codec: str = "mjpeg",
    times: Sequence[float] = (),
    rate: int = 25,
    rotation: int = 0,
    sound: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """A video of `frames` (H, W, 3), or `grey` ones, at `times` in seconds, or evenly at `rate` per second.

    rotation: degrees counterclockwise that a player turns it by. sound: with a silent track of sound.
    """
    frames = frames or grey()
    base = Fraction(1, 1000) if times else Fraction(1, rate)
    with av.open(str(path), "w", format="matroska" if str(path).endswith(".mkv") else None) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 8_000_000
        stream.time_base = stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        if sound:
            container.add_stream("aac", rate=8000, layout="mono")
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(times[number] / base) if times else number
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def holed(path: Path, start: float, end: float) -> Path:
    """Overwrite the file with zeros from one fraction of its length to another."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path
