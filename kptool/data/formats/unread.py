"""Recognises label formats that kptool does not read, so that the error names the format and the way to convert it.

Each is recognised by keys that all its files have; nothing else is read from them. The functions return the end of a
sentence that begins with the file's name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from kptool.base.errors import DataError
from kptool.system.text import first_line, read_json, read_text

_MOST_BYTES = 1 << 24
_HEAD = 1 << 20
_FIX = "which kptool does not read; convert it to COCO keypoints, or to a csv with image,NAME_x,NAME_y"
_OBJECTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "Datumaro's json": lambda d: isinstance(d.get("items"), list) and isinstance(d.get("categories"), dict),
    "SLEAP's json": lambda d: "skeletons" in d and ("nodes" in d or "labels" in d),
    "CMU's json of hands or bodies": lambda d: _all(d.get("root"), "joint_self") or _all(d.get("root"), "joints"),
}
_LISTS: dict[str, Callable[[list[Any]], bool]] = {
    "a list of COCO results, predictions without images": lambda rows: _all(rows, "image_id", "keypoints"),
    "CreateML's json": lambda rows: _all(rows, "image", "annotations") and not _all(rows, "data"),
    "Labelbox's json": lambda rows: _all(rows, "data_row") or _all(rows, "Labeled Data"),
    "a list of LabelMe's json documents": lambda rows: _all(rows, "shapes", "imagePath"),
    "OpenPose's json": lambda rows: _all(rows, "people"),
}
_SUFFIXES = {
    ".tfrecord": "a TFRecord file",
    ".tfrecords": "a TFRecord file",
    ".mat": "a file of MATLAB's",
    ".ndjson": "a list of json lines, as Labelbox writes them",
    ".jsonl": "a list of json lines",
    ".npz": "a file of NumPy arrays",
    ".npy": "a file of NumPy arrays",
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".parquet": "a Parquet file",
    ".manifest": "a manifest of SageMaker Ground Truth",
}


def _all(rows: Any, *keys: str) -> bool:
    """Whether `rows` is a non-empty list of objects (the first 100 are checked) that all have `keys`."""
    return (
        isinstance(rows, list) and bool(rows) and all(isinstance(r, dict) and set(keys) <= set(r) for r in rows[:100])
    )


def named(document: Any) -> str | None:
    """The format of a JSON document that no reader accepts, and the fix; None if unknown."""
    kinds: dict[str, Any] = _OBJECTS if isinstance(document, dict) else _LISTS if isinstance(document, list) else {}
    kind = next((name for name, fits in kinds.items() if fits(document)), None)
    return None if kind is None else f"is {kind}, {_FIX}"


def named_xml(root: ElementTree.Element) -> str | None:
    """The format of an XML document that no reader accepts, and the fix; None if unknown."""
    kind = None
    if root.tag == "annotation" and root.find("filename") is not None:
        kind = "Pascal VOC's xml, with boxes of one picture"
    elif root.tag == "annotations" and root.find("track") is not None and root.find("image") is None:
        return (
            "holds tracks of a video (CVAT for video), which do not name their pictures; export it as 'CVAT for images',"
            " with the frames"
        )
    return None if kind is None else f"is {kind}, {_FIX}"


def named_file(path: Path) -> str | None:
    """The format of a file, and the fix, by its suffix or its first bytes; None if unknown."""
    suffix = path.suffix.lower()
    kind = _SUFFIXES.get(suffix)
    if suffix == ".slp":
        return "is not a file of SLEAP's, which is HDF5; it may be damaged or empty, so save it again in SLEAP"
    if suffix in (".csv", ".tsv"):
        columns = first_line(path).lower()
        if all(name in columns for name in ("xmin", "ymin", "xmax", "ymax")) and "_x" not in columns:
            kind = "a csv of boxes without keypoints"
    elif suffix in (".h5", ".hdf5"):
        head = _head(path)
        if b"track_occupancy" in head or b"node_names" in head:
            return (
                "is an analysis file of SLEAP, which does not state the numbers of its frames; give the project, .slp, or the"
                " analysis csv"
            )
        if b"kptool" in head:
            return "is a cache that kptool has made already; give it to `kptool train` or `kptool info`"
    return None if kind is None else f"is {kind}, {_FIX}"


def named_whole(path: Path) -> str | None:
    """As `named_file`, but JSON and XML files of up to 16 MiB are parsed."""
    kind = named_file(path)
    try:
        if kind is None and path.suffix.lower() == ".json":
            return named(read_json(path, _MOST_BYTES))
        if kind is None and path.suffix.lower() == ".xml":
            text = read_text(path, _MOST_BYTES)
            return None if "<!DOCTYPE" in text or "<!ENTITY" in text else named_xml(ElementTree.fromstring(text))
    except (DataError, ElementTree.ParseError, ValueError):
        return None
    return kind


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
