"""What readers and `convert` refuse, whatever the format: broken labels, names that lead out, a choice that was not made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from label_files import (
    pictures,
    put,
    write_coco,
    write_long,
    write_wide,
)
from test_formats import collect

from kptool.base.errors import ConfigError, DataError
from kptool.data import convert
from kptool.data.sources import Opening, find_source


def test_names_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    pictures(tmp_path / "outside")
    (tmp_path / "in" / "images").mkdir(parents=True)
    for name in ("../outside/a.png", str(tmp_path / "outside" / "a.png"), "..\\outside\\a.png", "", "x" * 5000, "\0"):
        table = put(tmp_path / "in" / "t.csv", f'image,a_x,a_y\n"{name}",1,2\n')
        with pytest.raises(DataError):
            find_source(table)
    pictures(tmp_path / "in" / "images" / "deep", ("a.png",))
    put(tmp_path / "in" / "t.csv", "image,a_x,a_y\nC:\\Users\\me\\a.png,1,2\n")  # found by its last part
    assert len(collect(find_source(tmp_path / "in" / "t.csv"))) == 1


BROKEN = [
    ("t.csv", "image,a_x,a_y\na.png,1,zwei\n", r"line 2: a_y is 'zwei'"),
    ("t.csv", "image,a_x,a_y\na.png,1,\n", r"line 2: a keypoint has one coordinate"),
    ("t.csv", "image,a_x,a_y\na.png,1e9,1\n", r"a of a\.png is \(1e\+09, 1\)"),
    ("t.csv", "image,a_x,a_y\na.png,700,1\n", r"far outside its 100x90 pixels"),
    ("t.csv", "image,a_x,a_y,a_visibility\na.png,1,1,7\n", r"visibility must be 0, 1 or 2"),
    ("t.csv", "image,colour\na.png,red\n", r"expected a column with the picture's name, and NAME_x"),
    ("t.csv", "image,a_x,a_y\nmissing.png,1,1\n", r"1 of 1 pictures are not in .*'missing\.png'"),
    ("t.csv", "image,part,x,y\na.png,nose,1,1\na.png,nose,2,2\n", r"line 3: nose of a\.png is there twice"),
    ("t.json", '{"images": 3}', r"a list of objects called images"),
    ("t.json", '{"images": [], "annotations": [], "categories": []}', r"no annotation with keypoints"),
    ("t.json", "[1]", r"Label Studio's json export"),
    ("t.json", "{" * 100_000, r"not valid json"),
    ("t.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", r"defines entities"),
    ("t.xml", "<annotations><image name='a.png'/></annotations>", r"width and height must be whole numbers"),
    ("t.yaml", "a: [", r"not valid yaml"),
    ("t.yaml", "kpt_shape: [0, 9]", r"kpt_shape must be"),
    ("t.yaml", "!!python/object/apply:os.system ['true']", r"not valid yaml"),
]


@pytest.mark.parametrize(("name", "text", "message"), BROKEN)
def test_what_is_wrong_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    with pytest.raises(DataError, match=message):
        collect(find_source(put(tmp_path / name, text)))


def test_categories_with_other_keypoints_must_be_chosen(tmp_path: Path) -> None:
    path = write_coco(tmp_path)
    document = json.loads(path.read_text())
    document["categories"][1]["keypoints"] = ["wheel"]
    document["annotations"][2]["keypoints"] = [5, 6, 2]
    put(path, json.dumps(document))
    with pytest.raises(DataError, match=r"choose one with --category: face, car"):
        find_source(path)
    assert find_source(path, Opening(category="car")).skeleton.names == ("wheel",)
    assert find_source(path, Opening(category="face")).total == 2
    with pytest.raises(DataError, match="no category 'boat'"):
        find_source(path, Opening(category="boat"))


def test_a_folder_with_two_label_files_wants_one_named(tmp_path: Path) -> None:
    write_wide(tmp_path)
    write_long(tmp_path)
    with pytest.raises(DataError, match=r"several label files: long\.csv, wide\.csv"):
        find_source(tmp_path)


def test_converting_into_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "in")
    put(tmp_path / "out" / "mine.txt", "precious")
    with pytest.raises(DataError, match="already exists"):
        convert.convert(path, tmp_path / "out", "csv", Opening())
    with pytest.raises(ConfigError, match="coco, yolo, csv"):
        convert.convert(path, tmp_path / "new", "xls", Opening())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]
