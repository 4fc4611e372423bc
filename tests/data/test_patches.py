"""Patches are parsed strictly, and change only the row and keypoint that they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kptool.base.errors import DataError
from kptool.cache.store import Cache
from kptool.data import patches
from kptool.data.annotations import Samples
from kptool.data.patches import Change

NAMES = ("left_eye", "right_eye", "nose")
HEADER = "row,action,keypoint,x,y,reason\n"


def samples() -> Samples:
    points = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    affine = np.tile(np.array([[0.5, 0, 3], [0, 0.5, -1]], np.float64), (4, 1, 1))
    return Samples(
        np.zeros((4, 8, 8), np.uint8), points, np.full((4, 3), 2, np.uint8), np.array([10, 11, 12, 20]), affine
    )


def read(tmp_path: Path, text: str) -> patches.Patches:
    path = tmp_path / "patch.csv"
    path.write_text(text)
    return patches.read(path, NAMES)


def test_every_action(tmp_path: Path) -> None:
    patch = read(
        tmp_path,
        HEADER
        + "10,drop,,,,twice\n11,swap,,,,\n12,set,nose,20,40,looked\n\n12,unlabel,left_eye,,,\n999,drop,,,,elsewhere\n",
    )
    before = samples()
    after = patch.apply(before, [(0, 1)])
    assert after.rows.tolist() == [11, 12, 20]
    assert np.array_equal(after.keypoints[0], before.keypoints[1][[1, 0, 2]])
    assert after.keypoints[1, 2].tolist() == [13, 19]  # (20, 40) in the source, halved and shifted
    assert after.visibility[1].tolist() == [0, 2, 2]
    assert after.keypoints[1, 0].tolist() == [0, 0]
    assert np.array_equal(after.keypoints[2], before.keypoints[3])
    assert np.array_equal(before.keypoints, samples().keypoints)


def test_samples_that_no_line_names_are_passed_on(tmp_path: Path) -> None:
    before = samples()
    assert read(tmp_path, HEADER + "1,drop,,,,\n").apply(before, []) is before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("99,drop,,,,\n", "patch.csv names row 99, which the source does not have; give the source that the patch was"),
        ("0,drop,,,,\n7,drop,,,,\n8,drop,,,,\n", "names row 7 and 1 more, which the source does not have"),
        ("0,swap,,,,\n", "row 0 swaps left and right, but this source has no flip pairs; name them with --flips"),
    ],
)
def test_a_patch_for_another_source_is_refused(refused: Any, in_tmp: Path, text: str, said: str) -> None:
    Image.fromarray(np.arange(1600, dtype=np.uint16).astype(np.uint8).reshape(40, 40)).save("a.png")
    Path("labels.csv").write_text("image,a_x,a_y,b_x,b_y,c_x,c_y\n" + "a.png,10,10,20,12,15,20\n" * 3)
    Path("patch.csv").write_text(HEADER + text)
    assert said in refused("extract", "labels.csv", "--patch", "patch.csv", "--flips", "none")
    assert not Path("data").exists()


def test_a_swap_that_names_a_keypoint_exchanges_its_pair_alone(tmp_path: Path) -> None:
    before = samples()
    after = read(tmp_path, HEADER + "10,swap,right_eye,,,\n").apply(before, [(0, 1)])
    assert np.array_equal(after.keypoints[0], before.keypoints[0][[1, 0, 2]])
    two = read(tmp_path, HEADER + "10,swap,left_eye,,,\n").apply(before, [(0, 2)])
    assert np.array_equal(two.keypoints[0], before.keypoints[0][[2, 1, 0]])
    for text, says in (("nose", "in no pair of left and right"), ("left_eye,,,\n10,swap,right_eye", "is there twice")):
        with pytest.raises(DataError, match=says):
            read(tmp_path, HEADER + f"10,swap,{text},,,\n").apply(before, [(0, 1)])
    with pytest.raises(DataError, match="which keypoints these are is not known; say it with --flips"):
        read(tmp_path, HEADER + "10,swap,,,,\n").apply(before, [])
    with pytest.raises(DataError, match="no keypoint 'mouth'"):
        read(tmp_path, HEADER + "10,swap,mouth,,,\n")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    changes = [
        Change(3, "drop", reason='a, "b"\nc'),
        Change(3, "set", 2, 1.25, -7.5),
        Change(4, "unlabel", 0),
        Change(4, "swap", 1),
    ]
    found = read(tmp_path, patches.to_text(changes, NAMES)).changes
    assert found == {3: changes[:2], 4: changes[2:]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected the columns"),
        ("a,b\n1,2\n", "expected the columns"),
        (HEADER + "-1,drop,,,,\n", "line 2: row must be a whole number"),
        (HEADER + "x,drop,,,,\n", "got 'x'"),
        (HEADER + "1,erase,,,,\n", "action must be one of drop, set, unlabel, swap; got 'erase'"),
        (HEADER + "1,unlabel,mouth,,,\n", "no keypoint 'mouth'; the names are left_eye"),
        (HEADER + "1,set,nose,3,,\n", "set needs x and y"),
        (HEADER + "1,set,nose,nan,3,\n", "set needs x and y"),
        (HEADER + "1,set,nose,1e9,3,\n", "set needs x and y"),
        (HEADER + "1,set,nose,1,3,\n1,unlabel,nose,,,\n", "line 3: row 1 has this change already"),
        (HEADER + "1,drop\n1,drop\n", "line 3: row 1 has this change already"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path, text)


def test_doctor_proposes_and_extract_applies(kptool: Any, in_tmp: Path) -> None:
    """Photos of many sizes with one swapped pair, one misplaced label and one duplicate: found, patched, gone."""
    rng = np.random.default_rng(0)
    (in_tmp / "photos").mkdir()
    names = ["left_eye", "right_eye", "nose", "chin", "left_ear", "right_ear"]
    shape = np.array([[0.7, 0.3], [0.3, 0.3], [0.5, 0.5], [0.5, 0.9], [0.95, 0.4], [0.05, 0.4]])
    images, annotations = [], []
    for number in range(90):
        width, height = rng.integers(60, 120, 2).tolist()
        noise = rng.integers(0, 255, (8, 8, 3), np.uint8)
        picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        if number == 80:
            picture = Image.open(in_tmp / "photos" / "3.png")
            width, height = picture.size
        picture.save(in_tmp / "photos" / f"{number}.png")
        points = (shape + rng.normal(0, 0.01, shape.shape)) * [width, height]
        if number == 7:
            points = points[[1, 0, 2, 3, 5, 4]]
        if number == 11:
            points[2] += [0.3 * width, 0]
        flat = np.column_stack([points, np.full(6, 2)]).ravel().round(3).tolist()
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "keypoints": flat, "num_keypoints": 6})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "keypoints": names}]}
    Path("labels.json").write_text(json.dumps(document))
    options = ("labels.json", "--images", "photos", "--size", 64, "--json")
    assert kptool("extract", *options, "--out", "one").code == 0
    original = Path("one/dataset.h5").read_bytes()
    ran = kptool("doctor", "one/dataset.h5", "--patch", "patch.csv", "--html", "page.html", "--json")
    assert ran.code == 1
    assert {(f["check"], f["row"], f["keypoint"]) for f in ran.json()["findings"] if f["check"] != "leak"} >= {
        ("swapped", 7, None),
        ("duplicate", 80, None),
        ("label", 11, 2),
    }
    patch = Path("patch.csv").read_text()
    assert "7,swap" in patch
    assert "80,drop" in patch
    assert "11,unlabel,nose" in patch
    page = Path("page.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page
    again = kptool("extract", *options, "--out", "two", "--patch", "patch.csv")
    assert again.code == 0, again.err
    assert again.json()["kept"] == 89
    count = len(patch.splitlines()) - 1
    assert f"{count} corrections of patch.csv are applied" in again.json()["notes"]
    assert Path("one/dataset.h5").read_bytes() == original
    with Cache(Path("one/dataset.h5")) as one, Cache(Path("two/dataset.h5")) as two:
        rows, points = two.read("row"), two.read("keypoints")
        assert 80 not in rows
        at, was = int(np.flatnonzero(rows == 7)[0]), one.read("keypoints")[7]
        assert np.allclose(points[at], was[[1, 0, 2, 3, 5, 4]])
        assert two.read("visibility")[int(np.flatnonzero(rows == 11)[0]), 2] == 0
    left = kptool("doctor", "two/dataset.h5", "--json").json()["findings"]
    assert not [f for f in left if f["check"] in ("swapped", "duplicate", "label")], left
    assert "no keypoint 'tail'" in kptool("extract", *options, "--out", "x", "--patch", bad(in_tmp)).err


def bad(folder: Path) -> Path:
    path = folder / "bad.csv"
    path.write_text(HEADER + "1,unlabel,tail,,,\n")
    return path
