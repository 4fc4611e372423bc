"""Output formats of predictions: plain values, csv, COCO json and heatmaps.

Coordinates are in pixels of the given picture: x to the right, y down, an integer is a pixel's centre. COCO boxes are
the exception: they are measured from the picture's edges, as COCO defines them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kptool.base.geometry import Size, to_edges
from kptool.base.skeleton import UNLABELLED, VISIBLE
from kptool.base.version import __version__
from kptool.predict.instances import Instance
from kptool.predict.predictor import Predictor
from kptool.system.files import atomic, write_text
from kptool.system.printable import printable

if TYPE_CHECKING:
    import h5py

    from kptool.system.hdf5 import NewFile

CONVENTION = "pixels of the given picture; x to the right, y down; an integer is a pixel's centre"
COLUMNS = ("file", "face", "keypoint", "x", "y", "score", "radius90", "frame", "time")
TRACK, RAW = ("track",), ("x_raw", "y_raw")
"""Further columns, if instances are tracked and if keypoints are smoothed."""


@dataclass(frozen=True)
class PicturePrediction:
    """The instances of one picture of `size` (H, W), of faces or other things. `frame` (number) and `time` (seconds) are set
    for video frames."""

    name: str
    size: tuple[int, int]
    faces: list[Instance]
    frame: int | None = None
    time: float | None = None

    def describe(self, names: Sequence[str], key: str = "faces") -> dict[str, Any]:
        """Plain values, as printed by ``kptool predict --json``; `key` is the name of the list of instances.

        It is repeated under "faces", its only name in kptool 0.1.
        """
        faces = [
            {
                "box": [round(v, 4) for v in face.box],
                **_score(face),
                "keypoints": [
                    {**point, **ellipse} for point, ellipse in zip(_points(face, names), _ellipses(face), strict=True)
                ],
                **_followed(face),
            }
            for face in self.faces
        ]
        about = {
            "file": self.name,
            "width": self.size[1],
            "height": self.size[0],
            "frame": self.frame,
            "time": self.time,
        }
        return {**about, key: faces, "faces": faces}


def _score(face: Instance) -> dict[str, float]:
    """The score with which an instance was found, if it was searched for."""
    return {} if face.score is None else {"score": round(face.score, 4)}


def _followed(face: Instance) -> dict[str, Any]:
    """The instance's number in its video, and its keypoints before smoothing, if it was tracked and smoothed."""
    track = {} if face.track is None else {"track": face.track}
    return track if face.raw is None else {**track, "raw": [[_number(v) for v in point] for point in face.raw]}


def _points(face: Instance, names: Sequence[str]) -> list[dict[str, Any]]:
    """Name, x, y, score and radius90 of each keypoint; an absent one has only a score, and one that was not learnt nothing."""
    finite = np.isfinite(face.keypoints).all(1)
    scored = np.asarray(finite if face.absent is None else finite | face.absent)
    return [
        {
            "name": name,
            "x": _number(x),
            "y": _number(y),
            "score": _number(score) if known else None,
            "radius90": _number(radius),
        }
        for name, (x, y), score, radius, known in zip(
            names, face.keypoints, face.scores, face.radius90, scored, strict=True
        )
    ]


def _ellipses(face: Instance) -> list[dict[str, Any]]:
    """For each keypoint its `ellipse90`, if it has one."""
    if face.ellipse90 is None:
        return [{} for _ in face.keypoints]
    keys = ("major", "minor", "angle")
    return [
        {} if np.isnan(each).any() else {"ellipse90": dict(zip(keys, map(_number, each), strict=True))}
        for each in face.ellipse90
    ]


def _number(value: float) -> float | None:
    """Rounded to 4 decimals; None for NaN, i.e. a value that the model does not provide."""
    return None if np.isnan(value) else round(float(value), 4)


