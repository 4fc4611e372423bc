"""Csv files as found in practice: every column is used or reported, and missing values are never labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from label_files import HEIGHT, NAMES, WIDTH, pictures, put, write_pts, write_wide
from PIL import Image

from kptool.base.errors import DataError
from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache
from kptool.data import convert
from kptool.data.annotations import LabelFile
from kptool.data.sources import Opening, find_source
from kptool.datasets import pts, table


def read(folder: Path, text: str, name: str = "t.csv") -> LabelFile:
    return table.read(put(folder / name, text))


def seen(file: LabelFile) -> list[list[int]]:
    return [thing.visibility.tolist() for thing in file.things]


@pytest.mark.parametrize("suffix", ["v", "vis", "visible", "visibility", "Vis", "is_visible"])
def test_a_zero_flag_at_0_0_is_a_missing_point_whatever_the_flag_is_called(tmp_path: Path, suffix: str) -> None:
    head = f"image,tip_x,tip_y,tip_{suffix},left_edge_x,left_edge_y,left_edge_{suffix}\n"
    file = read(tmp_path, head + "a.png,0,0,0,60.5,48,2\nb.jpg,7,8,2,0,0,0\n")
    assert file.names == ("tip", "left_edge")
    assert seen(file) == [[0, 2], [2, 0]]
    assert file.notes == ()


@pytest.mark.parametrize("column", ["visible", "v", "visibility", "Visible"])
def test_flags_of_long_tables_count(tmp_path: Path, column: str) -> None:
    text = f"image,keypoint,x,y,{column}\na.png,tip,0,0,0\na.png,base,8,6,2\nb.jpg,tip,7,5,2\nb.jpg,base,0,0,0\n"
    assert seen(read(tmp_path, text)) == [[0, 2], [2, 0]]


@pytest.mark.parametrize("form", ["wide", "long"])
@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("visible", ("1", "0", "1"), [2, 1, 2]),
        ("visible", ("true", "false", ""), [2, 1, 2]),
        ("visible", ("yes", "hidden", "No"), [2, 1, 1]),
        ("vis", ("visible", "occluded", "missing"), [2, 1, 0]),
        ("vis", ("1", "0", "1"), [2, 0, 2]),
        ("visibility", ("1", "0", "1"), [1, 0, 1]),
        ("v", ("2", "-1", "1"), [2, 0, 1]),
        ("occluded", ("0", "1", "TRUE"), [2, 1, 1]),
        ("hidden", ("no", "yes", "visible"), [2, 1, 2]),
        ("likelihood", ("0.97", "0.2", "0"), [2, 1, 0]),
        ("conf", ("1", "0.59", "0.6"), [2, 1, 2]),
        ("v", ("1", "0.3", "0.0"), [2, 1, 0]),
        ("score", ("1.01", "0.9", ""), [2, 2, 2]),
    ],
)
def test_flags_are_numbers_words_or_confidences(
    tmp_path: Path, form: str, name: str, values: tuple[str, ...], expected: list[int]
) -> None:
    if form == "wide":
        rows = [f"{i}.png,5,6,{value}" for i, value in enumerate(values)]
        file = read(tmp_path, "\n".join([f"image,tip_x,tip_y,tip_{name}", *rows, ""]))
    else:
        rows = [f"{i}.png,tip,5,6,{value}" for i, value in enumerate(values)]
        file = read(tmp_path, "\n".join([f"image,keypoint,x,y,{name}", *rows, ""]))
    assert [flag for (flag,) in seen(file)] == expected


def test_what_was_decided_is_said_with_its_counts(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "image,a_x,a_y,a_v,b_x,b_y,b_likelihood,c_x,c_y,d_x,d_y,d_visible\n"
        "a.png,5,6,0,5,6,0.1,-1,-1,5,6,no\nb.jpg,5,6,2,5,6,0,0,0,5,6,yes\n",
    )
    assert seen(file) == [[0, 1, 0, 1], [2, 0, 2, 2]]
    assert file.notes == (
        "1 keypoint at -1,-1 is taken as missing",
        "1 keypoint has a place and a flag that says unlabelled; it is not used",
        "1 keypoint has a place and a flag that says not visible; it is kept as occluded",
        "1 keypoint with a confidence of 0 is taken as missing",
        "1 keypoint with a confidence below 0.6 is kept, as occluded",
        "1 keypoint at 0,0 is used, as nothing says that it is missing",
    )


def test_a_visibility_counts_before_a_confidence(tmp_path: Path) -> None:
    file = read(tmp_path, "image,a_x,a_y,a_conf,a_visibility\na.png,5,6,0.1,2\nb.jpg,5,6,0.9,\n")
    assert seen(file) == [[2], [2]]
    assert file.notes == ("1 keypoint has a visibility and a confidence; the confidence is not used",)


def test_confidences_beyond_1_are_not_used_and_said(tmp_path: Path) -> None:
    file = read(tmp_path, "image,a_x,a_y,a_conf\na.png,5,6,97\nb.jpg,5,6,3\n")
    assert seen(file) == [[2], [2]]
    assert file.notes == ("confidences are not used, for they go up to 97; expected 0 to 1",)


def test_nan_in_any_words_and_1_1_below_0_are_no_labels(tmp_path: Path) -> None:
    file = read(tmp_path, "image,a_x,a_y,a_visibility\na.png,NaN,nan,2\nb.jpg,-1,-1,2\nc.png,None,,2\n")
    assert seen(file) == [[0], [0], [0]]
    assert file.notes == ("1 keypoint at -1,-1 has a flag that says labelled, and is taken as missing",)


def test_0_0_of_a_low_confidence_on_any_scale_is_missing(tmp_path: Path) -> None:
    file = read(tmp_path, "image,a_x,a_y,a_conf\na.png,0,0,0.05\nb.jpg,0,0,0.9\n")
    assert seen(file) == [[0], [2]]
    assert file.notes[0] == "1 keypoint at 0,0 with a confidence below 0.6 is taken as missing"
    file = read(tmp_path, "image,a_x,a_y,a_conf\na.png,0,0,0\nb.jpg,5,6,98\n")
    assert seen(file) == [[0], [2]]


def test_flags_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3: visible is 'perhaps', expected a number or a word"):
        read(tmp_path, "image,a_x,a_y,a_visible\na.png,1,1,1\nb.jpg,1,1,perhaps\n")
    with pytest.raises(DataError, match=r"line 2: visibility must be 0, 1 or 2; got 7"):
        read(tmp_path, "image,a_x,a_y,a_v\na.png,1,1,7\n")
    with pytest.raises(DataError, match=r"line 2: occluded must be 0 or 1; got 2"):
        read(tmp_path, "image,a_x,a_y,a_occluded\na.png,1,1,2\n")


@pytest.mark.parametrize(
    ("head", "cells"),
    [
        ("box_x,box_y,box_width,box_height", "2,3,10,20"),
        ("bbox_x,bbox_y,bbox_w,bbox_h", "2,3,10,20"),
        ("bbox_x1,bbox_y1,bbox_x2,bbox_y2", "2,3,12,23"),
        ("xmin,ymin,xmax,ymax", "2,3,12,23"),
        ("x_min,y_min,x_max,y_max", "12,23,2,3"),
        ("left,top,right,bottom", "2,3,12,23"),
        ("xtl,ytl,xbr,ybr", "2,3,12,23"),
        ("box_cx,box_cy,box_w,box_h", "7,13,10,20"),
        ("x,y,width,height", "2,3,10,20"),
    ],
)
def test_boxes_are_read_by_their_usual_names(tmp_path: Path, head: str, cells: str) -> None:
    file = read(tmp_path, f"image,{head},a_x,a_y\na.png,{cells},5,6\nb.jpg,,,,,5,6\n")
    assert file.names == ("a",)
    assert [thing.box for thing in file.things] == [(2, 3, 10, 20), None]
    assert file.notes == ()
    if not head.startswith("x,"):
        file = read(tmp_path, f"image,keypoint,x,y,{head}\na.png,a,5,6,{cells}\n")
        assert [thing.box for thing in file.things] == [(2, 3, 10, 20)]


@pytest.mark.parametrize("head", ["face_x,face_y,face_w,face_h", "rect.x,rect.y,rect.width,rect.height"])
def test_a_box_may_be_called_by_what_it_is_around(tmp_path: Path, head: str) -> None:
    file = read(tmp_path, f"image,{head},a_x,a_y\na.png,2,3,10,20,5,6\n")
    assert (file.names, file.things[0].box, file.notes) == (("a",), (2, 3, 10, 20), ())
    file = read(tmp_path, "image,b_x,b_y,b_w,b_h,a_x,a_y,a_w,a_h\na.png,2,3,10,20,5,6,1,1\n")
    assert file.names == ("b", "a")  # sizes of keypoints, not of an object


def test_boxes_without_a_size_are_counted(tmp_path: Path) -> None:
    file = read(tmp_path, "image,box_x,box_y,box_w,box_h,a_x,a_y\na.png,0,0,0,0,5,6\n")
    assert file.things[0].box is None
    assert file.notes == ("1 box has no size and is not used",)


def test_columns_that_say_nothing_known_are_named(tmp_path: Path) -> None:
    file = read(tmp_path, "image,a_x,a_y,a_z,photographer\na.png,1,2,3,Ann\n")
    assert file.notes == ("2 columns are not used: a_z, photographer",)
    file = read(tmp_path, "image,keypoint,x,y,depth\na.png,a,1,2,3\n")
    assert file.notes == ("the column depth is not used",)


def test_an_index_that_only_counts_rows_is_no_keypoint_and_no_loss(tmp_path: Path) -> None:
    file = read(tmp_path, ",frame_path,a_x,a_y,\n0,a.png,1,2,\n3,b.jpg,3,4,\n")
    assert file.names == ("a",)
    assert [thing.picture for thing in file.things] == ["a.png", "b.jpg"]
    assert file.notes == ()
    assert read(tmp_path, ",image,a_x,a_y\n7,a.png,1,2\n3,b.jpg,3,4\n").notes == ("the column unnamed 0 is not used",)


def test_numbered_columns_with_a_flag_in_every_third_are_no_pairs(tmp_path: Path) -> None:
    file = read(tmp_path, "image,0,1,2,3,4,5\na.png,10,20,2,0,0,0\nb.jpg,11,21,1,30,40,2\n")
    assert file.names == ("p01", "p02")
    assert seen(file) == [[2, 0], [1, 2]]
    with pytest.raises(DataError, match=r"3 columns have numbers as names; expected x and y"):
        read(tmp_path, "image,0,1,2\na.png,10,20,30\n")


def test_what_predict_writes_of_several_things_reads_back(tmp_path: Path) -> None:
    pictures(tmp_path)
    head = "file,face,keypoint,x,y,score,radius90\n"
    rows = [f"a.png,{face},{name},{10 * face + k},{20 + k},0.9,\n" for face in (0, 1) for k, name in enumerate(NAMES)]
    file = read(tmp_path, head + "".join(rows))
    assert [thing.picture for thing in file.things] == ["a.png", "a.png"]
    assert [thing.keypoints[0].tolist() for thing in file.things] == [[0, 20], [10, 20]]
    assert file.notes == ()
    more = head.replace("radius90", "radius90,frame,time")
    assert read(tmp_path, more + "".join(row.replace("\n", ",3,0.1\n") for row in rows)).notes == ()
    assert find_source(tmp_path / "t.csv").total == 2


def test_what_extract_writes_reads_back_without_a_word(tmp_path: Path) -> None:
    extract(find_source(write_wide(tmp_path / "in")), tmp_path / "out", Options())
    assert table.read(tmp_path / "out" / "keypoints.csv").notes == ()


def test_a_category_has_no_meaning_for_what_is_of_one_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--category dog has no meaning"):
        find_source(write_wide(tmp_path / "a"), Opening(category="dog"))
    with pytest.raises(DataError, match="--category dog has no meaning"):
        find_source(write_pts(tmp_path / "b"), Opening(category="dog"))


def test_flags_and_other_columns_of_kaggles_csv_count(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 64)
    rows = [f"0,0,0,5,5,2,3,{pixels}", f"-1,-1,,6,5,0,3,{pixels}", f"1,2,2,,,,3,{pixels}"]
    place = put(tmp_path / "training.csv", "\n".join(["a_x,a_y,a_v,b_x,b_y,b_v,age,Image", *rows, ""]))
    source = find_source(place)
    assert next(source.blocks()).visibility.tolist() == [[0, 2], [0, 0], [2, 0]]
    assert source.notes == (
        "visibility is also read from a_v, b_v",
        "the column age is not used",
    )


def test_points_of_pts_files_may_be_missing(tmp_path: Path) -> None:
    pictures(tmp_path)
    put(tmp_path / "a.pts", "version: 1\nn_points: 3\n{\n5 6\n-1 -1\nnan nan\n}\n")
    file = pts.read(tmp_path)
    assert seen(file) == [[2, 0, 0]]
    assert file.notes == ("1 keypoint at -1,-1 is taken as missing",)


def test_pictures_of_one_size_keep_it_where_they_are_taken_whole(tmp_path: Path) -> None:
    labels = write_wide(tmp_path)
    source = find_source(labels)
    assert source.size == (HEIGHT, WIDTH)
    done = extract(source, tmp_path / "out", Options())
    with Cache(done.cache) as cache:
        assert cache.info.size == (HEIGHT, WIDTH)
    assert max(find_source(labels, Opening(crop="box")).size) == 128
    assert find_source(labels, Opening(size=(48, 64))).size == (48, 64)
    assert find_source(tmp_path / "out" / "keypoints.csv").size == (HEIGHT, WIDTH)
    Image.new("L", (WIDTH, HEIGHT + 1)).save(tmp_path / "b.jpg")
    assert max(find_source(labels).size) == 128


def test_large_pictures_of_one_size_become_small(tmp_path: Path) -> None:
    Image.new("L", (513, 20)).save(tmp_path / "a.png")
    assert find_source(put(tmp_path / "t.csv", "image,a_x,a_y\na.png,1,2\n")).size == (32, 384)


def test_names_of_any_case_and_sign_are_keypoints(tmp_path: Path) -> None:
    file = read(tmp_path, "Image_Name,Tip_X,Tip_Y,tip_VIS,base.x,base.y\na.png,1,2,0,3,4\n")
    assert file.names == ("Tip", "base")
    assert seen(file) == [[0, 2]]
    missing: Any = file.things[0].keypoints[1].tolist()
    assert missing == [3, 4]


def test_notes_of_a_source_with_its_own_pictures_come_through_convert(tmp_path: Path) -> None:
    put(tmp_path / "training.csv", "a_x,a_y,age,Image\n1,2,3," + " ".join(["7"] * 64) + "\n")
    done = convert.convert(tmp_path / "training.csv", tmp_path / "out", "csv", Opening())
    assert "the column age is not used" in done.notes


@pytest.mark.parametrize("form", ["wide", "long"])
def test_a_column_of_parts_is_the_datas_own_split(form: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    long = "image,split,keypoint,x,y\na.png,Train,a,5,6\nb.jpg,valid,a,5,6\n"
    file = read(tmp_path, long if form == "long" else "image,a_x,a_y,split\na.png,5,6,Train\nb.jpg,5,6,valid\n")
    assert [thing.split for thing in file.things] == ["train", "val"]
    assert file.notes == ()
    source = find_source(tmp_path / "t.csv")
    assert source.split is not None
    assert source.split.tolist() == [0, 1]
    other = read(tmp_path, "image,a_x,a_y,split\na.png,5,6,left\nb.jpg,5,6,right\n")
    assert other.notes == ("the column split is not used",)
