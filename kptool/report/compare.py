"""Comparison with other toolkits on the same pictures: the faces found, the distances between points, and the time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kptool.base.errors import DataError
from kptool.base.geometry import to_edges
from kptool.base.palette import LEFT, MIDDLE, RIGHT, TRUTH
from kptool.base.version import __version__
from kptool.data.images import DecodedImage
from kptool.data.pictures import InputPicture
from kptool.predict.predictor import Predictor
from kptool.report import charts, html, peers
from kptool.report.canvas import per_cent
from kptool.report.peers import Find, Points
from kptool.report.tiles import FILLED, Key, Tile
from kptool.system.progress import Progress, silent

_SIDE = 240
"""Width of the crops on the page, pixels."""
_WORST = 12
"""Cases shown on the page."""
_EYES = "% of the interocular distance"
_UNIT = f"Distances are in {_EYES}"
_KEYS = (
    Key("kptool, left", LEFT),
    Key("kptool, right", RIGHT),
    Key("kptool, midline", MIDDLE),
    Key("the other toolkit", TRUTH, "hollow"),
    Key("distance", TRUTH, "line"),
)
_SAME_FACE = 0.5
"""Largest mean distance of two toolkits' points that are taken for one face, as a share of the interocular distance."""


@dataclass
class Tally:
    """Results of one toolkit.

    faces: faces found. shared: those of kptool's faces that it found too. milliseconds: time of each picture. apart: by
    keypoint, the distances to kptool's points, as shares of the interocular distance.
    """

    name: str
    faces: int = 0
    shared: int = 0
    milliseconds: list[float] = field(default_factory=list)
    apart: dict[str, list[float]] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Plain values. Distances are shares of the interocular distance."""
        every = [value for values in self.apart.values() for value in values]
        return {
            "name": self.name,
            "faces": self.faces,
            "shared_faces": self.shared,
            "median_ms": float(np.median(self.milliseconds)) if self.milliseconds else None,
            "mean_distance": float(np.mean(every)) if every else None,
            "per_keypoint": {name: float(np.mean(values)) for name, values in self.apart.items()},
        }


@dataclass(frozen=True)
class Case:
    """A face found by both kptool and another toolkit, the mean distance of their points, and a crop with both."""

    picture: str
    other: str
    distance: float
    crop: Tile


def compare(
    predictor: Predictor,
    pictures: Iterable[InputPicture],
    others: Sequence[str],
    *,
    total: int | None = None,
    progress: Progress = silent,
) -> tuple[list[Tally], list[Case]]:
    """Run kptool and the toolkits `others` on pictures; the cases are those with the largest distances, worst first.

    One picture is in memory at a time; pictures without pixels are skipped. Raises ConfigError if a toolkit is not
    installed, DataError if no picture can be read.
    """
    finders: dict[str, Find] = {"kptool": _finder(predictor), **{name: peers.load(name) for name in others}}
    tallies = {name: Tally(name) for name in finders}
    cases: list[Case] = []
    tints = dict(zip(predictor.names, predictor.tints, strict=True))
    done = 0
    for picture in pictures:
        if picture.pixels is None:
            continue
        colour = np.asarray(Image.fromarray(picture.pixels).convert("RGB"))
        found = {name: _timed(find, colour, tallies[name], warm=done == 0) for name, find in finders.items()}
        for name in others:
            cases += _pair(picture.name, colour, (found["kptool"], found[name]), tallies[name], tints)
        cases = sorted(cases, key=lambda case: -case.distance)[:_WORST]
        done += 1
        progress("pictures", done, total)
    if not done:
        raise DataError("none of the pictures can be read; there is nothing to compare")
    return list(tallies.values()), cases


def _finder(predictor: Predictor) -> Find:
    """kptool as a finder like those of the other toolkits."""

    def find(image: NDArray[np.uint8]) -> list[Points]:
        faces = predictor.predict(DecodedImage(image))
        pairs = [zip(predictor.names, face.keypoints.astype(np.float64), strict=True) for face in faces]
        return [{name: point for name, point in each if np.isfinite(point).all()} for each in pairs]

    return find


def _timed(find: Find, image: NDArray[np.uint8], tally: Tally, *, warm: bool) -> list[Points]:
    """Run a toolkit on a picture and tally its time and faces; `warm` runs it once more before."""
    if warm:
        find(image)  # warm-up: first calls load models and allocate
    started = time.perf_counter()
    found = find(image)
    tally.milliseconds.append(1e3 * (time.perf_counter() - started))
    tally.faces += len(found)
    return found


def _pair(
    picture: str,
    image: NDArray[np.uint8],
    found: tuple[list[Points], list[Points]],
    tally: Tally,
    tints: Mapping[str, str],
) -> list[Case]:
    """Match the faces of two toolkits by their points, tally the distances, and return a case for each match."""
    cases, (ours, theirs) = [], found
    for mine in ours:
        near = [(distances(mine, other), other) for other in theirs]
        near = [(apart, other) for apart, other in near if apart and np.mean(list(apart.values())) < _SAME_FACE]
        if not near:
            continue
        apart, other = min(near, key=lambda pair: float(np.mean(list(pair[0].values()))))
        tally.shared += 1
        for name, value in apart.items():
            tally.apart.setdefault(name, []).append(value)
        cases.append(Case(picture, tally.name, float(np.mean(list(apart.values()))), _crop(image, mine, other, tints)))
    return cases


def distances(a: Points, b: Points) -> dict[str, float]:
    """Distances of points of the same name, over the interocular distance in `a`; empty if `a` lacks the eyes."""
    if not {"left_eye_center", "right_eye_center"} <= set(a):
        return {}
    eyes = float(np.linalg.norm(a["left_eye_center"] - a["right_eye_center"]))
    return {name: float(np.linalg.norm(a[name] - b[name])) / max(eyes, 1e-9) for name in a if name in b}


def _crop(image: NDArray[np.uint8], ours: Points, theirs: Points, tints: Mapping[str, str]) -> Tile:
    """A square crop of the face, with kptool's points in their colours and, joined to them, the other toolkit's in white."""
    points = np.array([*ours.values(), *theirs.values()])
    middle, reach = (points.min(0) + points.max(0)) / 2, max(float(np.ptp(points, axis=0).max()) * 0.75, 4.0)
    low, scale = middle - reach, _SIDE / (2 * reach)
    box = tuple(float(v) for v in (*to_edges(low), *to_edges(low + 2 * reach)))
    crop = Image.fromarray(image).transform((_SIDE, _SIDE), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
    names = list(ours)
    mine = (np.array(list(ours.values())) - low) * scale
    other = np.array([theirs.get(name, np.full(2, np.nan)) for name in names])
    truth = (other - low) * scale
    levels, tint = np.full(len(names), FILLED), [tints.get(name, MIDDLE) for name in names]
    return Tile(np.asarray(crop), "", mine, levels, tint, names, truth=truth)


def write_page(tallies: Sequence[Tally], cases: Sequence[Case], pictures: int, model: str) -> str:
    """The comparison as a self-contained HTML page; `model` describes kptool's model."""
    rows = [tally.describe() for tally in tallies]
    about = (
        f"{pictures} pictures, {model}; kptool {__version__}. Milliseconds are the median time per picture to find faces"
        " and predict points, with each toolkit's default number of threads. Distances are from kptool's points, as shares"
        " of the interocular distance; the toolkits' definitions of a keypoint differ slightly."
    )
    parts = [
        html.heading(f"kptool beside {', '.join(tally.name for tally in tallies[1:])}", level=1),
        html.paragraph(about),
        html.heading("Toolkits"),
        _toolkits(rows),
        *_by_keypoint(rows[1:], pictures),
        html.heading("Largest distances"),
        html.tiles(
            [replace(each.crop, caption=_caption(each)) for each in cases], _KEYS, f"{_UNIT}, averaged over a face."
        ),
    ]
    return html.standalone("kptool compare", parts)


