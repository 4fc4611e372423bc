"""A small data set, two pictures with four keypoints, written in every label format that kptool reads."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from label_data import BOX, HEIGHT, NAMES, POINTS, SEEN, WIDTH, cells, pictures, put
from label_tools import (
    write_dlib,
    write_labelme,
    write_matlab,
    write_mpii,
    write_openpose,
    write_predictions,
    write_supervisely,
    write_via,
    write_via_csv,
    write_wholebody,
)
from numpy.typing import NDArray
from PIL import Image

__all__ = ["BOX", "HEIGHT", "MORE", "NAMES", "POINTS", "SEEN", "WIDTH", "WRITERS", "cells", "pictures", "put"]


def write_coco(folder: Path) -> Path:
    pictures(folder / "images")
    flat = np.concatenate([POINTS, SEEN[..., None]], -1).reshape(2, -1).tolist()
    box = [BOX[0] + 0.5, BOX[1] + 0.5, *BOX[2:]]
    annotations = [
        {"id": 7, "image_id": 4, "category_id": 3, "keypoints": flat[0], "bbox": box, "segmentation": {"counts": "1"}},
        {"id": 8, "image_id": 5, "category_id": 3, "keypoints": flat[1]},
        {"id": 9, "image_id": 5, "category_id": 8, "bbox": box},
    ]
    document = {
        "images": [
            {"id": 4, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 5, "file_name": "b.jpg"},
        ],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "face", "keypoints": list(NAMES)}, {"id": 8, "name": "car"}],
    }
    return put(folder / "labels.json", json.dumps(document))


def write_wide(folder: Path) -> Path:
    pictures(folder)
    head = ["image_name", *(f"{name}_{axis}" for name in NAMES for axis in "xy")]
    rows = [[name, *cells(points, seen)] for name, points, seen in zip(("a.png", "b.jpg"), POINTS, SEEN, strict=True)]
    return put(folder / "wide.csv", "\n".join(",".join(map(str, row)) for row in [head, *rows]))


def write_numbered(folder: Path) -> Path:
    pictures(folder)
    rows = [["", *range(8)]]
    rows += [[name, *cells(points, seen)] for name, points, seen in zip(("a.png", "b.jpg"), POINTS, SEEN, strict=True)]
    return put(folder / "numbered.csv", "\n".join(",".join(map(str, row)) for row in rows))


def write_long(folder: Path) -> Path:
    pictures(folder)
    rows = ["filename,bodypart,x,y,visibility"]
    for name, points, seen in zip(("a.png", "b.jpg"), POINTS, SEEN, strict=True):
        rows += [f"{name},{part},{x},{y},{v}" for part, (x, y), v in zip(NAMES, points, seen, strict=True) if v]
    return put(folder / "long.csv", "\n".join(rows))


def write_pts(folder: Path) -> Path:
    pictures(folder)
    for name, points in zip("ab", POINTS, strict=True):
        lines = "\n".join(f"{x + 1} {y + 1}" for x, y in points)
        put(folder / f"{name}.pts", f"version: 1\nn_points:  4\n{{\n{lines}\n}}\n")
    return folder


def write_yolo(folder: Path) -> Path:
    pictures(folder / "images" / "train")
    scale = np.array([WIDTH, HEIGHT])
    for name, points, seen in zip("ab", POINTS, SEEN, strict=True):
        middle = (np.array(BOX[:2]) + 0.5 + np.array(BOX[2:]) / 2) / scale
        line = ["0", *middle, *(np.array(BOX[2:]) / scale)]
        for point, visible in zip(points, seen, strict=True):
            line += [*((point + 0.5) / scale if visible else (0, 0)), visible]
        put(folder / "labels" / "train" / f"{name}.txt", " ".join(map(str, line)))
    settings = {"path": "somewhere/else", "train": "images/train", "kpt_shape": [4, 3], "flip_idx": [1, 0, 2, 3]}
    return put(folder / "data.yaml", json.dumps({**settings, "kpt_names": {"0": list(NAMES)}, "names": ["face"]}))


def write_label_studio(folder: Path) -> Path:
    pictures(folder)
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    tasks = []
    for name, points, seen in zip(("a.png", "b.jpg"), POINTS, SEEN, strict=True):
        rectangle = {"x": 10.0, "y": 100 * 10 / HEIGHT, "width": 75.0, "height": 100 * 70 / HEIGHT}
        results: list[Any] = [
            {"id": "r", "type": "rectanglelabels", "value": {**rectangle, "rectanglelabels": ["face"]}, **size}
        ]
        for part, (x, y), visible in zip(NAMES, points, seen, strict=True):
            place = {"x": 100 * (x + 0.5) / WIDTH, "y": 100 * (y + 0.5) / HEIGHT, "keypointlabels": [part]}
            point = {"id": part, "type": "keypointlabels", "value": place, "parentID": "r", **size}
            results += [point] if visible else []
        address = f"/data/upload/3/0123abcd-{name}"
        tasks.append({"id": 1, "data": {"img": address}, "annotations": [{"result": results}]})
    return put(folder / "project.json", json.dumps(tasks))


def write_cvat(folder: Path) -> Path:
    pictures(folder)
    images = []
    for name, points, seen in zip(("a.png", "b.jpg"), POINTS, SEEN, strict=True):
        parts = [
            f'<points label="{part}" points="{x + 0.5},{y + 0.5}" outside="{int(v == 0)}" occluded="{int(v == 1)}"/>'
            for part, (x, y), v in zip(NAMES, points, seen, strict=True)
        ]
        shape = f'<skeleton label="face">{"".join(parts)}</skeleton>'
        images.append(f'<image id="0" name="{name}" width="{WIDTH}" height="{HEIGHT}">{shape}</image>')
    return put(folder / "annotations.xml", f"<annotations><version>1.1</version>{''.join(images)}</annotations>")


def write_deeplabcut(folder: Path) -> Path:
    pictures(folder / "labeled-data" / "clip")
    rows = [["scorer", "", "", *["me"] * 8], ["bodyparts", "", "", *(n for n in NAMES for _ in "xy")]]
    rows.append(["coords", "", "", *"xy" * 4])
    for name, points, seen in zip(("a.png", "b.jpg"), POINTS, SEEN, strict=True):
        rows.append(["labeled-data", "clip", name, *cells(points, seen)])
    return put(folder / "CollectedData_me.csv", "\n".join(",".join(map(str, row)) for row in rows))


_SLEAP_POINT: list[tuple[str, Any]] = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]
_SLEAP_FRAME: list[tuple[str, Any]] = [
    ("frame_id", "u8"), ("video", "u4"), ("frame_idx", "u8"), ("instance_id_start", "u8"), ("instance_id_end", "u8"),
]  # fmt: skip
_SLEAP_INSTANCE: list[tuple[str, Any]] = [
    ("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"), ("track", "i4"),
    ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8"),
]  # fmt: skip


def sleap_skeleton(*pairs: tuple[int, int, int]) -> dict[str, Any]:
    """SLEAP's json of a skeleton of `NAMES`; pairs: (source, target, 1 for an edge and 2 for a symmetry)."""
    links, known = [], dict[int, int]()
    for source, target, kind in pairs:
        spelt = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [kind]}]}
        form = {"py/id": known[kind]} if kind in known else spelt
        known.setdefault(kind, len(known) + 1)
        links.append({"source": source, "target": target, "type": form})
    return {"graph": {"name": "face"}, "links": links, "nodes": [{"id": k} for k in range(len(NAMES))]}


