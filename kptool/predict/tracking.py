"""Gives every instance of a video a number that stays with it from frame to frame.

Each track predicts where its keypoints are by now, from its last position and a constant velocity that fades out. Instances
are assigned to tracks so that the total distance to these predictions is least (Kuhn, The Hungarian method for the assignment
problem, 1955). Distances are between corresponding keypoints, relative to the instance's extent: unlike the overlap of
boxes they tell two instances apart that lie on top of each other, and they remain informative without any overlap. The
best total rather than the best pair first, because in a crowd the best pair may leave a track only an instance that
belongs to another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Box

Array = NDArray[np.float64]

_STEADY = 0.1
"""Time constant of a velocity's average, seconds."""
_FADE = 0.5
"""Time constant with which a track that is not seen comes to rest, as a share of the longest gap."""
_DRIFT = 0.5
"""How much farther a track may be found that is not seen, as a share of the way at its last velocity."""
_RESIZE = 0.5
"""Time constant of an extent's average, seconds."""
_SIZE_WEIGHT, _AGE_WEIGHT = 0.5, 0.25
"""Costs of a change in extent by a factor e, and of a track that has not been seen for as long as allowed."""


class Tracked(Protocol):
    """A box and keypoints (K, 2), in pixels; unknown keypoints are NaN."""

    @property
    def box(self) -> Box: ...
    @property
    def keypoints(self) -> NDArray[np.float32]: ...


def extent(instance: Tracked) -> float:
    """The size of an instance in pixels: the diagonal of its keypoints' bounding box.

    With fewer than two known keypoints, the geometric mean of the box's width and height.
    """
    known = instance.keypoints[np.isfinite(instance.keypoints).all(1)]
    diagonal = math.hypot(*np.ptp(known, axis=0)) if len(known) > 1 else 0.0
    return diagonal or math.sqrt(instance.box[2] * instance.box[3])


@dataclass
class _Track:
    """points: (K + 1, 2), the keypoints and the box's centre when last seen at `time`. velocity: pixels per second."""

    number: int
    time: float
    points: Array
    size: float
    velocity: Array | None = None

    def predicted(self, time: float, fade: float) -> Array:
        """Where the points are expected at a time, if the velocity falls to 1/e in `fade` seconds."""
        if self.velocity is None:
            return self.points
        return self.points + self.velocity * fade * (1 - math.exp((self.time - time) / fade))

    def drift(self, hidden: float) -> float:
        """How much farther from there they may be, pixels, after being `hidden` for as many seconds."""
        return 0.0 if self.velocity is None else _DRIFT * hidden * math.hypot(*self.velocity)

    def see(self, points: Array, size: float, time: float) -> None:
        """Continue with what was seen of this instance at `time`."""
        step = time - self.time
        if step > 0:
            moved = np.asarray(np.nanmean(points - self.points, axis=0)) / step
            before = moved if self.velocity is None else self.velocity
            self.velocity = before + (moved - before) * (1 - math.exp(-step / _STEADY))
        self.size += (size - self.size) * (1 - math.exp(-max(step, 0) / _RESIZE))
        self.points, self.time = points, time


class Tracker:
    """Numbers the instances of one video, from 0 in order of appearance.

    gap: the longest time, in seconds, for which an instance may be out of sight and keep its number; from one frame to the
    next it always may. reach: the largest
    distance from the predicted position at which an instance can continue a track, in extents (see `extent`). It is the root
    mean square over the keypoints; changes in extent and the time out of sight add to it, and with the latter grows what an
    extent is taken to be.
    """

    def __init__(self, gap: float = 1.0, reach: float = 1.0) -> None:
        self._gap, self._reach = gap, reach
        self._tracks: list[_Track] = []
        self._next, self._before = 0, -math.inf

    def update(self, instances: Sequence[Tracked], time: float) -> list[int]:
        """The number of each instance of the frame at `time`, in seconds; frames come in order."""
        self._tracks = [each for each in self._tracks if each.time == self._before or time - each.time <= self._gap]
        points = [_points(instance) for instance in instances]
        sizes = [extent(instance) for instance in instances]
        found = list(zip(points, sizes, strict=True))
        costs = np.array([[self._cost(*seen, track, time) for seen in found] for track in self._tracks])
        matched = {column: self._tracks[row] for row, column in assign(costs, self._reach)} if costs.size else {}
        numbers = []
        for column, (place, size) in enumerate(found):
            track = matched.get(column)
            if track is None:
                track = _Track(self._next, time, place, size)
                self._tracks.append(track)
                self._next += 1
            else:
                track.see(place, size, time)
            numbers.append(track.number)
        self._before = time
        return numbers

    def _cost(self, points: Array, size: float, track: _Track, time: float) -> float:
        """How ill an instance continues a track."""
        hidden = max(self._before - track.time, 0)
        squares = ((points - track.predicted(time, max(_FADE * self._gap, _STEADY))) ** 2).sum(1)
        distance = math.sqrt(float(np.nanmean(squares))) / (math.sqrt(size * track.size) + track.drift(hidden))
        age = hidden / self._gap if hidden else 0.0
        return distance + _SIZE_WEIGHT * abs(math.log(size / track.size)) + _AGE_WEIGHT * age


def _points(instance: Tracked) -> Array:
    """Keypoints and the box's centre (K + 1, 2), so that at least one is known."""
    x, y, width, height = instance.box
    return np.vstack([instance.keypoints.astype(np.float64), [[x + width / 2 - 0.5, y + height / 2 - 0.5]]])


def assign(costs: Array, limit: float) -> list[tuple[int, int]]:
    """The pairs (row, column) of a matrix for which the sum of costs is least; every row and column is in at most one pair.

    A row and a column that are left out cost `limit`, so no pair costs as much. Shortest augmenting paths with potentials, in
    O(rows^2 columns) (Jonker and Volgenant, A shortest augmenting path algorithm, 1987); exact.
    """
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T, limit))
    rows, columns = costs.shape
    clipped = np.minimum(np.nan_to_num(costs, nan=limit, posinf=limit), limit)
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    owner = np.full(columns + 1, -1)  # the row of each column; the last column is where a search starts
    for row in range(rows):
        owner[columns], column = row, columns
        least, visited = np.full(columns + 1, np.inf), np.zeros(columns + 1, bool)
        back = np.full(columns + 1, columns)
        while owner[column] >= 0:
            visited[column] = True
            current = owner[column]
            reduced = clipped[current] - row_price[current] - column_price[:columns]
            better = ~visited[:columns] & (reduced < least[:columns])
            least[:columns][better], back[:columns][better] = reduced[better], column
            target = int(np.argmin(np.where(visited, np.inf, least)[:columns]))
            delta = least[target]
            row_price[owner[visited]] += delta
            column_price[visited] -= delta
            least[~visited] -= delta
            column = target
        while column != columns:
            owner[column] = owner[back[column]]
            column = int(back[column])
    pairs = ((int(row), column) for column, row in enumerate(owner[:columns]) if row >= 0)
    return sorted((row, column) for row, column in pairs if costs[row, column] < limit)
