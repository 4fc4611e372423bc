"""Reads videos and webcams with OpenCV (``pip install 'keypoint-toolkit[video]'``).

Frame numbers stay correct when frames are lost: they derive from presentation timestamps, or from the index of AVI files,
which have no timestamps.
"""

from __future__ import annotations

import bisect
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.base.version import install
from kptool.data import avi
from kptool.system.printable import printable

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"}
_ESTIMATED = {".mkv", ".webm", ".mpg", ".mpeg"}
"""Containers that state a duration but no frame count, so that OpenCV estimates the latter."""
_TRIES = 1000
"""Consecutive frames that fail to decode before the file counts as ended."""
_EVEN_SAMPLE, _OFF_GRID = 256, 0.2
"""Timestamps that suffice to establish even spacing, and the largest deviation from it, in frames."""
_MOST_GAPS = 5


@dataclass(frozen=True)
class VideoFrame:
    """A decoded frame.

    pixels: uint8 (H, W, 3), RGB. number: its index in the video, from 0. time: seconds from the beginning.
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
    if it cannot be opened, ConfigError if OpenCV is not installed.
    """

    def __init__(self, name: str) -> None:
        self._cv2, self._name, self.lost = _opencv(), name, ""
        number = name.removeprefix("camera:")
        self._camera = name != number
        if self._camera and not (number.isascii() and number.isdigit() and len(number) < 9):
            raise DataError(f"a webcam is camera:0, camera:1, ...; got {name}")
        if not self._camera and not Path(name).is_file():
            raise DataError(f"there is no video {name}")
        if printable(name) != name:
            raise DataError(f"OpenCV opens no video whose name is not UTF-8; rename {name}")
        self._capture = _opened(self._cv2, int(number) if self._camera else name)
        if not self._capture.isOpened():
            self._capture.release()
            raise DataError(
                f"there is no {name}: no webcam of that number can be opened; connect it, or give another number"
                if self._camera
                else _UNREADABLE.format(name)
            )

    def frames(self, most: int | None = None) -> Iterator[VideoFrame]:
        """The frames in order, at most `most`. Raises DataError if there are none."""
        try:
            numbers = list[int]()
            for frame in self._live() if self._camera else self._stored():
                if numbers and most is not None and len(numbers) >= most:
                    break
                numbers.append(frame.number)
                yield frame
            else:
                most = None
            if not numbers:
                raise DataError(_UNREADABLE.format(self._name))
            self.lost = "" if self._camera else self._missing(numbers, whole=most is None)
        finally:
            self._capture.release()

    def _live(self) -> Iterator[VideoFrame]:
        started = None
        for number in itertools.count():
            there, frame = self._capture.read()
            if not there:
                return
            now = time.monotonic()
            started = now if started is None else started
            yield VideoFrame(np.ascontiguousarray(frame[:, :, ::-1]), number, round(now - started, 6))

    def _stored(self) -> Iterator[VideoFrame]:
        cv2, capture = self._cv2, self._capture
        numbering, fps = _Numbering(cv2, self._name), float(capture.get(cv2.CAP_PROP_FPS))
        failed = 0
        while failed < _TRIES:
            there, frame = capture.read()
            failed = 0 if there else failed + 1
            if there:
                number = numbering.next(float(capture.get(cv2.CAP_PROP_PTS)))
                seconds = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                if (numbering.indexed or (number and not seconds > 0)) and fps > 0:
                    seconds = number / fps
                yield VideoFrame(np.ascontiguousarray(frame[:, :, ::-1]), number, round(max(seconds, 0), 6))

    def _missing(self, numbers: Sequence[int], *, whole: bool) -> str:
        """A sentence on the gaps in `numbers` and, if the file was read `whole`, after the last; empty if there are none."""
        count = float(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT))
        stated = int(count) if whole and 0 < count < 1e9 else 0
        end = numbers[-1] + 1
        if Path(self._name).suffix.lower() in _ESTIMATED and stated - end <= max(2, 0.02 * stated):
            stated = 0
        gaps = [(a + 1, b - 1) for a, b in itertools.pairwise([-1, *numbers, max(end, stated)]) if b - a > 1]
        if not gaps:
            return ""
        spans = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:_MOST_GAPS])
        more = f" and {len(gaps) - _MOST_GAPS} more gaps" if len(gaps) > _MOST_GAPS else ""
        what = f"{len(numbers)} of {max(end, stated)} frames could be read, and keep their numbers"
        return f"{what}; missing, counted from 0: {spans}{more}"


_UNREADABLE = "{} cannot be read as a video; it may be damaged, or of a kind OpenCV does not know"


class _Numbering:
    """Numbers the decoded frames of a file in order. indexed: by an AVI index rather than by timestamps."""

    def __init__(self, cv2: Any, name: str) -> None:
        self._whole = avi.intact_frames(Path(name)) if name.lower().endswith(".avi") else []
        self.indexed = bool(self._whole)
        self._times, self._even = ([], False) if self.indexed else _packets(cv2, name)
        self._done, self._last = 0, -1

    def next(self, pts: float) -> int:
        """The number of the next frame, whose presentation timestamp is `pts`, in frames."""
        number = self._last + 1
        if self.indexed:
            past = self._done - len(self._whole)
            number = self._whole[self._done] if past < 0 else self._whole[-1] + 1 + past
        elif self._times and math.isfinite(pts):
            number = round(pts - self._times[0]) if self._even else bisect.bisect_left(self._times, pts - 1e-3)
        self._done, self._last = self._done + 1, max(number, self._last + 1)
        return self._last


def _packets(cv2: Any, name: str) -> tuple[list[float], bool]:
    """The sorted presentation timestamps of a file's packets, in frames, and whether they are evenly spaced.

    Reads packets without decoding them; only the first few if they are evenly spaced. Empty if unknown or ambiguous.
    """
    capture = _opened(cv2, name)
    times = list[float]()
    try:
        if not capture.set(cv2.CAP_PROP_FORMAT, -1):
            return [], False
        even = True
        while (len(times) < _EVEN_SAMPLE or not even) and capture.grab():
            times.append(float(capture.get(cv2.CAP_PROP_PTS)))
            even = even and abs(times[-1] - times[0] - round(times[-1] - times[0])) < _OFF_GRID
    finally:
        capture.release()
    times.sort()
    return (times, even) if len(set(times)) == len(times) else ([], False)


def _opened(cv2: Any, source: int | str) -> Any:
    """OpenCV's capture of a file or webcam, with its own log silenced: kptool reports the errors."""
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(source)
    finally:
        logging.setLogLevel(before)


def _opencv() -> Any:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silences FFmpeg's log
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(f"videos and webcams need OpenCV: {install('video')}") from error
    return cv2
