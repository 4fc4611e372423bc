"""LabelMe: groups, flags, embedded pictures, paths, and what is not used."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import SEEN, pictures, put, write_labelme, write_wide
from test_formats import collect, in_source_pixels

from kptool.base.errors import DataError
from kptool.data import convert
from kptool.data.annotations import LabelFile
from kptool.data.sources import Opening, find_source
from kptool.datasets.labelme import read


def shape(label: Any, *points: tuple[Any, Any], kind: Any = "point", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": [list(point) for point in points], "shape_type": kind, "flags": {}, **more}


def save(path: Path, *shapes: dict[str, Any], **more: Any) -> Path:
    document = {"version": "5.0.1", "shapes": list(shapes), "imagePath": "a.png", "imageData": None, **more}
    return put(path, json.dumps(document))


def seen(file: LabelFile) -> list[dict[str, tuple[float, float]]]:
    """The labelled points of each instance by name."""
    return [
        {n: (x, y) for n, (x, y), v in zip(file.names, one.keypoints.tolist(), one.visibility, strict=True) if v}
        for one in file.things
    ]


def test_groups_and_rectangles_make_instances(tmp_path: Path) -> None:
    """A group with a box, a group without, points in a free rectangle, and points in none."""
    path = save(
        tmp_path / "a.json",
        shape("nose", (10, 20), group_id=3), shape("tail", (30, 40), group_id=3),
        shape("cat", (5, 5), (35, 45), kind="rectangle", group_id=3),
        shape("nose", (50, 50), group_id="b"),
        shape("cat", (70, 20), (60, 10), kind="rectangle"), shape("nose", (65, 15)),
        shape("dog", (1, 60), (9, 69), kind="rectangle"), shape("nose", (90, 80)),
        imageHeight=90, imageWidth=100,
    )  # fmt: skip
    file = read(path)
    assert file.names == ("nose", "tail")
    assert seen(file) == [
        {"nose": (9.5, 19.5), "tail": (29.5, 39.5)},
        {"nose": (49.5, 49.5)},
        {"nose": (64.5, 14.5)},
        {"nose": (89.5, 79.5)},
    ]
    assert [one.box for one in file.things] == [(4.5, 4.5, 30, 40), None, (59.5, 9.5, 10, 10), None]
    assert {one.size for one in file.things} == {(90, 100)}
    assert file.notes == (
        "1 point in no rectangle is read as one more instance in each picture",
        "1 rectangle without points is not used",
    )
    assert len(read(path, "cat").things) == 2
    with pytest.raises(DataError, match="no rectangle labelled 'cow'; choose one of cat, dog"):
        read(path, "cow")


def test_flags_on_visibility_count_and_others_are_told(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.json",
        shape("p1", (1, 2), flags={"occluded": True}), shape("p2", (1, 3), flags={"visible": False, "checked": True}),
        shape("p10", (1, 4), difficult=True), shape("p9", (1, 5), attributes={"visibility": 2}),
        shape("p11", (1, 6), score=0.4, visible=False),
        shape("line", (1, 5), (1, 9), kind="line"), shape("blob", (1, 5), (1, 9), (4, 4), kind=None),
    )  # fmt: skip
    file = read(path)
    assert file.names == ("p1", "p2", "p9", "p10", "p11")
    assert file.things[0].visibility.tolist() == [1, 1, 2, 1, 1]
    assert file.notes[0] == "2 shapes other than points and rectangles are not used (line 1, polygon 1)"
    assert file.notes[1] == "1 flag of points is not used, as only those on visibility have a meaning"


def test_an_embedded_picture_is_used_where_the_file_is_missing(tmp_path: Path) -> None:
    pictures(tmp_path, ("a.png",))
    data = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    path = save(tmp_path / "in" / "x.json", shape("tip", (10.5, 20.5)), imagePath="../a.png", imageData=data)
    (tmp_path / "a.png").unlink()
    source = find_source(path, Opening(crop="picture"))
    samples = collect(source)
    assert samples.images[0, 20, 10] == 30  # the ramp x + y
    assert samples.keypoints[0].tolist() == [[10, 20]]
    assert "1 picture is read from the json, as imagePath leads to none" in source.notes
    done = convert.convert(path, tmp_path / "out", "coco", Opening())
    assert [p.name for p in (tmp_path / "out" / "images").iterdir()] == ["x.png"]
    assert np.array_equal(collect(find_source(done.file, Opening(crop="picture"))).images, samples.images)
    pictures(tmp_path / "far", ("a.png",))
    assert find_source(path, Opening(images=tmp_path / "far")).originals == [tmp_path / "far" / "a.png"]
    save(path, shape("tip", (10.5, 20.5)), imagePath="../a.png", imageData="no base64")
    with pytest.raises(DataError, match=r"x\.json"):
        collect(find_source(path, Opening(channels=1, size=(90, 100))))


def test_paths_are_relative_to_the_json_in_any_notation(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ("a.png", "b.png"))
    save(tmp_path / "labels" / "one.json", shape("tip", (1, 2)), imagePath="..\\images\\a.png")
    save(tmp_path / "labels" / "b.json", shape("tip", (3, 4)), imagePath=None)
    put(tmp_path / "labels" / "classes.json", '{"x": 1}')
    source = find_source(tmp_path)
    assert source.originals == [tmp_path / "images" / "b.png", tmp_path / "images" / "a.png"]
    assert "1 other json file in the folder is not used" in source.notes


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([shape("tip", (float("nan"), 2))], r"a\.json, shape 0: the place of tip must be 2 finite numbers"),
        ([shape("tip", (1, 2), (3, 4))], r"a point must have one position, but has 2"),
        (
            [shape("tip", (1, 2)), shape("tip", (3, 4))],
            r"tip is there twice; remove one, or give each instance a group",
        ),
        ([shape(None, (1, 2))], r"a point has no name; label it"),
        ([shape("box", (1, 2), (3, 4), kind="rectangle")], r"has no points; label the keypoints as points"),
        (["tip"], r"shapes must be a list of objects"),
    ],
)
def test_what_is_wrong_is_named(shapes: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(save(tmp_path / "a.json", *shapes))


def test_what_convert_writes_comes_back(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "in")
    done = convert.convert(path, tmp_path / "out", "labelme", Opening())
    first, again = find_source(path), find_source(done.file)
    assert again.skeleton == first.skeleton
    assert np.array_equal(collect(again).visibility, collect(first).visibility)
    assert np.abs(in_source_pixels(collect(again)) - in_source_pixels(collect(first)))[SEEN > 0].max() < 1e-4


def test_a_damaged_file_beside_its_picture_is_not_passed_over(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    for text in ("{}", "null", '{"version": "5', "[]", "words"):
        put(tmp_path / "a.json", text)
        with pytest.raises(DataError, match=r"a\.json is not LabelMe's json, as others in its folder are"):
            find_source(tmp_path)
    put(tmp_path / "a.json", json.dumps({"shapes": None, "imagePath": "a.png"}))
    assert find_source(tmp_path).total == 1