def _caption(case: Case) -> str:
    return f"{case.picture}, {case.other}: {case.distance:.1%}"


def _by_keypoint(rows: Sequence[dict[str, Any]], pictures: int) -> list[str]:
    """The part on single keypoints, if any face was found by two toolkits."""
    apart = {row["name"]: row["per_keypoint"] for row in rows if row["per_keypoint"]}
    if not apart:
        return []
    note = f"Means over the faces that both found in {pictures} pictures. {_UNIT}."
    chart = charts.keypoint_bars(apart, unit=f"distance from kptool's points, {_EYES}", note=note)
    for axis in chart.axes:
        axis.xaxis.set_major_formatter(per_cent())
    title = "Distance from kptool's points, by keypoint"
    return [html.heading(title), html.chart(chart, title), _keypoints(rows)]


def _toolkits(rows: Sequence[dict[str, Any]]) -> str:
    """The table of toolkits; the first row is kptool's."""
    cells = []
    for row in rows:
        shared = "" if row is rows[0] else str(row["shared_faces"])
        distance = "" if row["mean_distance"] is None else f"{row['mean_distance']:.1%}"
        cells.append((row["name"], str(row["faces"]), shared, f"{row['median_ms']:.1f}", distance))
    heads = ("toolkit", "faces found", "of kptool's", "ms per picture", "mean distance")
    return html.wide_table(heads, cells, "faces, time and distances by toolkit")


def _keypoints(rows: Sequence[dict[str, Any]]) -> str:
    """The table of keypoints, one column per toolkit."""
    names = sorted({name for row in rows for name in row["per_keypoint"]})
    columns = [row["per_keypoint"] for row in rows]
    cells = [(name, *(f"{column[name]:.1%}" if name in column else "-" for column in columns)) for name in names]
    return html.wide_table(("keypoint", *(row["name"] for row in rows)), cells, "mean distances by keypoint")