def rows(found: Sequence[PicturePrediction], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """One row of `COLUMNS`, and `TRACK` and `RAW` if there are, per keypoint; unknown values are empty."""
    for each in found:
        for number, face in enumerate(each.faces):
            for index, point in enumerate(_points(face, names)):
                more: tuple[float | None, ...] = () if face.track is None else (face.track,)
                more += () if face.raw is None else tuple(map(_number, face.raw[index]))
                cells = (printable(each.name), number, *point.values(), each.frame, each.time, *more)
                yield tuple("" if cell is None else cell for cell in cells)


def csv_text(found: Sequence[PicturePrediction], names: Sequence[str], column: str = "face") -> str:
    """The `rows` as csv, with a header in which `column` is the name of the instance's number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    faces = [face for each in found for face in each.faces]
    tracked, smoothed = any(face.track is not None for face in faces), any(face.raw is not None for face in faces)
    columns = [column if name == "face" else name for name in COLUMNS]
    writer.writerow([*columns, *TRACK * tracked, *RAW * smoothed])
    writer.writerows(rows(found, names))
    return text.getvalue()


def write_coco(path: Path, found: Sequence[PicturePrediction], predictor: Predictor) -> None:
    """Write COCO's keypoint format: one category, one annotation per instance; keypoints have `v` 2, or 0 if they are absent or
    the model has not learnt them.

    Boxes are measured from the picture's edges, keypoints, as in all outputs, from the first pixel's centre. An
    annotation's score is its instance's `confidence`.
    """
    about = f"{CONVENTION}; boxes from the picture's edges"
    document: dict[str, Any] = {
        "info": {
            "description": f"predicted by kptool {__version__} with {printable(predictor.origin)}",
            "coordinates": about,
            "points": predictor.points,
            "labels": predictor.shift.describe(),
            "scores": predictor.scores,
            "min_score": predictor.min_score,
        },
        "images": [],
        "annotations": [],
        "categories": [_category(predictor)],
    }
    for image_id, each in enumerate(found, start=1):
        height, width = each.size
        image = {"id": image_id, "file_name": printable(each.name), "width": width, "height": height}
        document["images"].append(image if each.frame is None else {**image, "frame": each.frame, "time": each.time})
        for face in each.faces:
            known = np.asarray(np.isfinite(face.keypoints).all(1))
            points = np.where(known[:, None], face.keypoints.round(4), 0).tolist()
            marks = np.where(known, VISIBLE, UNLABELLED).tolist()
            flat = [v for (x, y), seen in zip(points, marks, strict=True) for v in (round(x, 4), round(y, 4), seen)]
            box = [round(value, 4) for value in (*to_edges(np.array(face.box[:2])).tolist(), *face.box[2:])]
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "keypoints": flat,
                    "num_keypoints": int(known.sum()),
                    "bbox": box,
                    "area": round(box[2] * box[3], 4),
                    "iscrowd": 0,
                    "score": round(face.confidence, 4),
                    **({} if face.track is None else {"track_id": face.track}),
                }
            )
    write_text(path, json.dumps(document) + "\n")


def _category(predictor: Predictor) -> dict[str, Any]:
    """COCO's category: the thing's name, the keypoints and edges, numbered from 1, and `flip_pairs`, indices from 0, with which
    kptool extends the format."""
    name, config = predictor.thing.name, predictor.card.config
    return {
        "id": 1,
        "name": name,
        "supercategory": "person" if name == "face" else name,
        "keypoints": list(predictor.names),
        "skeleton": [[a + 1, b + 1] for a, b in predictor.card.edges],
        **({"flip_pairs": [list(pair) for pair in config.flip_pairs]} if config.mirror else {}),
    }


class HeatmapFile:
    """An HDF5 file of heatmaps and the keypoints decoded from them, written instance by instance.

    /heatmaps float16 (F, K, h, w) for F instances; /keypoints float32 (F, K, 2), /scores and /radius90 float32 (F, K);
    /affine float64 (F, 2, 3), picture's pixels -> pixels of the model's input; /file, the name of each one's picture.
    The heatmaps are the model's raw output: they include the vertical offset of its labels, but not the horizontal one.
    """

    def __init__(self, file: NewFile, predictor: Predictor, maps: Size) -> None:
        import h5py

        self._file, count = file, len(predictor.names)
        about: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
            "heatmaps": ((count, *maps), np.float16, {"compression": "gzip", "compression_opts": 1}),
            "keypoints": ((count, 2), np.float32, {}),
            "scores": ((count,), np.float32, {}),
            "radius90": ((count,), np.float32, {}),
            "affine": ((2, 3), np.float64, {}),
            "file": ((), h5py.string_dtype(), {}),
        }
        with file.writing():
            file.attrs["coordinates"] = CONVENTION
            file.attrs["model"], file.attrs["points"] = printable(predictor.origin), predictor.points
            file.attrs["labels"] = json.dumps(predictor.shift.describe())
            file.attrs["names"] = json.dumps(list(predictor.names))
            file.attrs["image_size"] = predictor.card.config.size
            self._sets: dict[str, h5py.Dataset] = {
                key: file.create_dataset(
                    key,
                    (0, *shape),
                    kind,
                    maxshape=(None, *shape),
                    chunks=(1 if len(shape) == 3 else 64, *shape),
                    **more,
                )
                for key, (shape, kind, more) in about.items()
            }

    def add(self, name: str, faces: Sequence[Instance]) -> None:
        """Append the instances of one picture, which must have heatmaps."""
        with self._file.writing():
            for face in faces:
                assert face.heatmaps is not None
                self._append("heatmaps", face.heatmaps.astype(np.float16))
                self._append("keypoints", face.keypoints)
                self._append("scores", face.scores)
                self._append("radius90", face.radius90)
                self._append("affine", face.affine)
                self._append("file", printable(name))

    def _append(self, key: str, value: Any) -> None:
        data = self._sets[key]
        data.resize(len(data) + 1, axis=0)
        data[-1] = value


@contextmanager
def heatmap_file(path: Path, predictor: Predictor, maps: Size) -> Iterator[HeatmapFile]:
    """A `HeatmapFile` for maps of size `maps` (h, w), which replaces `path` only if the block succeeds."""
    from kptool.system.hdf5 import NewFile

    with atomic(path) as temporary, NewFile(temporary, track_order=True) as file:
        yield HeatmapFile(file, predictor, maps)