def sleap_project(
    path: Path,
    instances: list[tuple[int, int, int, NDArray[np.float64], NDArray[np.uint8]]],
    videos: list[dict[str, Any]],
    version: float = 1.3,
    **tables: Any,
) -> Path:
    """A .slp file. instances: (video, frame, 1 if predicted, points (K, 2), visible (K,)), frames together and in order."""
    frames: list[list[int]] = []
    rows: list[tuple[Any, ...]] = []
    stored: list[list[tuple[Any, ...]]] = [[], []]
    for number, (video, frame, kind, points, seen) in enumerate(instances):
        if not frames or frames[-1][1:3] != [video, frame]:
            frames.append([len(frames), video, frame, number, number])
        frames[-1][4] = number + 1
        own = stored[kind]
        rows.append((number, kind, len(frames) - 1, 0, -1, -1, 0.0, len(own), len(own) + len(points)))
        own += [(x, y, bool(v), True) for (x, y), v in zip(points.tolist(), seen.tolist(), strict=True)]
    about = {"skeletons": [sleap_skeleton((2, 3, 1), (0, 1, 2))], "nodes": [{"name": name} for name in NAMES]}
    with h5py.File(path, "w") as file:
        metadata = file.create_group("metadata").attrs
        metadata["format_id"], metadata["json"] = version, np.bytes_(json.dumps(about))
        file["frames"] = np.array([tuple(row) for row in frames], _SLEAP_FRAME)
        file["instances"] = np.array(rows, _SLEAP_INSTANCE)
        file["points"], file["pred_points"] = (np.array(own, _SLEAP_POINT) for own in stored)
        file["videos_json"] = np.array([json.dumps(video).encode() for video in videos])
        for name, value in {"tracks_json": [], "suggestions_json": [], **tables}.items():
            file[name.replace("__", "/")] = value
    return path


