"""The drawn video of ``kptool predict --out NAME.mp4``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kptool.base.errors import ConfigError
from kptool.data import video, video_writer
from kptool.data.pictures import InputPicture
from kptool.data.video_writer import Source, VideoWriter
from kptool.predict import drawing
from kptool.predict.instances import Instance


class VideoOutput:
    """Draws into a video frame by frame. notes: sentences on what the video lacks or changes, complete at the end."""

    def __init__(
        self, writer: VideoWriter, names: Sequence[str], tints: Sequence[str], *, label: bool, circles: bool = False
    ) -> None:
        self._writer, self._names = writer, names
        self._look: dict[str, Any] = {"label": label, "tints": tints, "circles": circles, "enlarge": False}
        self.notes = writer.notes

    def add(self, picture: InputPicture, faces: Sequence[Instance]) -> None:
        """Append a frame, which has pixels and a time. Raises DataError if its size differs from the first."""
        assert picture.pixels is not None
        assert picture.time is not None
        drawn = drawing.draw(picture.pixels, faces, self._names, **self._look)
        self._writer.add(np.asarray(drawn), picture.time)


def wanted(out: Path | None) -> bool:
    """Whether ``--out`` names a video rather than a folder."""
    return out is not None and video.is_video(out.name) and not out.is_dir()


def check(out: Path, pictures: Sequence[str], fps: float | None) -> None:
    """Check that a video can be drawn from pictures. Raises ConfigError."""
    if out.suffix.lower() not in video_writer.FORMATS:
        raise ConfigError(f"videos are written as {', '.join(video_writer.FORMATS)}; got --out {out.name}")
    if fps is None and (len(pictures) != 1 or not video.is_video(pictures[0])):
        raise ConfigError(
            f"--out {out.name} writes the frames of one video; give one video, pictures and their --fps, or a folder as --out"
        )
    if any(Path(each).resolve() == out.resolve() for each in pictures):
        raise ConfigError(f"--out {out} is among the files that are read; choose another name")


@contextmanager
def drawn(
    out: Path,
    pictures: Sequence[str],
    names: Sequence[str],
    tints: Sequence[str],
    *,
    fps: float | None,
    label: bool,
    circles: bool = False,
) -> Iterator[VideoOutput]:
    """The video drawn from one video, or from pictures that are taken `fps` times a second.

    It replaces `out` only if the block succeeds. Raises ConfigError without PyAV, DataError if it cannot be written.
    """
    source, sound = _source(pictures[0], fps)
    with video_writer.writing(out, source) as writer:
        film = VideoOutput(writer, names, tints, label=label, circles=circles)
        if sound:
            film.notes.append(f"the sound of {pictures[0]} is not copied to {out.name}")
        yield film


def _source(name: str, fps: float | None) -> tuple[Source, bool]:
    """What the drawn video takes from its source, and whether the source has sound."""
    if fps is not None:
        rate = video_writer.rational(fps)
        return Source(1 / rate, rate), False
    if name.startswith("camera:"):  # it can be opened only once
        return Source(), False
    film = video.Video(name)
    try:
        return Source(film.time_base, film.rate or Source.rate, film.sample_aspect_ratio), film.audio
    finally:
        film.close()
