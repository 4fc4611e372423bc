"""What ``kptool predict`` does for videos: options checked, progress in lines, one line per video."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kptool.base.errors import ConfigError
from kptool.system.progress import FRAMES, Progress

if TYPE_CHECKING:
    from kptool.predict.following import Follower
    from kptool.predict.output import PicturePrediction
    from kptool.predict.predictor import Predictor
    from kptool.predict.video_output import VideoOutput

GAP = 1.0
_EVERY = 10.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class VideoOptions:
    """The options of ``kptool predict`` that only concern videos; None where an option is not given.

    out: a video to write, or a folder. fps: pictures a second, for pictures that are a sequence. Raises ConfigError for options
    that contradict each other, or that need times that pictures do not have.
    """

    pictures: Sequence[str]
    out: Path | None = None
    fps: float | None = None
    track: bool = False
    gap: float | None = None
    smooth: bool = False
    cutoff: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        from kptool.data.video import is_video

        if self.film is not None:
            from kptool.predict.video_output import check

            check(self.film, self.pictures, self.fps)
        videos = [name for name in self.pictures if is_video(name)]
        if self.fps is not None and videos:
            raise ConfigError(f"--fps is for pictures that are a sequence; {videos[0]} has times of its own")
        if self.follows and self.fps is None and len(videos) < len(self.pictures):
            still = next(name for name in self.pictures if name not in videos)
            what = "--smooth" if self.smooths else "--track"
            raise ConfigError(f"{what} needs times, which {still} has not; --fps says how many pictures are a second")

    @property
    def smooths(self) -> bool:
        """Whether keypoints are smoothed; an option for how implies it."""
        return self.smooth or self.cutoff is not None or self.beta is not None

    @property
    def follows(self) -> bool:
        """Whether instances are tracked."""
        return self.track or self.gap is not None or self.smooths

    @property
    def film(self) -> Path | None:
        """The video to write."""
        from kptool.predict.video_output import wanted

        return self.out if wanted(self.out) else None

    @property
    def folder(self) -> Path | None:
        """The folder for drawn pictures."""
        return self.out if self.film is None else None

    def follower(self, *, detected: bool) -> Follower | None:
        """What tracks instances, which are `detected` or else at given places."""
        if not self.follows:
            return None
        from kptool.predict.following import Follower
        from kptool.predict.smoothing import OneEuro

        gap = GAP if self.gap is None else self.gap
        given = {"cutoff": self.cutoff, "beta": self.beta}
        chosen = {name: value for name, value in given.items() if value is not None}
        return Follower(gap, OneEuro(gap=gap, **chosen) if self.smooths else None, fixed=not detected)

    def open_film(
        self, stack: ExitStack, predictor: Predictor, *, names: bool, circles: bool, world: int
    ) -> VideoOutput | None:
        """The video to write, which is finished when `stack` is closed. Raises ConfigError if it cannot be."""
        if world > 1 and (self.film or self.fps is not None):
            raise ConfigError(
                "frames come in order, so --fps and --out with a video need a single process, without torchrun"
            )
        if self.film is None:
            return None
        from kptool.predict.video_output import drawn

        look = {"label": names, "circles": circles}
        one = drawn(self.film, self.pictures, predictor.names, predictor.tints, fps=self.fps, **look)
        return stack.enter_context(one)


def pictures_only(names: Sequence[str], others: Mapping[str, object]) -> None:
    """Raise ConfigError if --jsonl cannot be written: for videos, whose frames have no files, and with other outputs, which
    would lack the pictures of an earlier run. `others`: these options' values."""
    from kptool.data.video import is_video

    for name, value in others.items():
        if value:
            raise ConfigError(f"--jsonl and {name} cannot be combined; run kptool once for each")
    other = next((name for name in names if is_video(name) or name == "-"), None)
    if other is not None:
        what = "standard input" if other == "-" else f"the video {other}"
        raise ConfigError(f"--jsonl is for files of pictures, not for {what}; --csv and --json print its keypoints")


def with_lines(bar: Progress, tell: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> Progress:
    """`bar`, and where stderr is no terminal, a line on a video's frames every few seconds, given to `tell`."""
    if sys.stderr.isatty():
        return bar
    started: dict[str, float] = {}
    first: dict[str, int] = {}
    last = clock()

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal last
        bar(what, done, total)
        if not what.startswith(FRAMES):
            return
        now = clock()
        begun = started.setdefault(what, now)
        count = done - first.setdefault(what, done)
        if now - last >= _EVERY and count and now > begun:
            last = now
            tell(pace(what, done, total, count / (now - begun)))

    return report


def pace(what: str, done: int, total: int | None, rate: float) -> str:
    """Progress in words, at `rate` frames per second: "frame 240 of 1200 of a.mp4, 34.2 frames/s, 0:28 left"."""
    of = "" if total is None else f" of {total}"
    text = f"{what.replace(FRAMES, f'frame {done}{of}', 1)}, {rate:.1f} frames/s"
    if total is None or rate <= 0:
        return text
    minutes, seconds = divmod(round(max(total - done, 0) / rate), 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
    return f"{text}, {clock} left"


def lines(found: Sequence[PicturePrediction], counted: Callable[[int], str]) -> list[str]:
    """A line for each picture and each video with its number of instances, which `counted` puts into words."""
    groups: dict[str, list[PicturePrediction]] = {}
    for each in found:
        groups.setdefault(each.name if each.frame is None else each.name.rpartition("#")[0] or each.name, []).append(
            each
        )
    return [_line(name, group, counted) for name, group in groups.items()]


def _line(name: str, group: list[PicturePrediction], counted: Callable[[int], str]) -> str:
    faces = [face for each in group for face in each.faces]
    text = f"{name}: {counted(len(faces))}"
    if group[0].frame is None or len(group) == 1:
        return text
    tracks = {face.track for face in faces if face.track is not None}
    return f"{text} in {len(group)} frames" + (f", {len(tracks)} tracks" if tracks else "")
