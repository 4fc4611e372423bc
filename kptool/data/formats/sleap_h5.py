"""Reads SLEAP's label files (.slp, .pkg.slp), which are HDF5, and the pictures embedded in them.

The files are opened in a subprocess, because a corrupt file can crash libhdf5. Layout: ``frames`` (video, frame_idx, range of
instances), ``instances`` (0 labelled or 1 predicted, skeleton, track, range of points), ``points`` and ``pred_points`` (x, y,
visible), json texts in ``videos_json``, ``tracks_json``, ``suggestions_json`` and the attribute json of ``metadata``. Since
format 1.1 an integer is a pixel's centre; before, the first pixel's centre was 0.5. Embedded pictures are encoded files in
``videoN/video``, with their frame numbers beside; colours are BGR before format 1.4 unless an attribute states the order.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import from_edges
from kptool.data import images, png
from kptool.system import quarantine

LABELLED, PREDICTED = 0, 1
"""The types of instances."""
_CODE = """
import json, pathlib, sys
from kptool.data.formats import sleap_h5
try:
    answer = sleap_h5.{}
except ValueError as error:
    answer = str(error)
json.dump(answer, sys.stdout)
"""
_LOAD = _CODE.format("contents(pathlib.Path(sys.argv[1]), int(sys.argv[2]))")
_UNPACK = _CODE.format("unpack(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]))")
_WANTED = "frames.json"
_MAGIC, _PNG = b"\x89HDF\r\n\x1a\n", b"\x89PNG"
_NEWEST, _CENTRED, _ORDERED = 3.0, 1.1, 1.4
"""Versions of the format: the first one unknown here, the first with an integer at a pixel's centre, the first in which
embedded pictures are RGB unless stated."""
_MOST_ROWS, _MOST_TEXT = 1 << 24, 1 << 26
_OTHERS = ("masks", "rois", "bboxes", "centroids", "label_images", "negative_frames", "sessions_json")
"""Further tables, which are counted."""
_ERRORS = (
    OSError, KeyError, RuntimeError, TypeError, IndexError, AttributeError, OverflowError, MemoryError, DataError,
    json.JSONDecodeError, UnicodeDecodeError,
)  # fmt: skip
_FIX = "save it again in SLEAP"


def matches(path: Path) -> bool:
    """Whether `path` is an HDF5 file with SLEAP's suffix."""
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == ".slp" and file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def load(path: Path, kind: int) -> dict[str, Any]:
    """As `contents`, in a subprocess. Raises DataError."""
    found: dict[str, Any] = quarantine.answer_of(_LOAD, path, _FIX, str(kind))
    return found


def extract_pictures(path: Path, dataset: str, frames: Sequence[int], folder: Path) -> dict[int, str]:
    """Write the embedded pictures of `frames` into `folder`; returns their file names by frame. Raises DataError."""
    (folder / _WANTED).write_text(json.dumps(list(frames)), encoding="utf-8")
    names = quarantine.answer_of(_UNPACK, path, _FIX, dataset, str(folder))
    (folder / _WANTED).unlink()
    return dict(zip(frames, map(str, names), strict=True))


def contents(path: Path, kind: int) -> dict[str, Any]:
    """What a label file holds, read in this process. Raises ValueError with the reason.

    kind: `LABELLED` or `PREDICTED`, the type of instances to read. Result: metadata (as stored), videos (a list of objects, as
    stored), instances (video, frame, skeleton, points as [x, y, visible] with x null if missing, for each), other (the number
    of instances of the other type), tracks, suggestions, bare (frames without any instance), and more (numbers of rows by
    table).
    """
    try:
        with h5py.File(path, "r") as file:
            version = _version(file)
            metadata = json.loads(_text(_at(file, "metadata").attrs["json"]))
            videos = [json.loads(text) for text in _texts(file, "videos_json")]
            found, bare = _instances(file, videos, kind, version)
            types = _table(file, "instances", "instance_type")["instance_type"]
            return {
                "metadata": metadata,
                "videos": videos,
                "instances": found,
                "other": int((types != kind).sum()),
                "tracks": len(_texts(file, "tracks_json")),
                "suggestions": len(_texts(file, "suggestions_json")),
                "bare": bare,
                "more": {name: count for name in _OTHERS if (count := _count(file, name))},
            }
    except _ERRORS as error:
        raise ValueError(f"it is not laid out as SLEAP's files are ({str(error)[:80]})") from error


def unpack(path: Path, dataset: str, folder: Path) -> list[str]:
    """Write the embedded pictures of the frames listed in `folder` to it; returns the name of each one's file.

    Encoded pictures are written as they are stored, unless their colours are BGR. Raises ValueError with the reason.
    """
    try:
        wanted = [int(frame) for frame in json.loads((folder / _WANTED).read_text(encoding="utf-8"))]
        with h5py.File(path, "r") as file:
            data = _plain(file, dataset)
            numbers = dataset.removesuffix("video") + "frame_numbers"
            stored = np.asarray(_plain(file, numbers)[()]).tolist() if _has(file, numbers) else range(len(data))
            places = {int(frame): row for row, frame in enumerate(stored)}
            missing = [frame for frame in wanted if frame not in places]
            if missing:
                raise ValueError(f"{dataset} has no picture of frame {missing[0]}, which is labelled")
            swapped = _text(data.attrs.get("channel_order", "BGR" if _version(file) < _ORDERED else "RGB")) == "BGR"
            return [_write(data[places[frame]], folder / f"{frame:06d}", swapped) for frame in wanted]
    except _ERRORS as error:
        raise ValueError(f"its pictures cannot be read ({str(error)[:80]})") from error


