"""Writes videos with PyAV: H.264, or VP9 for WebM, each frame at its own time, so variable frame rates are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.data.video import pyav
from kptool.system.files import atomic

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_Encoders = tuple[tuple[str, dict[str, str]], ...]
_OTHERS: _Encoders = (
    ("libx264", {"crf": "18", "preset": "veryfast"}),
    ("libopenh264", {}),
    ("mpeg4", {"qmin": "2", "qmax": "5"}),
)
_WEBM: _Encoders = (("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}),)
"""FFmpeg's encoders, the best first, with options for about the same, high quality."""
_FINEST, _MOST_TICKS = Fraction(1, 90_000), 1_000_000
"""The unit of times, seconds, where the source's has more ticks per second than that."""
_MOST_TICKS_OF_MPEG4 = 65_535
_BT709, _LIMITED = 1, 1
"""FFmpeg's numbers for the colours of high-definition video and their usual range."""


@dataclass(frozen=True)
class Source:
    """What a written video takes from the one it was made of.

    base: the unit of its times, seconds. rate: frames per second on average, which players show. aspect: width of a pixel
    by its height.
    """

    base: Fraction = _FINEST
    rate: Fraction = Fraction(25)
    aspect: Fraction = Fraction(1)


def rational(fps: float) -> Fraction:
    """A frame rate as a fraction: 29.97 is 30000/1001."""
    exact = Fraction(fps).limit_denominator(1000)
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    return ntsc if abs(fps - ntsc) < 0.005 and exact.denominator > 1 else exact


class VideoWriter:
    """A video that is being written; see `writing`.

    encoder: FFmpeg's name of the encoder, after the first frame. notes: sentences on what differs from the frames given.
    """

    def __init__(self, container: Any, source: Source) -> None:
        self._container, self._source = container, source
        self._base = source.base if source.base.denominator <= _MOST_TICKS else _FINEST
        self._stream: Any = None
        self._last = -1
        self._size = 0, 0
        self.encoder, self.notes = "", list[str]()

    def add(self, pixels: NDArray[np.uint8], time: float) -> None:
        """Append a frame, RGB (H, W, 3), shown from `time` on, in seconds from the beginning.

        Raises DataError if its size is not that of the first, or it cannot be written.
        """
        height, width = pixels.shape[:2]
        with _errors():
            if self._stream is None:
                self._begin(height, width)
            if (height, width) != self._size:
                was = f"{self._size[1]}x{self._size[0]}"
                raise DataError(f"the frames of a video have one size; got {width}x{height} after {was} pixels")
            padded = np.pad(pixels, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
            frame = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            self._last = max(round(Fraction(time) / self._base), self._last + 1)
            frame.pts, frame.time_base = self._last, self._base
            frame.duration = max(1, round(1 / (self._source.rate * self._base)))
            self._container.mux(self._stream.encode(frame))

    def _begin(self, height: int, width: int) -> None:
        self._size = height, width
        self._stream = stream = self._new_stream()
        if self.encoder == "mpeg4" and self._base.denominator > _MOST_TICKS_OF_MPEG4:
            self._base = Fraction(1, 60_000)
        stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._base
        stream.codec_context.sample_aspect_ratio = self._source.aspect
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
        if height % 2 or width % 2:
            even = f"{width + width % 2}x{height + height % 2}"
            self.notes.append(f"the last row or column of pixels is repeated: video has even sizes, here {even}")
        if self.encoder == "mpeg4":
            self.notes.append(
                "this FFmpeg has no H.264 encoder; the video is MPEG-4 Part 2, which browsers do not play"
            )

    def _new_stream(self) -> Any:
        """A stream with the best encoder that there is."""
        kind = self._container.format.name
        for name, options in _WEBM if kind == "webm" else _OTHERS:
            try:
                pyav().codec.Codec(name, "w")
            except ValueError:
                continue
            self.encoder = name
            return self._container.add_stream(name, rate=self._source.rate, options=dict(options))
        raise ConfigError(f"the installed FFmpeg has no encoder for {kind} files; write an .mp4")

    def finish(self) -> None:
        """Write what the encoder still holds. Raises DataError if there was no frame, or the file cannot be written."""
        if self._stream is None:
            raise DataError("there are no frames to write a video of")
        with _errors():
            self._container.mux(self._stream.encode(None))


@contextmanager
def writing(path: Path, source: Source = Source()) -> Iterator[VideoWriter]:
    """A `VideoWriter` for a file that replaces `path` only if the block succeeds.

    Raises ConfigError for an unknown suffix or without PyAV, DataError if the file cannot be written.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"videos are written as {', '.join(FORMATS)}; got {path.name}")
    av = pyav()
    with atomic(path) as temporary, _errors():
        options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}  # the index first, for the web
        container = av.open(str(temporary), "w", format=kind, options=options)
        try:
            writer = VideoWriter(container, source)
            yield writer
            writer.finish()
        except BaseException:
            with suppress(av.FFmpegError):
                container.close()
            raise
        container.close()


@contextmanager
def _errors() -> Iterator[None]:
    """Turn FFmpeg's errors into DataError."""
    try:
        yield
    except pyav().FFmpegError as error:
        raise DataError(f"the video cannot be written: {error.strerror or error}; is there space left?") from error
