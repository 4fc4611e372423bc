"""Users' own pictures and labels: no data loss, silent or not, and errors that name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import kaggle_csv, synthetic, tree
from label_files import pictures, put, write_coco, write_wide
from numpy.typing import NDArray
from PIL import Image

from kptool.base.errors import DataError
from kptool.base.skeleton import FACE15
from kptool.data import convert, sources
from kptool.data.annotations import LabelFile


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_extraction_never_replaces_what_it_is_made_from(
    kptool: Any, refused: Any, in_tmp: Path, force: list[str]
) -> None:
    assert kptool("convert", write_coco(in_tmp), "--to", "csv", "--out", "orig").code == 0
    before = tree(in_tmp / "orig")
    said = refused("extract", "orig/keypoints.csv", "--out", "orig", "--size", 32, *force)
    assert "would be lost" in said
    assert "--out" in said
    assert "--force" not in said
    assert tree(in_tmp / "orig") == before


def test_originals_are_known_through_links_and_other_ways_to_write_a_path(refused: Any, in_tmp: Path) -> None:
    (in_tmp / "images").mkdir()
    table = write_wide(in_tmp / "images")
    before = tree(in_tmp)
    (in_tmp / "link").symlink_to(in_tmp)
    assert "would be lost" in refused("extract", table, "--out", "link/images/..", "--force")
    assert tree(in_tmp) == before
    (in_tmp / "images" / "fixes.csv").write_text("row,action\n")
    assert "fixes.csv of the source would be lost" in refused(
        "extract", "--out", ".", "--force", "--patch", "images/fixes.csv"
    )


def test_a_source_beside_the_extraction_is_no_obstacle(kptool: Any, in_tmp: Path) -> None:
    kaggle_csv(in_tmp / "training.csv")
    for force in ([], ["--force"]):
        assert kptool("extract", "training.csv", "--out", ".", *force).code == 0
    assert (in_tmp / "training.csv").is_file()


@pytest.mark.parametrize("form", ["yolo", "coco", "csv"])
def test_pictures_that_differ_in_suffix_or_folder_keep_their_own_labels(tmp_path: Path, form: str) -> None:
    names = ("a.png", "a.jpg", "below/a.png", "000002-a.png", "B.png", "b.png")
    for folder in ("", "below"):
        pictures(tmp_path / folder, tuple(Path(name).name for name in names))
    lines = [f"{name},{10 + 5 * k},{20 + 2 * k}" for k, name in enumerate(names)]
    table = put(tmp_path / "points.csv", "\n".join(["image,tip_x,tip_y", *lines]))
    done = convert.convert(table, tmp_path / "out", form, sources.Opening())
    assert done.pictures == 6
    path, reader = sources.find_reader(done.file)
    back = sources.read_labels(path, reader, sources.Opening())[0]
    assert len({thing.picture for thing in back.things}) == 6
    found = sorted(tuple(thing.keypoints[0].round(3).tolist()) for thing in back.things)
    assert found == [(10 + 5 * k, 20 + 2 * k) for k in range(6)]


def read(path: Path) -> LabelFile:
    found, reader = sources.find_reader(path)
    return sources.read_labels(found, reader, sources.Opening())[0]


def test_a_keypoint_called_box_is_kept(tmp_path: Path) -> None:
    pictures(tmp_path)
    file = read(put(tmp_path / "t.csv", "image,box_x,box_y,lid_x,lid_y\na.png,1,2,3,4\n"))
    assert file.names == ("box", "lid")
    assert file.things[0].box is None
    out = convert.convert(tmp_path / "t.csv", tmp_path / "out", "csv", sources.Opening())
    assert read(out.file).names == ("box", "lid")
    boxed = read(put(tmp_path / "b.csv", "image,box_x,box_y,box_width,box_height,lid_x,lid_y\na.png,1,2,30,40,3,4\n"))
    assert boxed.names == ("lid",)
    assert boxed.things[0].box == (1, 2, 30, 40)


def test_a_csv_with_a_keypoint_called_box_and_boxes_is_not_written(tmp_path: Path) -> None:
    labels = write_coco(tmp_path)
    labels.write_text(labels.read_text().replace('"nose"', '"box"'))
    with pytest.raises(DataError, match="two columns box_x; rename the keypoint"):
        convert.convert(labels, tmp_path / "out", "csv", sources.Opening())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,a_x,a_y,b_x\na.png,1,2,3\n", "has a column b_x and none called b_y"),
        ("image,a_x,a_y,b_y\na.png,1,2,3\n", "has a column b_y and none called b_x"),
        ("image,a_x,a_y,a_x,a_y\na.png,1,2,3,4\n", "has several columns a_x"),
        ("image,a_x,a_y,box_x,box_y,box_width\na.png,1,2,3,4,5\n", "a box has the columns box_x"),
        ("image,a_x,a_y\na.png,1,2\nb.jpg,1,2,3\n", "line 3: 4 cells, but the header has 3"),
        ("image,a_x,a_y\na.png,1,2,3\nb.jpg,1,2,3\n", "line 2: 4 cells, but the header has 3"),
        ("image;a_x;a_y\na.png;1,5;2.5\n", "line 2: a_x is '1,5', expected a number such as 12.5"),
        ("image,keypoint,x,y\na.png,tip,1,5;2\n", "line 2: y is '5;2', expected a number such as 12.5"),
    ],
)
def test_a_csv_that_does_not_say_what_it_means_is_refused(refused: Any, in_tmp: Path, text: str, says: str) -> None:
    pictures(in_tmp)
    put(in_tmp / "t.csv", text)
    said = refused("extract", "t.csv")
    assert "t.csv" in said
    assert says in said
    assert any(fix in said for fix in ("add", "rename", "remove", "correct"))


def test_visibility_may_be_stated_of_some_keypoints(tmp_path: Path) -> None:
    pictures(tmp_path)
    file = read(put(tmp_path / "t.csv", "image,a_x,a_y,a_visibility,b_x,b_y,\na.png,1,2,1,3,4,\nb.jpg,1,2,,,,\n"))
    assert [thing.visibility.tolist() for thing in file.things] == [[1, 2], [2, 0]]


def test_labels_far_outside_say_where(refused: Any, in_tmp: Path) -> None:
    pictures(in_tmp)
    put(in_tmp / "t.csv", "image,a_x,a_y\na.png,10,20\nb.jpg,5000,20\n")
    said = refused("extract", "t.csv", "--out", "out")
    assert "t.csv, row 1" in said
    assert "b.jpg" in said
    assert "correct them" in said


def boxed(folder: Path, count: int = 40) -> NDArray[np.float64]:
    """Synthetic 96x96 faces, each at (30, 20) in a box on a 160x140 picture; writes labels.csv to `folder`."""
    images, points = synthetic(count)
    lines = ["image,box_x,box_y,box_width,box_height," + ",".join(f"{n}_{axis}" for n in FACE15.names for axis in "xy")]
    points = points.astype(np.float64) + [30, 20]
    points[3, 2] = (-15, -12)
    points[7, 5] = (159.5 + 10, 60)
    points[9, 5] = (159.5, 139.5)  # the very corner
    for number, (image, face) in enumerate(zip(images, points, strict=True)):
        picture = Image.new("L", (160, 140), 90)
        picture.paste(Image.fromarray(image), (30, 20))
        picture.save(folder / f"{number}.png")
        lines.append(",".join([f"{number}.png,29.5,19.5,96,96", *(f"{value:.3f}" for value in face.ravel())]))
    put(folder / "labels.csv", "\n".join(lines))
    return points


def test_labels_outside_of_their_picture_are_found_in_crops(kptool: Any, in_tmp: Path) -> None:
    boxed(in_tmp)
    assert kptool("extract", "labels.csv", "--out", "o", "--size", 48).code == 0
    ran = kptool("doctor", "o/dataset.h5", "--patch", "fixes.csv", "--json").json()
    findings = [f for f in ran["findings"] if f["check"] in ("outside", "label")]
    outside = [f for f in findings if f["check"] == "outside"]
    assert {(f["row"], f["keypoint"]) for f in outside} == {(3, 2), (7, 5)}
    assert "(-15.0, -12.0) is outside the 160x140 picture" in outside[0]["detail"]
    assert not [f for f in findings if f["check"] == "label" and f["row"] in (3, 7)]
    changes = [line for line in Path("fixes.csv").read_text().splitlines() if "unlabel" in line]
    assert [line.split(",")[0] for line in changes if line.split(",")[0] in ("3", "7")] == ["3", "7"]
    assert kptool("extract", "labels.csv", "--out", "p", "--size", 48, "--patch", "fixes.csv").code == 0
    again = kptool("doctor", "p/dataset.h5", "--json").json()
    assert "outside" not in again["counts"]


def test_a_cache_that_does_not_say_how_large_pictures_were_is_judged_by_its_images(kptool: Any, in_tmp: Path) -> None:
    boxed(in_tmp)
    assert kptool("extract", "labels.csv", "--out", "o", "--size", 48).code == 0
    with h5py.File("o/dataset.h5", "r+") as file:
        assert file["picture_size"][:].tolist() == [[140, 160]] * 40
        del file["picture_size"]
    assert "outside" not in kptool("doctor", "o/dataset.h5", "--json").json()["counts"]
    with h5py.File("o/dataset.h5", "r+") as file:
        file["picture_size"] = np.zeros((3, 2), np.int32)
    assert "/picture_size is int32 (3, 2)" in kptool("doctor", "o/dataset.h5").err


def test_suggestions_of_models_of_crops_for_whole_pictures_say_so(
    kptool: Any, in_tmp: Path, faces: Path, run_folder: Path
) -> None:
    boxed(in_tmp, 12)
    assert kptool("extract", "labels.csv", "--out", "o", "--size", 48).code == 0
    wanted = ("--suggest", 2, "--pool", "0.png", "--pool", "1.png", "--run", run_folder)
    ran = kptool("learn-curve", "o/dataset.h5", *wanted)
    assert ran.code == 0, ran.err
    assert "the pool's pictures are used whole" in ran.err
    assert "taken whole" not in kptool("learn-curve", faces, *wanted).err
