"""Reads videos and webcams with PyAV, FFmpeg's libraries (``pip install 'keypoint-toolkit[video]'``).

Numbers and times of frames are those of the file, also if frames are lost: see `kptool.data.timeline`.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.base.version import install
from kptool.data.timeline import Timeline, in_words, scan, spans
from kptool.system.printable import printable

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"}
_FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo"
"""FFmpeg's demuxers for these; others, such as playlists, open files and addresses that a file names."""
_DEVICES = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_PAUSE, _PATIENCE = 0.005, 10.0
"""Seconds between two tries to read from a webcam that has no frame yet, and until it counts as silent."""


@dataclass(frozen=True)
class VideoFrame:
    """A decoded frame.

    pixels: uint8 (H, W, 3), RGB, upright. number: its index in the video, from 0. time: seconds from the first frame, by the
    file's presentation timestamps.
    """

    pixels: NDArray[np.uint8]
    number: int
    time: float


def is_video(name: str) -> bool:
    """Whether a name is that of a video file or a webcam (``camera:0``)."""
    return name.startswith("camera:") or Path(name).suffix.lower() in SUFFIXES


class Video:
    """An open video file or webcam.

    lost: after `frames` has ended, a sentence on the frames that could not be read; empty if all could. Raises DataError
    if it cannot be opened, ConfigError if PyAV is not installed. count: after the first frame, the number of frames that the
    file should have, among those that are wanted; None for a webcam.
    """

    def __init__(self, name: str) -> None:
        self._name, self.lost = name, ""
        self.count: int | None = None
        self._camera = name.startswith("camera:")
        if not self._camera and not Path(name).is_file():
            raise DataError(f"there is no video {name}")
        self._container = _webcam(name) if self._camera else _file(name)
        self._stream = self._container.streams.best("video")
        if self._stream is None or self._stream.codec_context is None:  # no video, or one of an unknown codec
            self._container.close()
            raise DataError(_UNREADABLE.format(name))

    @property
    def audio(self) -> bool:
        """Whether there is sound as well."""
        return len(self._container.streams.audio) > 0

    @property
    def time_base(self) -> Fraction:
        """The unit of the presentation timestamps, seconds."""
        return Fraction(self._stream.time_base)

    @property
    def rate(self) -> Fraction:
        """Frames per second on average; 0 if unknown."""
        return Fraction(self._stream.average_rate or self._stream.guessed_rate or 0)

    @property
    def sample_aspect_ratio(self) -> Fraction:
        """Width of a pixel by its height; 1 for square pixels, and if it is unknown."""
        return Fraction(self._stream.sample_aspect_ratio or 1) or Fraction(1)

    def close(self) -> None:
        """Close the file, if its frames are not read."""
        self._container.close()

    def timeline(self, most: int | None = None) -> Timeline:
        """The numbers and times of a file's frames, of the first `most`; reads the file once without decoding it."""
        with _file(self._name) as container:
            return scan(container, container.streams.best("video"), most)

    def frames(self, most: int | None = None) -> Iterator[VideoFrame]:
        """The frames in order, at most `most`. Raises DataError if there are none."""
        try:
            count = 0
            for frame in self._live() if self._camera else self._stored(most):
                count += 1
                yield frame
                if count == most:
                    break
            if not count:
                raise DataError(_UNREADABLE.format(self._name))
        finally:
            self._container.close()

    def _live(self) -> Iterator[VideoFrame]:
        started: float | None = None
        numbers = itertools.count()
        for packet in _packets_of_webcam(self._container, self._stream):
            for frame in _decoded(packet):
                now = frame.time if frame.time is not None else time.monotonic()
                started = now if started is None else started
                yield VideoFrame(_upright(frame), next(numbers), round(max(now - started, 0), 6))

    def _stored(self, most: int | None) -> Iterator[VideoFrame]:
        line = self.timeline(most)
        self.count = line.count or None
        got, damaged = list[int](), list[int]()
        try:
            for packet in self._packets():
                for frame in _decoded(packet):
                    number, seconds = line.place(frame.pts, got[-1] + 1 if got else 0)
                    got.append(number)
                    damaged += [number] * bool(frame.is_corrupt)
                    yield VideoFrame(_upright(frame), number, seconds)
        finally:
            lost = line.missing(got, to_end=most is None or len(got) < most)
            part = f"damaged and decoded in part: {in_words(spans(damaged))}" if damaged else ""
            self.lost = "; ".join(each for each in (lost, part) if each)

    def _packets(self) -> Iterator[Any]:
        """The packets up to the first that cannot be read."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                packet = None
            if packet is None:
                return
            yield packet


_UNREADABLE = "{} cannot be read as a video; it may be damaged, or of a kind FFmpeg does not know"


def _decoded(packet: Any) -> list[Any]:
    """The frames that a packet completes; none if it is damaged."""
    import av

    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []


def _upright(frame: Any) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3), turned as the file says that players should."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _file(name: str) -> Any:
    """PyAV's container of a file. Raises DataError if FFmpeg cannot open it."""
    av = pyav()
    try:
        return av.open(f"file:{name}", options={"format_whitelist": _FORMATS}, metadata_errors="replace")
    except (av.FFmpegError, UnicodeError, ValueError) as error:
        if printable(name) != name:
            raise DataError(f"FFmpeg opens no video whose name is not UTF-8; rename {name}") from error
        raise DataError(_UNREADABLE.format(name)) from error


def _webcam(name: str) -> Any:
    """PyAV's container of ``camera:N``. Raises DataError if there is none."""
    number = name.removeprefix("camera:")
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        raise DataError(f"a webcam is camera:0, camera:1, ...; got {name}")
    av = pyav()
    try:
        place, kind, options = _device(int(number))
        return av.open(place, format=kind, options=options)
    except (av.FFmpegError, IndexError, KeyError, ValueError) as error:
        raise DataError(
            f"there is no {name}: no webcam of that number can be opened; connect it, or give another number"
        ) from error


def _device(number: int) -> tuple[str, str, dict[str, str]]:
    """What FFmpeg calls webcam `number`: its name, the input format and options of that."""
    kind = _DEVICES[sys.platform]
    if kind == "v4l2":
        return f"/dev/video{number}", kind, {}
    if kind == "avfoundation":  # its default rate of 29.97 is one that most webcams do not have
        return str(number), kind, {"framerate": "30"}
    from av.device import enumerate_input_devices

    names = [each.name for each in enumerate_input_devices(kind) if "video" in each.media_types]
    return f"video={names[number]}", kind, {}


def _packets_of_webcam(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a webcam until it ends or is silent; it may say that it has none yet."""
    import av

    silent = 0.0
    while silent < _PATIENCE:
        try:
            yield from container.demux(stream)
            return
        except av.BlockingIOError:
            time.sleep(_PAUSE)
            silent += _PAUSE
        except av.FFmpegError:  # unplugged
            return


def pyav() -> Any:
    """The module `av`. Raises ConfigError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise ConfigError(f"videos and webcams need PyAV: {install('video')}") from error
    return av
