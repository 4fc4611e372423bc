"""Unsupported label formats are recognised and refused by name, in one sentence with the fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from label_files import put

from kptool import plugins
from kptool.base.errors import DataError
from kptool.data.sources import find_source

DATUMARO = {"items": [], "categories": {}}
VOC = "<annotation><filename>a.jpg</filename><object><name>x</name></object></annotation>"
STRANGERS: list[tuple[str, Any, str]] = [
    ("a.json", DATUMARO, "Datumaro's json"),
    ("a.json", {"skeletons": [], "nodes": []}, "SLEAP's json"),
    ("a.json", {"root": [{"joint_self": [[1, 2, 1]]}]}, "CMU's json of hands or bodies"),
    ("a.json", [{"shapes": [], "imagePath": "a.png"}], "a list of LabelMe's json documents"),
    ("a.json", [{"people": []}], "OpenPose's json"),
    ("a.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,1,1,x,1,1,1,1\n", "a csv of boxes"),
    ("a.xml", VOC, "Pascal VOC's xml"),
    (
        "a.json",
        [{"image_id": 1, "category_id": 1, "keypoints": [1, 2, 1], "score": 1}],
        "a list of COCO results, predictions without images",
    ),
    ("a.json", [{"image": "a.jpg", "annotations": []}], "CreateML's json"),
    ("a.tfrecord", "x", "a TFRecord file"),
    ("a.mat", "x", "a file of MATLAB's"),
]


@pytest.mark.parametrize(("name", "content", "kind"), STRANGERS)
@pytest.mark.parametrize("folder", [False, True])
def test_each_is_called_by_its_name(name: str, content: Any, kind: str, folder: bool, tmp_path: Path) -> None:
    path = put(tmp_path / name, content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(
        DataError, match=rf"{name} is {kind}.*, which kptool does not read; convert it to COCO"
    ) as caught:
        find_source(tmp_path if folder else path)
    assert len(str(caught.value)) < 2 * 120 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.slp", "\x89HDF", "is not a file of SLEAP's, which is HDF5; it may be damaged or empty"),
        (
            "a.h5",
            "\x89HDF track_occupancy",
            "is an analysis file of SLEAP, which does not state .* give the project, .slp",
        ),
    ],
)
def test_files_of_sleap_that_cannot_be_read_say_what_to_give(name: str, text: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name} {kind}"):
        find_source(put(tmp_path / name, text))


def test_a_folder_with_a_file_for_each_picture_is_called_by_its_kind(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path / f"{i}.json", json.dumps(DATUMARO))
    with pytest.raises(
        DataError, match=r"holds 4 files of labels, and 0\.json is Datumaro's json, which kptool does not"
    ):
        find_source(tmp_path)


def test_what_nobody_knows_is_refused_with_the_names_of_all_formats(refused: Any, in_tmp: Path) -> None:
    put(in_tmp / "a.txt", "hello")
    (in_tmp / "empty").mkdir()
    readers = [name for name in plugins.names("datasets") if name != "synthetic"]
    for given in ("a.txt", "empty"):
        said = refused("extract", given)
        assert f"{given} is of no format that kptool reads ({', '.join(readers)}); convert it" in " ".join(said.split())


def test_yolo_labels_without_a_yaml_say_what_is_missing(tmp_path: Path) -> None:
    put(tmp_path / "labels" / "train" / "0.txt", "0 0.5 0.5 0.1 0.1 0.5 0.5 2")
    with pytest.raises(DataError, match=r"has labels as YOLO has them, and no yaml; write a data\.yaml there"):
        find_source(tmp_path)


def test_a_kind_in_a_sub_folder_is_called_by_its_name(tmp_path: Path) -> None:
    put(tmp_path / "labels" / "0.json", json.dumps(DATUMARO))
    with pytest.raises(DataError, match=r"0\.json is Datumaro's json, which kptool does not read"):
        find_source(tmp_path)
