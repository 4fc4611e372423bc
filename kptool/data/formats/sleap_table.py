"""SLEAP's analysis csv of one video: track, frame_idx, instance.score, and x, y and score of each node.

Instances that somebody labelled have no score. The video is not named in the file but in the file's name,
LABELS.000_VIDEO.analysis.csv. An integer is a pixel's centre.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.system.text import first_line, numbers, pad_rows, read_rows

_HEAD = ("track", "frame_idx", "instance.score")
_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Table:
    """names: of the K nodes. frames: int64 (n,), from 0. points: (n, K, 2), NaN if missing. predicted: bool (n,). tracks: the
    number of tracks that are named."""

    names: tuple[str, ...]
    frames: NDArray[np.int64]
    points: NDArray[np.float64]
    predicted: NDArray[np.bool_]
    tracks: int


def matches(path: Path) -> bool:
    """Whether `path` is a csv with SLEAP's columns."""
    if path.suffix.lower() != ".csv":
        return False
    columns = first_line(path).replace('"', "").split(",")
    return set(_HEAD[1:]) <= set(columns)


def read(path: Path) -> Table:
    """The instances of all frames. Raises DataError, naming the line, for cells that are no numbers."""
    rows, _ = read_rows(path, _MAX_BYTES)
    header = rows[0][1]
    names = tuple(dict.fromkeys(name[:-2] for name in header if name.endswith(".x")))
    lacking = [column for column in (*_HEAD, *(f"{name}.y" for name in names)) if column not in header]
    if lacking or not names or len(set(header)) < len(header):
        what = f"has no column {lacking[0]}" if lacking else "has no columns NAME.x and NAME.y, or one of them twice"
        raise DataError(f"{path} {what}; export the analysis csv again from SLEAP")
    cells, _ = pad_rows(path, rows[1:], len(header))
    texts = np.array(cells, object).reshape(len(cells), len(header))
    places = [header.index(f"{name}.{axis}") for name in names for axis in "xy"]
    wanted = [header.index("frame_idx"), header.index("instance.score"), *places]
    values, wrong = numbers(texts[:, wanted], False)
    wrong[:, 0] |= ~(values[:, 0] >= 0) | (values[:, 0] % 1 != 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}, line {rows[1 + row][0]}: {header[wanted[column]]} is {texts[row, wanted[column]][:40]!r}, expected a"
            " number; export the analysis csv again from SLEAP"
        )
    points = values[:, 2:].reshape(len(cells), len(names), 2)
    tracks = len(set(texts[:, header.index("track")].tolist()) - {""})
    return Table(names, values[:, 0].astype(np.int64), points, np.isfinite(values[:, 1]), tracks)


def video_name(path: Path) -> str:
    """The stem of the video that the file's name states; "" if it states none."""
    found = re.search(r"\.\d{3}_(.+)\.analysis$", path.stem)
    return found[1] if found else ""
