"""Writes the small data set of `label_files` as labelling tools and public data sets of people do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from label_data import BOX, HEIGHT, NAMES, POINTS, SEEN, WIDTH, pictures, put
from numpy.typing import NDArray

_SIZE = {"height": HEIGHT, "width": WIDTH}


def each() -> Iterator[tuple[str, list[tuple[str, float, float, int]]]]:
    """The name of each picture, and name, x, y and visibility of its labelled keypoints."""
    for name, points, seen in zip(("a.png", "b.jpg"), POINTS.tolist(), SEEN.tolist(), strict=True):
        yield name, [(part, x, y, v) for part, (x, y), v in zip(NAMES, points, seen, strict=True) if v]


def edges() -> list[list[float]]:
    """The upper left and the lower right corner of the box, measured from the picture's edges."""
    left, top = BOX[0] + 0.5, BOX[1] + 0.5
    return [[left, top], [left + BOX[2], top + BOX[3]]]


def write_labelme(folder: Path) -> Path:
    pictures(folder)
    for name, points in each():
        shapes: list[dict[str, Any]] = [
            {
                "label": part,
                "points": [[x + 0.5, y + 0.5]],
                "group_id": 1,
                "shape_type": "point",
                "flags": {"occluded": v == 1},
            }
            for part, x, y, v in points
        ]
        shapes += [{"label": "face", "points": edges(), "group_id": 1, "shape_type": "rectangle", "flags": {}}]
        shapes += [{"label": "hair", "points": [[1, 1], [5, 1], [3, 9]], "group_id": None, "shape_type": "polygon"}]
        document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
        put(folder / f"{name[0]}.json", json.dumps({**document, "imageHeight": HEIGHT, "imageWidth": WIDTH}))
    return folder


def via_regions(points: list[tuple[str, float, float, int]]) -> list[dict[str, Any]]:
    """The points and the box as regions of VIA."""
    box = {"name": "rect", **dict(zip(("x", "y", "width", "height"), (*edges()[0], *BOX[2:]), strict=True))}
    return [
        {"shape_attributes": box, "region_attributes": {"name": "face"}},
        *(
            {
                "shape_attributes": {"name": "point", "cx": x, "cy": y},
                "region_attributes": {"name": part, "visibility": str(v)},
            }
            for part, x, y, v in points
        ),
    ]


def write_via(folder: Path) -> Path:
    pictures(folder)
    entries = {
        f"{name}123": {"filename": name, "size": 123, "regions": via_regions(points), "file_attributes": {}}
        for name, points in each()
    }
    return put(folder / "via_export_json.json", json.dumps(entries))


def write_via_csv(folder: Path) -> Path:
    pictures(folder)
    rows = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for name, points in each():
        for k, region in enumerate(via_regions(points)):
            shape, attributes = (
                json.dumps(region[key]).replace('"', '""') for key in ("shape_attributes", "region_attributes")
            )
            rows.append(f'{name},123,"{{}}",{len(points) + 1},{k},"{shape}","{attributes}"')
    return put(folder / "via_export_csv.csv", "\n".join(rows) + "\n")


def write_dlib(folder: Path) -> Path:
    pictures(folder)
    (left, top), _ = edges()
    images = []
    for name, points in each():
        parts = "".join(f"<part name='{part}' x='{x}' y='{y}'/>" for part, x, y, _ in points)
        box = f"<box top='{top}' left='{left}' width='{BOX[2]}' height='{BOX[3]}'><label>face</label>{parts}</box>"
        ignored = "<box top='1' left='1' width='9' height='9' ignore='1'/>"
        images.append(f"<image file='{name}'>{box}{ignored}</image>")
    head = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<?xml-stylesheet type='text/xsl' href='style.xsl'?>\n"
    return put(folder / "faces.xml", f"{head}<dataset><name>x</name><images>{''.join(images)}</images></dataset>")


def write_mpii(folder: Path) -> Path:
    pictures(folder)
    rows = []
    for (name, _), points, seen in zip(each(), POINTS, SEEN, strict=True):
        joints = np.where(seen[:, None] > 0, points + 1, -1).tolist()
        flags = (seen > 0).astype(int).tolist()
        rows.append({"joints_vis": flags, "joints": joints, "image": name, "scale": 0.35, "center": [47.5, 40.25]})
    return put(folder / "people.json", json.dumps(rows))


