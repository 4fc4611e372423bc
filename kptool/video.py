"""Videos and webcams, where OpenCV is installed: ``pip install 'kptool[video]'``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.errors import ConfigError, DataError

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"}


def is_video(name: str) -> bool:
    """Whether a name means a video file or a webcam (``camera:0``)."""
    return name.startswith("camera:") or Path(name).suffix.lower() in SUFFIXES


def frames(name: str, most: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """The frames of a video or webcam, uint8 (H, W, 3) in RGB. Raises DataError where it cannot be opened."""
    cv2 = _opencv()
    number = name.removeprefix("camera:")
    if name != number and not number.isdigit():
        raise DataError(f"a webcam is camera:0, camera:1, ...; got {name}")
    if name == number and not Path(name).is_file():
        raise DataError(f"there is no video {name}")
    capture = cv2.VideoCapture(name if name == number else int(number))
    try:
        done = 0
        while most is None or done < most:
            there, frame = capture.read()
            if not there:
                break
            done += 1
            yield np.ascontiguousarray(frame[:, :, ::-1])
        if not done and most != 0:
            raise DataError(f"{name} cannot be read as a video; it may be damaged, or of a kind OpenCV does not know")
    finally:
        capture.release()


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ConfigError("videos and webcams need OpenCV: pip install 'kptool[video]'") from error
    return cv2
