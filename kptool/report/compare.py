"""kptool beside other toolkits on the same pictures: which faces each finds, how far their points lie apart, how long
each takes, and how far each is from the truth where that is known."""

from __future__ import annotations

import base64
import html
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kptool.base.errors import DataError
from kptool.base.version import __version__
from kptool.data.images import DecodedImage
from kptool.data.pictures import InputPicture
from kptool.predict.predictor import Predictor
from kptool.report import peers
from kptool.report.peers import Find, Points
from kptool.system.progress import Progress, silent

_COLOURS = ("#ff9f1c", "#2ec4b6", "#f15bb5")
_WORST = 12
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #d1d9e0; text-align: right }
th:first-child, td:first-child { text-align: left }
figure { display: inline-block; margin: .5rem }
figcaption { font-size: 13px }
"""


@dataclass
class Tally:
    """What one toolkit did: faces found, milliseconds for each picture, distances by name over the eyes' distance."""

    name: str
    faces: int = 0
    shared: int = 0
    milliseconds: list[float] = field(default_factory=list)
    apart: dict[str, list[float]] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Plain values. Distances are shares of the distance between the eyes' centres."""
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
    """A face that both kptool and another toolkit found, and how far their points lie apart on average."""

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
    """Run kptool and `others` on pictures, one at a time; the cases are those farthest apart, worst first.

    One picture is in memory at a time. What cannot be read is passed over. Raises ConfigError for a toolkit that is not
    there, DataError where no picture can be read.
    """
    finders: dict[str, Find] = {"kptool": _ours(predictor), **{name: peers.load(name) for name in others}}
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


def _ours(predictor: Predictor) -> Find:
    def find(image: NDArray[np.uint8]) -> list[Points]:
        faces = predictor.predict(DecodedImage(image))
        pairs = [zip(predictor.names, face.keypoints.astype(np.float64), strict=True) for face in faces]
        return [{name: point for name, point in each if np.isfinite(point).all()} for each in pairs]

    return find


def _timed(find: Find, image: NDArray[np.uint8], tally: Tally, *, warm: bool) -> list[Points]:
    if warm:
        find(image)  # the first call loads and allocates, whoever it is
    started = time.perf_counter()
    found = find(image)
    tally.milliseconds.append(1e3 * (time.perf_counter() - started))
    tally.faces += len(found)
    return found


def _pair(picture: str, image: NDArray[np.uint8], ours: list[Points], theirs: list[Points], tally: Tally) -> list[Case]:
    """Match faces by their points, count them, and make a case of each."""
    cases = []
    for mine in ours:
        near = [(distances(mine, other), other) for other in theirs]
        near = [(apart, other) for apart, other in near if apart and np.mean(list(apart.values())) < 0.5]
        if not near:
            continue
        apart, other = min(near, key=lambda pair: float(np.mean(list(pair[0].values()))))
        tally.shared += 1
        for name, value in apart.items():
            tally.apart.setdefault(name, []).append(value)
        cases.append(Case(picture, tally.name, float(np.mean(list(apart.values()))), _draw(image, mine, other)))
    return cases


def distances(a: Points, b: Points) -> dict[str, float]:
    """How far points of the same name lie apart, over the distance of the eyes' centres in `a`; empty without eyes."""
    if not {"left_eye_center", "right_eye_center"} <= set(a):
        return {}
    eyes = float(np.linalg.norm(a["left_eye_center"] - a["right_eye_center"]))
    return {name: float(np.linalg.norm(a[name] - b[name])) / max(eyes, 1e-9) for name in a if name in b}


def _draw(image: NDArray[np.uint8], ours: Points, theirs: Points, side: int = 240) -> Image.Image:
    """The face with both toolkits' points: ours filled, theirs hollow."""
    points = np.array([*ours.values(), *theirs.values()])
    middle, reach = (points.min(0) + points.max(0)) / 2, max(float(np.ptp(points, axis=0).max()) * 0.75, 4.0)
    low = middle - reach
    box = tuple(float(v) for v in (*(low + 0.5), *(low + 2 * reach + 0.5)))
    crop = Image.fromarray(image).transform((side, side), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
    pen, scale = ImageDraw.Draw(crop), side / (2 * reach)
    for kind, colour, fill in ((theirs, _COLOURS[1], None), (ours, _COLOURS[0], _COLOURS[0])):
        for point in kind.values():
            x, y = (point - low) * scale
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=colour, fill=fill, width=2)
    return crop


def write_page(tallies: Sequence[Tally], cases: Sequence[Case], pictures: int, model: str) -> str:
    """One self-contained HTML page."""
    rows = [tally.describe() for tally in tallies]
    parts = [
        f"<h1>kptool beside {html.escape(', '.join(t.name for t in tallies[1:]))}</h1>",
        f"<p>{pictures} pictures, {html.escape(model)}; kptool {__version__}. Milliseconds for each picture, faces found"
        " and points predicted, the median, with as many threads as each likes. Distances from kptool's points are"
        " shares of the distance between the eyes; the toolkits do not mean quite the same by every name.</p>",
        _table(rows),
        "<h2>Point by point, distance from kptool's</h2>",
        _keypoints(rows[1:]),
        "<h2>Farthest apart</h2><p>kptool's points filled, orange; the other's hollow, teal.</p>",
        *(_figure(case) for case in cases),
    ]
    return f'<!doctype html><meta charset="utf-8"><title>kptool compare</title><style>{_STYLE}</style>' + "\n".join(
        parts
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["<tr><th>toolkit<th>faces found<th>of kptool's<th>ms a picture<th>mean distance"]
    for row in rows:
        first = row["name"] == "kptool"
        shared = "" if first else str(row["shared_faces"])
        distance = "" if row["mean_distance"] is None else f"{row['mean_distance']:.1%}"
        lines.append(f"<tr><td>{row['name']}<td>{row['faces']}<td>{shared}<td>{row['median_ms']:.1f}<td>{distance}")
    return f"<table>{''.join(lines)}</table>"


def _keypoints(rows: Sequence[Mapping[str, Any]]) -> str:
    names = sorted({name for row in rows for name in row["per_keypoint"]})
    lines = ["<tr><th>keypoint" + "".join(f"<th>{row['name']}" for row in rows)]
    for name in names:
        cells = (row["per_keypoint"].get(name) for row in rows)
        lines.append(f"<tr><td>{html.escape(name)}" + "".join("<td>-" if c is None else f"<td>{c:.1%}" for c in cells))
    return f"<table>{''.join(lines)}</table>"


def _figure(case: Case) -> str:
    buffer = io.BytesIO()
    case.crop.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(f"{case.picture}, {case.other}: {case.distance:.1%}")
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