def write_openpose(folder: Path) -> Path:
    pictures(folder)
    for (name, _), points, seen in zip(each(), POINTS, SEEN, strict=True):
        confidence = np.array([0, 0.4, 0.9])[seen]
        flat = np.column_stack([np.where(seen[:, None] > 0, points + 0.5, 0), confidence]).ravel().tolist()
        person = {"person_id": [-1], "pose_keypoints_2d": flat, "face_keypoints_2d": [], "hand_left_keypoints_2d": []}
        put(folder / f"{name[0]}_keypoints.json", json.dumps({"version": 1.3, "people": [person]}))
    return folder


def write_supervisely(folder: Path) -> Path:
    pictures(folder / "ds" / "img")
    nodes = {f"key-{part}": {"label": part, "loc": [1, 2], "color": "#f00"} for part in NAMES}
    kinds = [{"title": "face", "shape": "graph", "geometry_config": {"nodes": nodes, "edges": []}}]
    put(folder / "meta.json", json.dumps({"classes": kinds, "tags": [], "projectType": "images"}))
    for name, points in each():
        places = {f"key-{part}": {"loc": [x + 0.5, y + 0.5], "disabled": v == 1} for part, x, y, v in points}
        graph = {"id": 7, "classTitle": "face", "geometryType": "graph", "tags": [], "nodes": places}
        document = {"description": "", "tags": [], "size": _SIZE, "objects": [graph]}
        put(folder / "ds" / "ann" / f"{name}.json", json.dumps(document))
    return folder


def write_wholebody(folder: Path) -> Path:
    pictures(folder / "images")
    empty: dict[str, list[float]] = {f"{part}_kpts": [] for part in ("foot", "face", "lefthand", "righthand")}
    rows = []
    for number, (points, seen) in enumerate(zip(POINTS, SEEN, strict=True)):
        flat = np.column_stack([points, seen]).ravel().tolist()
        box = [*edges()[0], *BOX[2:]]
        rows.append({"id": number, "image_id": number, "category_id": 1, "keypoints": flat, "bbox": box, **empty})
    images = [{"id": k, "file_name": name, **_SIZE} for k, name in enumerate(("a.png", "b.jpg"))]
    kinds = [{"id": 1, "name": "person", "keypoints": list(NAMES)}]
    return put(folder / "labels.json", json.dumps({"images": images, "annotations": rows, "categories": kinds}))


def predicted(file: str, instances: list[tuple[Any, Any, Any]], **more: Any) -> dict[str, Any]:
    """A picture in kptool's own json. instances: points (K, 2), visibility (K,) and scores (K,)."""
    found = []
    for points, seen, scores in instances:
        marked = zip(NAMES, points, seen, scores, strict=True)
        keypoints = [
            {"name": name, "x": x if v else None, "y": y if v else None, "score": s if v else None, "radius90": None}
            for name, (x, y), v, s in marked
        ]
        found.append({"box": list(BOX), "keypoints": keypoints})
    return {"file": file, "width": WIDTH, "height": HEIGHT, "frame": None, "time": None, "faces": found, **more}


def write_predictions(folder: Path) -> Path:
    pictures(folder)
    scores = [0.9, 0.8, 0.7, 0.6]
    images = [
        predicted(name, [(points.tolist(), seen.tolist(), scores)])
        for name, points, seen in zip(("a.png", "b.jpg"), POINTS, SEEN, strict=True)
    ]
    document = {"model": "runs/unet", "points": "features", "coordinates": "pixels", "images": images, "failed": []}
    return put(folder / "predictions.json", json.dumps(document))


def write_matlab(folder: Path) -> Path:
    """The layout of Leeds Sports Pose."""
    pictures(folder / "images", ("im0001.png", "im0002.jpg"))
    flags = np.where(SEEN == 1, 1.0, 0.0)
    places = np.where(SEEN[..., None] > 0, POINTS + 1, 0)
    save_mat(folder / "joints.mat", joints=np.concatenate([places, flags[..., None]], -1).transpose(2, 1, 0))
    return folder / "joints.mat"


def save_mat(path: Path, **variables: Any) -> Path:
    """Write variables to a file of MATLAB's version 5, compressed."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables, do_compression=True)
    return path


def structs(rows: list[dict[str, Any]]) -> NDArray[np.void]:
    """A struct array of MATLAB's."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    found = np.zeros((1, len(rows)), [(key, object) for key in keys])
    for k, row in enumerate(rows):
        for key in keys:
            found[0, k][key] = row.get(key, np.zeros((0, 0)))
    return found
