"""Coordinates that cannot be pixels of their picture are refused; possible but unusual ones are reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import put
from numpy.typing import NDArray
from PIL import Image

from kptool.base.errors import DataError
from kptool.cache.extraction import Options, extract
from kptool.data import convert, sources
from kptool.data.pixel_check import in_first_pixel
from kptool.data.sources import Opening, find_source

WIDTH, HEIGHT = 120, 80
RNG = np.random.default_rng(0)
INSIDE = RNG.uniform(4, [WIDTH - 5, HEIGHT - 5], (6, 3, 2))


def wide(folder: Path, points: NDArray[np.float64], size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A csv of points (N, 3, 2), and its pictures."""
    folder.mkdir(exist_ok=True)
    rows = ["image,a_x,a_y,b_x,b_y,c_x,c_y"]
    for k, each in enumerate(points):
        Image.new("L", size, 20 * k).save(folder / f"{k}.png")
        rows.append(",".join([f"{k}.png", *(f"{v:.6g}" for v in each.ravel())]))
    return put(folder / "t.csv", "\n".join(rows))


def notes(path: Path) -> tuple[str, ...]:
    return find_source(path, Opening(crop="picture")).notes[:-1]


def coco(folder: Path, points: NDArray[np.float64]) -> Path:
    wide(folder, points)
    kinds = [{"id": 1, "name": "thing", "keypoints": ["a", "b", "c"]}]
    pictures = [{"id": k, "file_name": f"{k}.png", "width": WIDTH, "height": HEIGHT} for k in range(len(points))]
    flat = [np.column_stack([each, [2] * 3]).ravel().tolist() for each in points]
    labels = [{"id": k, "image_id": k, "category_id": 1, "keypoints": each} for k, each in enumerate(flat)]
    (folder / "t.csv").unlink()
    return put(folder / "t.json", json.dumps({"images": pictures, "annotations": labels, "categories": kinds}))


def deeplabcut(folder: Path, points: NDArray[np.float64]) -> Path:
    wide(folder, points)
    rows = ["scorer,me,me,me,me,me,me", "bodyparts,a,a,b,b,c,c", "coords,x,y,x,y,x,y"]
    rows += [",".join([f"{k}.png", *(f"{v:.6g}" for v in each.ravel())]) for k, each in enumerate(points)]
    return put(folder / "t.csv", "\n".join(rows))


def pts(folder: Path, points: NDArray[np.float64]) -> Path:
    wide(folder, points).unlink()
    for k, each in enumerate(points):
        lines = "\n".join(f"{x:.6g} {y:.6g}" for x, y in each)
        put(folder / f"{k}.pts", f"version: 1\nn_points: 3\n{{\n{lines}\n}}\n")
    return folder


@pytest.mark.parametrize("write", [wide, coco, deeplabcut, pts])
def test_shares_are_refused_with_the_fix_in_every_format(write: object, tmp_path: Path) -> None:
    assert callable(write)
    shares = INSIDE / [WIDTH, HEIGHT]
    with pytest.raises(
        DataError, match=r"6 of 6 things lie in the first pixel .* multiply x by the width and y by the h"
    ):
        find_source(write(tmp_path / "a", shares))
    with pytest.raises(DataError, match=r"first pixel .* multiply x by the width"):  # about the middle, -1 to 1
        find_source(write(tmp_path / "b", 2 * shares - 1))
    with pytest.raises(DataError, match="multiply x by the width"):
        convert.convert(write(tmp_path / "c", shares), tmp_path / "out", "csv", Opening())
    assert find_source(write(tmp_path / "d", INSIDE)).total == 6


def test_shares_beyond_the_edge_are_shares(tmp_path: Path) -> None:
    """A body cut off by the picture's edge, whose feet are guessed beyond it by a labelling tool."""
    shares = INSIDE / [WIDTH, HEIGHT]
    shares[:, 2] = [0.3, 1.4]
    assert in_first_pixel(shares, np.ones((6, 3), bool)).all()
    with pytest.raises(DataError, match=r"6 of 6 things lie in the first pixel .* multiply x by the width"):
        find_source(wide(tmp_path, shares))
    shares[:, 1] = [1.7, 0.4]
    assert not in_first_pixel(shares, np.ones((6, 3), bool)).any()  # most are farther away: small objects


def test_a_few_shares_among_pixels_are_told(tmp_path: Path) -> None:
    points = INSIDE.copy()
    points[4] /= [WIDTH, HEIGHT]
    assert notes(wide(tmp_path, points)) == (
        "all keypoints of 1 of 6 things lie in the first pixel of their pictures or beside it, the first in 4.png;"
        " they look like fractions of the picture size, not pixels",
    )


def test_small_things_are_no_shares(tmp_path: Path) -> None:
    small = np.array([[0.2, 0.3], [1.7, 0.4], [0.8, 1.9]])  # two pixels wide, in the very corner
    assert notes(wide(tmp_path / "a", np.stack([small] * 6))) == ()
    assert notes(wide(tmp_path / "b", np.stack([small + 50] * 6))) == ()
    seen = np.ones((3, 2), bool)
    corner = np.array([[[0, 0], [1, 1]], [[-1, -1], [-1, -1]], [[-0.5, -0.5], [0.5, 0.5]]], np.float64)
    assert not in_first_pixel(corner, seen).any()  # integers and half-integers: pixel centres and pixel edges
    halved = np.array([[[0.25, 0.75], [np.nan, np.nan]]])
    assert in_first_pixel(halved, np.array([[True, False]])).tolist() == [True]
    assert in_first_pixel(halved, np.array([[False, False]])).tolist() == [False]