def sleap_pictures(path: Path, group: str, frames: list[int], pictures: list[NDArray[np.uint8]], **about: Any) -> None:
    """Embed `pictures` as png, numbered `frames`, in a .slp file."""
    with h5py.File(path, "a") as file:
        data = file.create_dataset(f"{group}/video", (len(frames),), h5py.special_dtype(vlen=np.int8))
        for k, pixels in enumerate(pictures):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "png")
            data[k] = np.frombuffer(stream.getvalue(), np.int8)
        data.attrs.update({"format": "png", **about})
        file[f"{group}/frame_numbers"] = frames


def write_sleap(folder: Path) -> Path:
    pictures(folder)
    instances = [(0, 7 + k, 0, np.where(SEEN[k, :, None] > 0, POINTS[k], np.nan), SEEN[k]) for k in range(2)]
    embedded = {"backend": {"filename": ".", "dataset": "video0/video"}}
    path = sleap_project(folder / "labels.pkg.slp", instances, [embedded])
    found = [np.asarray(Image.open(folder / name)) for name in ("a.png", "b.jpg")]
    for name in ("a.png", "b.jpg"):
        (folder / name).unlink()
    sleap_pictures(path, "video0", [7, 8], found)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "coco": write_coco,
    "table": write_wide,
    "pts": write_pts,
    "yolo": write_yolo,
    "label-studio": write_label_studio,
    "cvat": write_cvat,
    "deeplabcut": write_deeplabcut,
    "sleap": write_sleap,
    "predictions": write_predictions,
    "labelme": write_labelme,
    "via": write_via,
    "dlib": write_dlib,
    "mpii": write_mpii,
    "openpose": write_openpose,
    "supervisely": write_supervisely,
    "coco-wholebody": write_wholebody,
    "matlab": write_matlab,
}
MORE = {**WRITERS, "numbered": write_numbered, "long": write_long, "via-csv": write_via_csv}
READER = {"numbered": "table", "long": "table", "via-csv": "via"}
"""The reader of an entry of `MORE`, where it is called otherwise."""
UNNAMED = ("pts", "numbered", "mpii", "openpose", "matlab")
"""Formats that do not name the keypoints."""
FILES = {"matlab": ("im0001.png", "im0002.jpg"), "sleap": ("000007.png", "000008.png")}
"""Names of the pictures, where they have none of their own, or the format prescribes them."""
INSIDE = {
    "pts": "a.pts",
    "labelme": "a.json",
    "openpose": "a_keypoints.json",
    "supervisely": "ds/ann/a.png.json",
    "yolo": "labels/train/a.txt",
}
"""The file with the labels of the first picture, for formats that have one for each."""