def _write(stored: NDArray[Any], target: Path, swapped: bool) -> str:
    """Write one picture, an encoded file or an array (H, W, C), and return its name with the suffix."""
    if stored.ndim == 3:
        pixels = stored[..., 0] if stored.shape[-1] == 1 else stored
        return _save(target.with_suffix(".png"), png.encode_png(np.ascontiguousarray(pixels, np.uint8)))
    data = np.asarray(stored).tobytes()
    if swapped:
        pixels = images.read(io.BytesIO(data), target.name)
        if pixels.ndim == 3 and (pixels[..., 0] != pixels[..., 2]).any():
            return _save(target.with_suffix(".png"), png.encode_png(np.ascontiguousarray(pixels[..., ::-1])))
    return _save(target.with_suffix(".png" if data.startswith(_PNG) else ".jpg"), data)


def _save(target: Path, data: bytes) -> str:
    target.write_bytes(data)
    return target.name


def _instances(file: h5py.File, videos: list[Any], kind: int, version: float) -> tuple[list[Any], int]:
    """The instances of one kind, see `contents`, and the number of frames without any."""
    frames = _table(file, "frames", "video", "frame_idx", "instance_id_start", "instance_id_end")
    rows = _table(file, "instances", "instance_type", "skeleton", "point_id_start", "point_id_end")
    points = _table(file, "points" if kind == LABELLED else "pred_points", "x", "y", "visible")
    _check_ranges("frames", frames["instance_id_start"], frames["instance_id_end"], len(rows["skeleton"]))
    _check_ranges(
        "instances", rows["point_id_start"], rows["point_id_end"], len(points["x"]), rows["instance_type"] == kind
    )
    place = np.column_stack([points["x"], points["y"]]).astype(np.float64)
    if version < _CENTRED:
        place = np.asarray(from_edges(place), np.float64)
    shown = points["visible"].astype(bool)
    order = _order(videos, frames["video"])
    found, bare = [], 0
    for video, frame, first, last in zip(*(frames[name].tolist() for name in frames), strict=True):
        bare += first == last
        for row in range(int(first), int(last)):
            if rows["instance_type"][row] != kind:
                continue
            span = slice(int(rows["point_id_start"][row]), int(rows["point_id_end"][row]))
            values = zip(place[span].tolist(), shown[span].tolist(), strict=True)
            listed = [
                [x if math.isfinite(x + y) else None, y if math.isfinite(x + y) else None, v] for (x, y), v in values
            ]
            found.append([order[int(video)], int(frame), int(rows["skeleton"][row]), listed])
    return found, bare


def _check_ranges(what: str, first: NDArray[Any], last: NDArray[Any], count: int, used: Any = True) -> None:
    """Raise ValueError unless the ranges that are used lie in 0..count and overlap so little that memory stays bounded."""
    starts, ends = (np.asarray(each, np.float64)[np.broadcast_to(used, each.shape)] for each in (first, last))
    if not (((starts >= 0) & (starts <= ends) & (ends <= count)).all() and (ends - starts).sum() <= count):
        raise ValueError(f"its {what} refer to rows that are not there, or are another's")


def _order(videos: list[Any], used: NDArray[Any]) -> dict[int, int]:
    """The index in `videos` of each number that frames state: the index itself, or the N of the dataset videoN.

    Packages of some of a project's videos keep the numbers that the videos had in the project.
    """
    numbers = {int(number) for number in np.unique(used)}
    if numbers == set(range(len(videos))):
        return {number: number for number in numbers}
    named = {str((video.get("backend") or {}).get("dataset", "")): index for index, video in enumerate(videos)}
    return {number: named.get(f"video{number}/video", number) for number in numbers}


def _version(file: h5py.File) -> float:
    version = float(_at(file, "metadata").attrs.get("format_id", 1.0))
    if not version < _NEWEST:
        raise ValueError(f"its format {version:g} is newer than kptool knows")
    return version


def _table(file: h5py.File, name: str, *columns: str) -> dict[str, NDArray[Any]]:
    """Columns of a structured table, in the order asked for."""
    data = _plain(file, name)
    if data.ndim != 1 or data.dtype.names is None:
        raise ValueError(f"{name} is not a table")
    table = data[()]
    return {column: table[column] for column in columns}


def _texts(file: h5py.File, name: str) -> list[str]:
    """The texts of a list; empty if the file has none."""
    return [_text(text) for text in _plain(file, name)[()].ravel().tolist()] if _has(file, name) else []


def _count(file: h5py.File, name: str) -> int:
    """The rows of a table, or the entries of a group's largest one."""
    if not _has(file, name):
        return 0
    thing = _at(file, name)
    tables = list(thing.values()) if isinstance(thing, h5py.Group) else [thing]
    return max((len(table) for table in tables if isinstance(table, h5py.Dataset) and table.ndim), default=0)


def _has(file: h5py.File, name: str) -> bool:
    try:
        _at(file, name)
    except KeyError:
        return False
    return True


def _at(file: h5py.File, name: str) -> Any:
    """A group or dataset of this file. Raises KeyError if there is none, or a link to elsewhere."""
    thing = file
    for part in name.split("/"):
        if not isinstance(thing, h5py.Group) or not isinstance(thing.get(part, getlink=True), h5py.HardLink):
            raise KeyError(f"{name} is not in it")
        thing = thing[part]
    return thing


def _plain(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset stored in this file, of bounded size."""
    data = _at(file, name)
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise ValueError(f"{name} is not an array as expected")
    if data.ndim and (data.shape[0] > _MOST_ROWS or data.dtype.itemsize * math.prod(data.shape[1:]) > _MOST_TEXT):
        raise ValueError(f"{name} is larger than kptool reads")
    return data


def _text(value: Any) -> str:
    value = value.tobytes() if isinstance(value, np.ndarray) else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
