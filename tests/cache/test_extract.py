"""``kptool extract`` on Kaggle's files in all their variants, and on every kind of invalid file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import kaggle_csv, tree
from PIL import Image

from kptool.base.skeleton import FACE15
from kptool.cache.store import Cache
from kptool.data import png
from kptool.data.sources import find_source


def zipped(csv: Path, path: Path, name: str = "training.csv") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(csv, name)
    return path


def test_complete_rows_are_kept_as_they_are(kptool: Any, in_tmp: Path) -> None:
    source = kaggle_csv(Path("training.csv"), rows=9, partial=2)
    done = kptool("extract", source, "--out", "f", "--json").json()
    assert (done["rows"], done["kept"], done["dropped"]) == (9, 7, {"not all keypoints labelled": 2})
    assert done["splits"] == {"train": 6, "val": 1}
    table = pd.read_csv(source)
    with Cache(Path("f/dataset.h5")) as cache:
        expected = table.iloc[:7, :30].to_numpy().reshape(7, 15, 2)
        assert np.allclose(cache.read("keypoints"), expected, atol=1e-5)
        pixels = np.array([[int(v) for v in text.split()] for text in table["Image"][:7]], np.uint8).reshape(7, 8, 8)
        assert np.array_equal(cache.read("images"), pixels)
        assert cache.info.names == FACE15.names
        assert cache.info.flip_pairs == FACE15.flip_pairs
    assert np.array_equal(np.asarray(Image.open("f/images/00006.png")), pixels[6])
    listed = pd.read_csv("f/keypoints.csv")
    assert listed["image"][3] == "images/00003.png"
    assert np.allclose(listed["nose_tip_x"], expected[:, 10, 0], atol=1e-4)


def test_all_rows_keep_what_is_labelled(kptool: Any, in_tmp: Path) -> None:
    kaggle_csv(Path("training.csv"), rows=5, partial=2)
    assert kptool("extract", "training.csv", "--keypoints", "all", "--out", "f", "--json").json()["kept"] == 5
    with Cache(Path("f/dataset.h5")) as cache:
        assert (cache.read("visibility")[4] > 0).tolist() == [True] * 2 + [False] * 13
        assert not cache.read("heatmaps")[4, 2:].any()
        assert np.isfinite(cache.read("keypoints")).all()
    assert pd.read_csv("f/keypoints.csv")["nose_tip_x"].isna().tolist() == [False] * 3 + [True] * 2


def test_zips_nested_zips_and_the_default_place_give_the_same(kptool: Any, in_tmp: Path) -> None:
    csv = kaggle_csv(Path("a.csv"))
    Path("data").mkdir()
    inner = zipped(csv, Path("data/training.zip"))
    with zipfile.ZipFile("whole.zip", "w") as archive:
        archive.write(inner, "facial/training.zip")
    zipped(csv, Path("folder.zip"), "training/training.csv")
    images = []
    for number, source in enumerate(("a.csv", "whole.zip", "folder.zip", None)):
        ran = kptool("extract", *([source] if source else []), "--out", f"f{number}")
        assert ran.code == 0, ran.err
        with Cache(Path(f"f{number}/dataset.h5")) as cache:
            images.append(cache.read("images"))
    assert "no SOURCE was given; using data/training.zip" in ran.err
    assert all(np.array_equal(images[0], other) for other in images)


def test_without_anything_it_makes_synthetic_faces(kptool: Any, in_tmp: Path) -> None:
    ran = kptool("extract", "--count", 12, "--out", "f", "--json")
    assert ran.json()["source"].startswith("synthetic")
    assert "no SOURCE was given; using synthetic" in ran.err


def test_groups_keep_people_together(kptool: Any, in_tmp: Path) -> None:
    kaggle_csv(Path("training.csv"), rows=20)
    pd.DataFrame({"row": range(20), "group": [i // 4 for i in range(20)]}).to_csv("g.csv", index=False)
    assert kptool("extract", "training.csv", "--groups", "g.csv", "--val", 0.2, "--out", "f").code == 0
    with Cache(Path("f/dataset.h5")) as cache:
        split, group = cache.read("split"), cache.read("group")
        assert split.sum() == 4
        assert len(set(group[split == 1])) == 1


def test_the_same_seed_gives_the_same_file_contents(kptool: Any, in_tmp: Path) -> None:
    kaggle_csv(Path("training.csv"), rows=30)
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        kptool("extract", "training.csv", "--out", out, "--seed", seed)
    splits = []
    for out in "abc":
        with Cache(Path(out) / "dataset.h5") as cache:
            splits.append(cache.read("split").tolist())
    assert splits[0] == splits[1] != splits[2]
    assert Path("a/keypoints.csv").read_bytes() == Path("b/keypoints.csv").read_bytes()


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "none"])
def test_heatmap_types(kptool: Any, in_tmp: Path, dtype: str) -> None:
    kaggle_csv(Path("training.csv"))
    assert kptool("extract", "training.csv", "--heatmaps", dtype, "--out", "f").code == 0
    with Cache(Path("f/dataset.h5")) as cache:
        assert cache.info.heatmaps == dtype
        if dtype != "none":
            assert cache.read("heatmaps").dtype == dtype


def test_an_extraction_is_replaced_only_when_told_to(kptool: Any, refused: Any, in_tmp: Path) -> None:
    kaggle_csv(Path("training.csv"), rows=6)
    kptool("extract", "training.csv", "--out", "f")
    Path("f/mine.txt").write_text("mine")
    before = tree(Path("f"))
    assert "pass --force" in refused("extract", "training.csv", "--out", "f")
    assert tree(Path("f")) == before
    kaggle_csv(Path("training.csv"), rows=3, seed=1)
    assert kptool("extract", "training.csv", "--out", "f", "--force").code == 0
    assert sorted(tree(Path("f"))) == [
        "dataset.h5",
        "images/00000.png",
        "images/00001.png",
        "images/00002.png",
        "keypoints.csv",
        "mine.txt",
    ]


def edit(row: int, column: int, value: str) -> Any:
    def change(text: str) -> str:
        lines = text.splitlines()
        cells = lines[row + 1].split(",")
        cells[column] = value
        lines[row + 1] = ",".join(cells)
        return "\n".join(lines) + "\n"

    return change


PIXELS = " ".join(["7"] * 64)
BAD = {
    "a missing Image column": (lambda t: t.replace("Image", "Picture"), "the column Image"),
    "a missing y column": (lambda t: t.replace("nose_tip_y", "nose"), "nose_tip_y is missing"),
    "no keypoint columns": (lambda t: t.replace("_x", "").replace("_y", "_"), "expected"),
    "a short row of pixels": (edit(3, 30, PIXELS[:-2]), r"row 3 (line 5): Image has 63 pixels, expected 64"),
    "a long row of pixels": (edit(3, 30, PIXELS + " 7"), r"row 3 (line 5): Image has more pixels than 64"),
    "a pixel that is a word": (
        edit(2, 30, PIXELS.replace("7", "x", 1)),
        "row 2 (line 4): Image has a pixel that is not a number",
    ),
    "a pixel above 255": (edit(2, 30, PIXELS.replace("7", "256", 1)), "row 2 (line 4): Image has a pixel above 255"),
    "a coordinate that is a word": (
        edit(1, 4, "abc"),
        "row 1 (line 3): left_eye_inner_corner_x is not a finite number",
    ),
    "a coordinate that is nan": (edit(1, 4, "nan"), "row 1 (line 3): left_eye_inner_corner_x is not a finite number"),
    "an infinite coordinate": (edit(1, 4, "inf"), "row 1 (line 3): left_eye_inner_corner_x is not a finite number"),
    "half a keypoint": (edit(1, 4, ""), "row 1 (line 3): left_eye_inner_corner"),
    "a point outside": (edit(5, 0, "40"), "row 5 (line 7): left_eye_center (40,"),
    "a missing column in a row": (lambda t: t[: t.rindex(",")] + "\n", "30 of 31 columns"),
    "an additional column in a row": (edit(0, 0, "1,2"), "row 0"),
    "only a header": (lambda t: t.splitlines()[0] + "\n", "row 0"),
    "nothing": (lambda t: "", "the column Image"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_csv_is_named_with_file_row_and_fix(refused: Any, in_tmp: Path, case: str) -> None:
    change, expected = BAD[case]
    csv = kaggle_csv(Path("training.csv"))
    csv.write_text(change(csv.read_text()))
    sentence = refused("extract", "training.csv", "--out", "f")
    assert "training.csv" in sentence
    assert expected in sentence
    assert not Path("f").exists()


def test_broken_zips(refused: Any, in_tmp: Path) -> None:
    csv = kaggle_csv(Path("a.csv"), rows=40)
    whole = zipped(csv, Path("training.zip")).read_bytes()
    Path("training.zip").write_bytes(whole[: len(whole) // 2])
    assert "not a whole zip file" in refused("extract", "training.zip")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    Path("training.zip").write_bytes(bytes(damaged))
    assert "training.zip" in refused("extract", "training.zip")
    zipped(csv, Path("other.zip"), "other.csv")
    assert "holds no training.csv" in refused("extract", "other.zip")
    Path("empty.zip").write_bytes(b"")
    assert "empty.zip" in refused("extract", "empty.zip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("training.zip", b"not a zip")
    Path("nested.zip").write_bytes(buffer.getvalue())
    assert "nested.zip" in refused("extract", "nested.zip")
    assert not Path("data").exists()


def test_groups_of_that_are_not_there_are_told(kptool: Any, in_tmp: Path) -> None:
    kaggle_csv(Path("training.csv"))
    Path("g.csv").write_text("row,group\n" + "".join(f"{row},{row}\n" for row in range(9)))
    ran = kptool("extract", "training.csv", "--groups", "g.csv", "--json")
    assert ran.json()["notes"] == ["3 rows of g.csv are not used, from row 6 on: the source has 6 rows"]


def test_bad_options_and_groups(refused: Any, in_tmp: Path) -> None:
    kaggle_csv(Path("training.csv"))
    cases = {
        ("missing.csv",): "there is no file or folder missing.csv",
        ("training.csv", "--keypoints", "some"): "complete or all",
        ("training.csv", "--sigma", "0"): "sigma must be",
        ("training.csv", "--stride", "0"): "stride must be",
        ("training.csv", "--heatmaps", "int8"): "uint8, float16, float32, none",
        ("training.csv", "--val", "1"): "--val must be the fraction",
        ("training.csv", "--groups", "none.csv"): "groups file none.csv",
    }
    for arguments, expected in cases.items():
        assert expected in refused("extract", *arguments, "--out", "f")
    Path("g.csv").write_text("row,group\n0,1\n")
    assert "there is no group for row 1" in refused("extract", "training.csv", "--groups", "g.csv", "--out", "f")
    Path("g.csv").write_text("a,b\n0,1\n")
    Path("g.csv").write_text("row,group\n0,1\n\n1,1\n2,5\n1,7\n")
    twice = refused("extract", "training.csv", "--groups", "g.csv", "--out", "f")
    assert "g.csv, line 6: row 1 has a group already, in line 4; remove one of them" in twice
    Path("g.csv").write_text("row;group\n")
    assert "columns row and group" in refused("extract", "training.csv", "--groups", "g.csv", "--out", "f")
    assert not Path("f").exists()


def test_when_no_row_is_complete(refused: Any, in_tmp: Path) -> None:
    kaggle_csv(Path("training.csv"), rows=3, partial=3)
    assert "--keypoints all" in refused("extract", "training.csv", "--out", "f")
    assert not Path("f").exists()


def test_real_faces(kptool: Any, in_tmp: Path, real_faces: Path) -> None:
    ran = kptool(
        "extract", real_faces / "training.zip", "--groups", real_faces / "groups.csv", "--heatmaps", "none", "--json"
    )
    done = ran.json()
    assert (done["rows"], done["kept"]) == (3406, 2134)
    assert abs(done["splits"]["val"] - 213) <= 15


@pytest.mark.parametrize("shape", [(96, 96), (1, 7), (5, 1, 3), (31, 17, 3)])
def test_pngs_hold_what_was_given(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with Image.open(io.BytesIO(png.encode_png(image))) as read:
        read.verify()
    with Image.open(io.BytesIO(png.encode_png(image))) as read:
        assert np.array_equal(np.asarray(read), image)


def test_left_and_right_of_kaggles_columns_are_confirmed_by_where_the_points_lie(tmp_path: Path) -> None:
    path = kaggle_csv(tmp_path / "training.csv", rows=12)
    assert find_source(path).flip_note == "6 left/right pairs, by name, confirmed by where they lie"
    header, _, rows = path.read_text().partition("\n")
    columns = header.split(",")
    path.write_text(",".join([*columns[6:30], *columns[:6], "Image"]) + "\n" + rows)
    source = find_source(path)
    assert not source.skeleton.mirror
    assert "the points contradict them" in source.flip_note
