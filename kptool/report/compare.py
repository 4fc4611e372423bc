"""Comparison with other toolkits on the same pictures: the faces found, the distances between points, and the time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kptool.base.errors import DataError
from kptool.base.geometry import to_edges
from kptool.base.version import __version__
from kptool.data.images import DecodedImage
from kptool.data.pictures import InputPicture
from kptool.predict.predictor import Predictor
from kptool.report import html, peers
from kptool.report.peers import Find, Points
from kptool.system.progress import Progress, silent

_OURS, _THEIRS = "#ff9f1c", "#2ec4b6"
_WORST = 12
"""Cases shown on the page."""
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
    """A face found by both kptool and another toolkit, and the mean distance of their points."""

    picture: str
    other: str
    distance: float
    crop: Image.Image


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
    done = 0
    for picture in pictures:
        if picture.pixels is None:
            continue
        colour = np.asarray(Image.fromarray(picture.pixels).convert("RGB"))
        found = {name: _timed(find, colour, tallies[name], warm=done == 0) for name, find in finders.items()}
        for name in others:
            cases += _pair(picture.name, colour, found["kptool"], found[name], tallies[name])
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


def _pair(picture: str, image: NDArray[np.uint8], ours: list[Points], theirs: list[Points], tally: Tally) -> list[Case]:
    """Match the faces of two toolkits by their points, tally the distances, and return a case for each match."""
    cases = []
    for mine in ours:
        near = [(distances(mine, other), other) for other in theirs]
        near = [(apart, other) for apart, other in near if apart and np.mean(list(apart.values())) < _SAME_FACE]
        if not near:
            continue
        apart, other = min(near, key=lambda pair: float(np.mean(list(pair[0].values()))))
        tally.shared += 1
        for name, value in apart.items():
            tally.apart.setdefault(name, []).append(value)
        cases.append(Case(picture, tally.name, float(np.mean(list(apart.values()))), _draw(image, mine, other)))
    return cases


def distances(a: Points, b: Points) -> dict[str, float]:
    """Distances of points of the same name, over the interocular distance in `a`; empty if `a` lacks the eyes."""
    if not {"left_eye_center", "right_eye_center"} <= set(a):
        return {}
    eyes = float(np.linalg.norm(a["left_eye_center"] - a["right_eye_center"]))
    return {name: float(np.linalg.norm(a[name] - b[name])) / max(eyes, 1e-9) for name in a if name in b}


def _draw(image: NDArray[np.uint8], ours: Points, theirs: Points, side: int = 240) -> Image.Image:
    """A square crop of the face, `side` pixels wide, with kptool's points filled and the other toolkit's hollow."""
    points = np.array([*ours.values(), *theirs.values()])
    middle, reach = (points.min(0) + points.max(0)) / 2, max(float(np.ptp(points, axis=0).max()) * 0.75, 4.0)
    low = middle - reach
    box = tuple(float(v) for v in (*to_edges(low), *to_edges(low + 2 * reach)))
    crop = Image.fromarray(image).transform((side, side), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
    pen, scale = ImageDraw.Draw(crop), side / (2 * reach)
    for kind, colour, fill in ((theirs, _THEIRS, None), (ours, _OURS, _OURS)):
        for point in kind.values():
            x, y = (point - low) * scale
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=colour, fill=fill, width=2)
    return crop


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
        _toolkits(rows),
        html.heading("Distance from kptool's points, by keypoint"),
        _keypoints(rows[1:]),
        html.heading("Largest distances"),
        html.paragraph("kptool's points are filled, orange; the other toolkit's are hollow, teal."),
        *(html.captioned(each.crop, f"{each.picture}, {each.other}: {each.distance:.1%}") for each in cases),
    ]
    return html.standalone("kptool compare", parts)


def _toolkits(rows: Sequence[dict[str, Any]]) -> str:
    """The table of toolkits; the first row is kptool's."""
    cells = []
    for row in rows:
        shared = "" if row is rows[0] else str(row["shared_faces"])
        distance = "" if row["mean_distance"] is None else f"{row['mean_distance']:.1%}"
        cells.append((row["name"], str(row["faces"]), shared, f"{row['median_ms']:.1f}", distance))
    return html.table(("toolkit", "faces found", "of kptool's", "ms per picture", "mean distance"), cells)


def _keypoints(rows: Sequence[dict[str, Any]]) -> str:
    """The table of keypoints, one column per toolkit."""
    names = sorted({name for row in rows for name in row["per_keypoint"]})
    columns = [row["per_keypoint"] for row in rows]
    cells = [(name, *(f"{column[name]:.1%}" if name in column else "-" for column in columns)) for name in names]
    return html.table(("keypoint", *(row["name"] for row in rows)), cells)
