"""VGG Image Annotator: all versions, names and instances from attributes, and what is not used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from label_data import put

from kptool.base.errors import DataError
from kptool.datasets.via import matches, read


def point(x: float, y: float, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": {"name": "point", "cx": x, "cy": y}, "region_attributes": attributes}


def export(path: Path, *pictures: Any) -> Path:
    rows = {
        f"{k}.png9": {"filename": f"{k}.png", "size": 9, "regions": each, "file_attributes": {}}
        for k, each in enumerate(pictures)
    }
    return put(path, json.dumps(rows))


def test_the_attribute_that_repeats_least_is_the_name(tmp_path: Path) -> None:
    """An instance attribute tells animals apart; visibility comes from its own; the rest is counted."""
    regions = [
        point(1, 2, kind="body", part="nose", animal="a", visible="no"), point(3, 4, kind="body", part="tail", animal="a"),
        point(5, 6, kind="body", part="nose", animal="b"),
    ]  # fmt: skip
    file = read(export(tmp_path / "v.json", regions))
    assert file.names == ("nose", "tail")
    assert [one.keypoints[0].tolist() for one in file.things] == [[1, 2], [5, 6]]  # an integer is a pixel's centre
    assert [one.visibility.tolist() for one in file.things] == [[1, 2], [2, 0]]
    assert "3 values of the attribute kind are not used" in file.notes


def test_points_without_names_are_numbered_if_pictures_agree(tmp_path: Path) -> None:
    file = read(export(tmp_path / "v.json", [point(1, 2), point(3, 4)], [point(5, 6), point(7, 8)]))
    assert file.names == ("p01", "p02")
    assert file.things[1].keypoints.tolist() == [[5, 6], [7, 8]]
    assert file.notes == ("the points have no names, so they are called p01, p02, ... in their order in each picture",)
    with pytest.raises(DataError, match=r"no attribute with their name, and pictures have 1 to 2 points"):
        read(export(tmp_path / "v.json", [point(1, 2), point(3, 4)], [point(5, 6)]))
    with pytest.raises(DataError, match=r"picture '0\.png': a point has no name; label it"):
        read(export(tmp_path / "v.json", [point(1, 2, name="a"), point(3, 4)]))


def test_projects_of_versions_1_and_2(tmp_path: Path) -> None:
    regions = {"0": point(1, 2, name="a"), "1": {"shape_attributes": {"name": "circle", "cx": 1, "cy": 1, "r": 2}}}
    entry = {"filename": "a.png", "regions": regions, "file_attributes": {"split": "val", "note": "dark"}}
    path = put(tmp_path / "p.json", json.dumps({"_via_settings": {}, "_via_img_metadata": {"a.png9": entry}}))
    file = read(path)
    assert (file.things[0].picture, file.things[0].split) == ("a.png", "val")
    assert file.notes == (
        "1 region other than points and rectangles is not used (circle 1)",
        "the attributes of 1 file are not used",
    )


def test_version_3_has_options_and_fractions_from_the_edge(tmp_path: Path) -> None:
    options = {"0": "left_eye", "1": "nose"}
    document = {
        "project": {"pname": "x"}, "config": {}, "attribute": {"1": {"aname": "part", "type": 4, "options": options}},
        "file": {"1": {"fname": "a.png", "type": 2}, "2": {"fname": "b.mp4", "type": 4}},
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
        "metadata": {
            "m1": {"vid": "1", "z": [], "xy": [1, 10.25, 20.5], "av": {"1": "0"}},
            "m2": {"vid": "1", "z": [], "xy": [1, 30, 40], "av": {"1": "1"}},
            "m3": {"vid": "1", "z": [], "xy": [2, 1, 2, 50, 60], "av": {}},
            "m4": {"vid": "2", "z": [1.5], "xy": [1, 1, 1], "av": {"1": "1"}},
        },
    }  # fmt: skip
    path = put(tmp_path / "p.json", json.dumps(document))
    assert matches(path)
    file = read(path)
    assert file.names == ("left_eye", "nose")
    assert file.things[0].keypoints.tolist() == [[9.75, 20], [29.5, 39.5]]
    assert file.things[0].box == (0.5, 1.5, 50, 60)
    assert file.notes == ("1 region of videos and sounds is not used",)


def test_a_csv_names_the_line_that_is_wrong(tmp_path: Path) -> None:
    head = "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    row = 'a.png,9,"{}",1,0,"{""name"":""point"",""cx"":5,""cy"":6}","{""name"":""\\""x\\""""}"\n'
    assert read(put(tmp_path / "v.csv", head + row + 'b.png,9,"{}",0,0,"{}","{}"\n')).names == ('"x"',)
    with pytest.raises(DataError, match=r"v\.csv, line 2: expected a json object, but got '\{cut'"):
        read(put(tmp_path / "v.csv", head + "a.png,9,{},1,0,{cut,{}\n"))
    with pytest.raises(DataError, match=r"v\.csv, line 2: there is no filename"):
        read(put(tmp_path / "v.csv", head + ",9,{},1,0,{},{}\n"))
