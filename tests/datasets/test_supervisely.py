"""Supervisely projects: names and lines from meta.json, graphs and points, pixels or edges, splits, and other objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from label_data import pictures, put

from kptool.base.errors import DataError
from kptool.data.sources import find_source
from kptool.datasets.supervisely import read

NODES = {"k1": {"label": "nose", "loc": [0, 0]}, "k2": {"label": "tail", "loc": [1, 1]}}
GRAPH = {"nodes": NODES, "edges": [{"src": "k1", "dst": "k2"}, {"src": "k1", "dst": "gone"}]}
META = {"classes": [{"title": "cat", "shape": "graph", "geometry_config": GRAPH}, {"title": "tip", "shape": "point"}]}


def graph(title: str = "cat", instance: Any = None, **places: Any) -> dict[str, Any]:
    nodes = {key: {"loc": place} for key, place in places.items()}
    return {"id": 5, "classTitle": title, "geometryType": "graph", "nodes": nodes, "instance": instance}


def shape(title: str, kind: str, *places: Any, instance: Any = None) -> dict[str, Any]:
    points = {"exterior": list(places), "interior": []}
    return {"classTitle": title, "geometryType": kind, "points": points, "instance": instance}


def save(folder: Path, place: str, *objects: Any, tags: Any = ()) -> None:
    put(folder / "meta.json", json.dumps(META))
    document = {"size": {"height": 90, "width": 100}, "tags": [{"name": tag} for tag in tags], "objects": list(objects)}
    put(folder / place, json.dumps(document))


def test_graphs_have_names_lines_boxes_and_splits(tmp_path: Path) -> None:
    """Whole numbers are indices of pixels, and a rectangle includes its last pixels."""
    box = shape("cat box", "rectangle", [10, 20], [29, 39], instance="i1")
    save(tmp_path, "train/ann/a.png.json", graph(instance="i1", k1=[11, 21], k2=[12, 22]), box)
    save(tmp_path, "more/ann/b.png.json", graph(k2=[13, 23]), shape("blob", "polygon", [1, 1]), tags=["wet", "VAL"])
    file = read(tmp_path)
    assert file.names == ("nose", "tail")
    assert file.edges == ((0, 1),)
    one = {thing.picture: thing for thing in file.things}
    assert set(one) == {"train/img/a.png", "more/img/b.png"}
    assert one["train/img/a.png"].keypoints.tolist() == [[11, 21], [12, 22]]
    assert one["train/img/a.png"].box == (9.5, 19.5, 20, 20)
    assert one["more/img/b.png"].visibility.tolist() == [0, 2]
    assert [one[name].split for name in ("train/img/a.png", "more/img/b.png")] == ["train", "val"]
    assert file.notes == (
        "1 object is not used (blob 1)",
        "coordinates are whole numbers, and read as indices of pixels",
    )
    assert tmp_path / "meta.json" in file.files


def test_fractions_are_measured_from_the_edges(tmp_path: Path) -> None:
    save(tmp_path, "ds/ann/a.png.json", graph(k1=[11.5, 21], k2=[12, 22.25]))
    file = read(tmp_path / "ds" / "ann" / "a.png.json")
    assert file.things[0].keypoints.tolist() == [[11, 20.5], [11.5, 21.75]]
    assert file.notes[-1] == "coordinates are fractions, and read as measured from the pictures' edges"


def test_points_are_named_by_their_class_and_grouped_by_rectangles(tmp_path: Path) -> None:
    pictures(tmp_path / "ds" / "img")
    rectangles = (shape("dog", "rectangle", [0, 0], [40, 40]), shape("dog", "rectangle", [50, 0], [90, 40]))
    points = [shape("tip", "point", place) for place in ([5, 6], [55, 56 - 40])]
    save(tmp_path, "ds/ann/a.png.json", *rectangles, *points, shape("end", "point", [60, 10], instance=""))
    file = read(tmp_path)
    assert file.names == ("tip", "end")
    assert [one.visibility.tolist() for one in file.things] == [[2, 0], [2, 2]]
    assert find_source(tmp_path / "ds").total == 2
    save(tmp_path, "ds/ann/b.jpg.json", graph(k1=[1, 1]))
    with pytest.raises(DataError, match=r"several categories with different keypoints; .* --category: points, cat"):
        read(tmp_path)
    assert read(tmp_path, "cat").names == ("nose",)
    with pytest.raises(DataError, match="no 'dog' with keypoints; choose one of points, cat"):
        read(tmp_path, "dog")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    save(tmp_path, "ds/ann/a.png.json", graph(k1=[1, None]))
    with pytest.raises(DataError, match=r"a\.png\.json, object 5: the place of nose must be 2 finite numbers"):
        read(tmp_path)
    save(tmp_path, "ds/ann/a.png.json", shape("blob", "polygon", [1, 1]))
    with pytest.raises(DataError, match="no objects with keypoints, graphs or points"):
        read(tmp_path)