def test_labels_of_larger_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"1[0-8] of 18 keypoints lie beyond .* of 120x80 pixels; give the pictures that"
    ):
        find_source(wide(tmp_path, 2 * INSIDE))


def test_exchanged_axes_are_told_and_refused_where_most_lie_beyond(tmp_path: Path) -> None:
    tall = RNG.uniform([0, 40], [60, 180], (8, 3, 2))  # from pictures 60 wide and 180 high
    with pytest.raises(DataError, match=r"lie beyond their pictures, .*; exchange x and y"):
        find_source(wide(tmp_path / "a", tall[..., ::-1], (60, 180)))
    tall[..., 1] = RNG.uniform(0, 70, (8, 3))
    tall[:5, 0, 1] = 150
    said = notes(wide(tmp_path / "b", tall[..., ::-1], (60, 180)))
    assert said[0].endswith("of 60x180 pixels")
    assert said[1].startswith("exchanging x and y would bring them into their pictures")


def test_some_labels_beyond_are_counted(tmp_path: Path) -> None:
    points = INSIDE.copy()
    points[2, 1] = (WIDTH + 5, 9)
    points[3, 0] = (WIDTH - 0.5, HEIGHT - 0.5)  # the last edge
    points[5, 2] = (-3, 9)
    assert notes(wide(tmp_path, points)) == (
        "2 of 18 keypoints lie beyond their pictures, the first is b of 2.png at (125, 9) of 120x80 pixels",
    )


def test_percent_of_large_pictures_is_told(tmp_path: Path) -> None:
    percent = 100 * INSIDE / [WIDTH, HEIGHT]
    (said,) = notes(wide(tmp_path / "a", percent, (400, 300)))
    assert said.startswith("the keypoints lie in the first 100 pixels of pictures of 400x300; if they are percent")
    assert notes(wide(tmp_path / "b", percent, (200, 300))) == ()
    assert notes(wide(tmp_path / "c", percent * 2, (400, 300))) == ()


def test_headers_of_many_pictures_are_not_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kptool.data.pixel_check._SIZE_SAMPLE", 3)
    points = INSIDE.copy()
    points[[0, 1], 1] = (WIDTH + 5, 9)
    (said,) = notes(wide(tmp_path, points))
    assert said.startswith(
        "1 of 9 keypoints of the pictures checked lie beyond their pictures, the first is b of 0.png"
    )


def test_pictures_that_cannot_be_read_are_named_by_their_reader(tmp_path: Path) -> None:
    labels = wide(tmp_path, INSIDE)
    put(tmp_path / "3.png", "no picture")
    source = sources.find_source(labels, Opening(channels=1))
    with pytest.raises(DataError, match=r"3\.png is not a picture"):
        list(source.blocks())


def test_shares_beside_pixels_of_images_are_refused(tmp_path: Path) -> None:
    """A source that holds its images is only known after all of it was read; nothing is left behind then."""
    pixels = " ".join(["7"] * 64)
    rows = [",".join([*(f"{v:.4f}" for v in each.ravel()), pixels]) for each in INSIDE / [WIDTH, HEIGHT]]
    path = put(tmp_path / "training.csv", "\n".join(["a_x,a_y,b_x,b_y,c_x,c_y,Image", *rows]))
    for opening in (Opening(), Opening(size=(16, 16))):
        with pytest.raises(DataError, match=r"training\.csv: .* 6 of 6 things .* of row 0; .* multiply x by the width"):
            extract(find_source(path, opening), tmp_path / "out", Options(heatmaps="none"))
    with pytest.raises(DataError, match="multiply x by the width"):
        convert.convert(path, tmp_path / "out", "csv", Opening())
    assert [place.name for place in tmp_path.iterdir()] == ["training.csv"]


def test_doctor_sees_shares_in_a_cache_that_an_older_kptool_made(
    kptool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = wide(tmp_path / "a", INSIDE / [WIDTH, HEIGHT])
    monkeypatch.setattr("kptool.data.labels.pixel_check.check", lambda *_: ())
    cache = extract(
        find_source(shares, Opening(size=(32, 32))), tmp_path / "o", Options(heatmaps="none", sigma=1.0)
    ).cache
    ran = kptool("doctor", cache, "--html", tmp_path / "doctor.html", "--json")
    assert ran.code == 1
    assert ran.json()["counts"]["shares"] == 1
    assert ran.json()["findings"][0]["detail"].startswith(
        "all keypoints of 6 of 6 images lie in the first pixel of their"
    )
    assert "Labels that are fractions of the picture instead of pixels" in (tmp_path / "doctor.html").read_text()
    cache = extract(
        find_source(wide(tmp_path / "b", INSIDE)), tmp_path / "p", Options(heatmaps="none", sigma=1.0)
    ).cache
    assert "shares" not in kptool("doctor", cache, "--json").json()["counts"]
