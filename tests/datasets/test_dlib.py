"""dlib's XML: boxes of whole pixels, ignored boxes, missing parts, parts of one set."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_data import pictures, put

from kptool.base.errors import DataError
from kptool.data.sources import find_source
from kptool.datasets.dlib import read

BOX = "<box top='{0}' left='10' width='30' height='20' {1}><label>{2}</label>{3}</box>"
PARTS = "<part name='2' x='15' y='12'/><part name='10' x='20' y='13'/>"


def save(path: Path, *boxes: str, name: str = "a.png") -> Path:
    text = f"<?xml version='1.0' encoding='ISO-8859-1'?><!-- x --><dataset><images><image file='{name}'>"
    return put(path, f"{text}{''.join(boxes)}</image></images></dataset>")


def test_boxes_and_parts(tmp_path: Path) -> None:
    path = save(
        tmp_path / "f.xml",
        BOX.format(5, "occluded='1'", "face", PARTS), BOX.format(6, "", "face", "<part name='10' x='9' y='8'/>"),
        BOX.format(7, "ignore='1'", "face", ""), BOX.format(8, "", "dog", ""),
    )  # fmt: skip
    file = read(path)
    assert file.names == ("2", "10")
    assert [one.keypoints.tolist()[1] for one in file.things] == [[20, 13], [9, 8]]
    assert [one.visibility.tolist() for one in file.things] == [[2, 2], [0, 2]]
    assert [one.box for one in file.things] == [(9.5, 4.5, 30, 20), (9.5, 5.5, 30, 20)]
    assert file.notes == (
        "1 box with ignore='1' is not used",
        "the mark occluded of 1 box is not used",
        "1 rectangle without points is not used",
    )
    assert len(read(path, "face").things) == 2


def test_names_in_latin_1(tmp_path: Path) -> None:
    path = save(tmp_path / "f.xml", BOX.format(5, "", "", PARTS), name="caf\xe9.png")
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    assert read(path).things[0].picture == "caf\xe9.png"


def test_training_and_testing_are_parts_of_one_set(tmp_path: Path) -> None:
    pictures(tmp_path)
    save(tmp_path / "training_with_landmarks.xml", BOX.format(5, "", "", PARTS))
    save(tmp_path / "testing_with_landmarks.xml", BOX.format(5, "", "", PARTS), name="b.jpg")
    source = find_source(tmp_path)
    assert source.total == 2
    assert source.split is not None
    assert source.split.tolist() == [-1, 2]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (BOX.format(5, "", "", PARTS + "<part name='2' x='1' y='1'/>"), r"image 'a\.png': 2 is there twice"),
        (
            BOX.format(5, "", "", "<part name='2' x='1'/>"),
            r"image 'a\.png', box 0: x, y of the part 2 must be 2 finite",
        ),
        (BOX.format("x", "", "", PARTS), r"box 0: left, top, width, height must be 4 finite numbers"),
    ],
)
def test_what_is_wrong_is_named(box: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(save(tmp_path / "f.xml", box))
