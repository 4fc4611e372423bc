"""Follows instances through a video: gives them numbers, and smooths their keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kptool.data.pictures import InputPicture
from kptool.predict.instances import Instance
from kptool.predict.smoothing import OneEuro, Smoother
from kptool.predict.tracking import Tracker, extent


class Follower:
    """Tracks, and if wanted smooths, the instances of videos or picture sequences; call it for every frame in order.

    gap: see `Tracker`. smooth: settings of the filter, or None. fixed: instances are numbered in the order given, because they
    were not detected: there is one per box, or one per picture.
    """

    def __init__(self, gap: float = 1.0, smooth: OneEuro | None = None, *, fixed: bool = False) -> None:
        self._gap, self._smooth, self._fixed = gap, smooth, fixed
        self._begin("")

    def _begin(self, video: str) -> None:
        self._video, self._tracker = video, Tracker(self._gap)
        self._smoothers: dict[int, Smoother] = {}

    def __call__(self, picture: InputPicture, faces: Sequence[Instance]) -> list[Instance]:
        """The instances of a frame, which has a time, with `track`, and with smoothed `keypoints` and the given ones as `raw`."""
        assert picture.time is not None
        if picture.video != self._video:
            self._begin(picture.video)
        numbers = list(range(len(faces))) if self._fixed else self._tracker.update(faces, picture.time)
        tracked = [replace(face, track=number) for face, number in zip(faces, numbers, strict=True)]
        return tracked if self._smooth is None else [self._smoothed(face, picture.time) for face in tracked]

    def _smoothed(self, face: Instance, time: float) -> Instance:
        assert face.track is not None
        assert self._smooth is not None
        smoother = self._smoothers.setdefault(face.track, Smoother(self._smooth, len(face.keypoints)))
        points = smoother.update(face.keypoints, face.scores, extent(face), time)
        return replace(face, keypoints=points, raw=face.keypoints)
