"""Cropping boxes: a missing box does not change other objects, and boxes made from keypoints are never too small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import put, write_coco
from numpy.typing import NDArray
from PIL import Image

from kptool.base.errors import ConfigError
from kptool.data import convert, sources
from kptool.data.annotations import Labelled
from kptool.data.boxes import Boxes, boxes
from kptool.data.sources import Opening, find_source

SHAPE = np.array([[0, 0], [40, 0], [0, 30], [40, 30]], np.float64)
_Box = tuple[float, float, float, float]


def thing(
    picture: str, at: tuple[float, float], seen: tuple[int, ...] = (2, 2, 2, 2), box: _Box | None = None
) -> Labelled:
    points = np.where(np.array(seen)[:, None] > 0, SHAPE + at, np.nan)
    return Labelled(picture, points, np.array(seen, np.uint8), box)


def made(*things: Labelled) -> Boxes:
    return boxes(things, [Path(each.picture) for each in things])


def stated(k: int) -> _Box:
    return (10.0 * k - 10, 20, 60, 50)


def table(folder: Path, things: list[Labelled]) -> Path:
    """A csv of labelled objects, and their pictures of 300x200."""
    rows = ["image,box_x,box_y,box_width,box_height," + ",".join(f"{name}_{axis}" for name in "abcd" for axis in "xy")]
    for each in things:
        Image.new("L", (300, 200), 90).save(folder / each.picture)
        cells = ["" if np.isnan(v) else f"{v:g}" for v in each.keypoints.ravel()]
        rows.append(",".join([each.picture, *(map(str, each.box or [""] * 4)), *cells]))
    return put(folder / "t.csv", "\n".join(rows))


def scales(path: Path, **opening: Any) -> NDArray[np.float64]:
    """Image pixels per picture pixel, for each object."""
    affines = [block.affines for block in find_source(path, Opening(size=(64, 64), **opening)).blocks()]
    return np.concatenate([affine for affine in affines if affine is not None])[:, 0, 0]


@pytest.mark.parametrize("odd", [None, (0, 0, 0, 0), (0.1, 0.2, 0.3, 0.4)])
def test_one_missing_box_changes_only_its_own_thing(tmp_path: Path, odd: _Box | None) -> None:
    things = [thing(f"{k}.png", (10 * k, 30), box=odd if k == 4 else stated(k)) for k in range(10)]
    path = table(tmp_path, things)
    whole = 64 / (60 * 1.3)
    assert np.delete(scales(path), 4) == pytest.approx(whole)
    assert scales(path)[4] == pytest.approx(64 / (41 * 60 / 41 * 1.3))  # enlarged like the others
    source = find_source(path)
    assert source.margin == 0.15
    assert source.notes[-1] == (
        "things are cut out by their boxes, 1 of 10 without one by a box made from its keypoints, at least 60x50 pixels"
        " where few of a thing's keypoints are labelled, with a margin of 0.15 of the box on every side"
    )
    tiny = "1 box of less than a pixel is not used; a box is x, y, width and height in pixels"
    assert (tiny in source.notes) == (odd is not None and odd[2] > 0)


def test_a_few_boxes_of_many_things_are_not_used_and_told(tmp_path: Path) -> None:
    path = table(tmp_path, [thing(f"{k}.png", (10 * k, 30), box=None if k else stated(1)) for k in range(10)])
    whole = find_source(path, Opening(crop="picture"))
    assert whole.notes == ("pictures are taken whole, the boxes of 1 of 10 things are not used",)
    assert whole.margin is None
    assert find_source(path, Opening(crop="box")).margin == 0.15
    assert find_source(path).margin == 0.15  # the things are small in their pictures


def test_things_with_few_labels_are_cut_out_at_the_usual_size(tmp_path: Path) -> None:
    one, two, three = (2, 0, 0, 0), (2, 0, 2, 0), (2, 2, 2, 0)
    things = [thing("0.png", (50 * k, 10 * k)) for k in range(4)]
    things += [thing("1.png", (20, 20), one), thing("1.png", (90, 90), two), thing("1.png", (150, 20), three)]
    path = table(tmp_path, things)
    found = made(*things)
    assert found.usual.tolist() == [41, 31]
    assert found.edges[:4, 2:] == pytest.approx(np.tile([41, 31], (4, 1)))
    assert found.edges[4].tolist() == [20 - 20.5, 20 - 15.5, 41, 31]
    assert found.edges[5].tolist() == [90 - 20.5, 105 - 15.5, 41, 31]
    assert scales(path) == pytest.approx(64 / (41 * 1.3))
    assert (
        find_source(path)
        .notes[-1]
        .startswith(
            "things have no boxes and are cut out by boxes made from their keypoints, at least 41x31 pixels where few"
        )
    )


def test_small_things_stay_small_and_hold_their_labels() -> None:
    things = [thing("0.png", (50 * k, 0)) for k in range(4)]
    small = Labelled("0.png", SHAPE / 2 + 100, np.full(4, 2, np.uint8))
    speck = Labelled("0.png", SHAPE / 40 + 100, np.full(4, 2, np.uint8))
    found = made(*things, small, speck)
    assert found.edges[4].tolist() == [99.5, 99.5, 21, 16]
    assert found.edges[5, 2:] == pytest.approx([41 / 4, 8])
    assert made(thing("0.png", (30, 30), box=(40, 40, 5, 5))).edges[0].tolist() == [29.5, 29.5, 41, 31]


def test_single_points_are_cut_out_at_their_usual_distance(tmp_path: Path) -> None:
    spots = [Labelled("0.png", np.array([[30.0 * k, 50]]), np.array([2], np.uint8)) for k in range(4)]
    found = made(*spots, Labelled("1.png", np.array([[9.0, 9]]), np.array([2], np.uint8)))
    assert found.edges[:, 2:].tolist() == [[30, 30]] * 5
    Image.new("L", (100, 90)).save(tmp_path / "0.png")
    lonely = put(tmp_path / "t.csv", "image,a_x,a_y\n0.png,20,30\n")
    assert find_source(lonely).margin is None
    with pytest.raises(
        ConfigError, match="a single keypoint tells nothing of a thing's size; add boxes, or take --crop p"
    ):
        find_source(lonely, Opening(crop="box"))


def test_what_has_no_label_has_no_box() -> None:
    nothing = Labelled("0.png", np.full((4, 2), np.nan), np.zeros(4, np.uint8))
    found = made(nothing, thing("1.png", (5, 5), box=(0, 0, 60, 50)))
    assert np.isnan(found.edges[0]).all()
    assert found.made == 0
    assert np.isnan(made(nothing).edges).all()


def test_boxes_that_are_elsewhere_are_told() -> None:
    things = [thing(f"{k}.png", (50, 50), box=(200, 200, 50, 40) if k else stated(5)) for k in range(3)]
    assert made(*things).notes == ("2 boxes of 3 have fewer than half of their things' keypoints inside",)


def test_convert_makes_the_same_boxes_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    things = [thing(f"{k}.png", (10 * k, 30), (2, 0, 0, 0) if k == 4 else (2, 2, 2, 2)) for k in range(6)]
    path = table(tmp_path / "in", things)
    for form in ("coco", "yolo"):
        done = convert.convert(path, tmp_path / form, form, Opening())
        assert done.notes == ("6 of 6 things have no box; theirs are made from their keypoints",)
        _, reader = sources.find_reader(done.file)
        assert reader.read is not None
        back = [each.box for each in reader.read(done.file, None).things]
        assert back[4] == pytest.approx((40 - 20.5, 30 - 15.5, 41, 31), abs=1e-5)
    assert convert.convert(path, tmp_path / "csv", "csv", Opening()).notes == ()


def test_every_extraction_says_how_it_cut(kptool: Any, in_tmp: Path) -> None:
    write_coco(in_tmp)
    for crop, says in (
        ("auto", "things are cut out by their boxes, 1 of 2"),
        ("picture", "pictures are taken whole, the"),
    ):
        ran = kptool("extract", "labels.json", "--size", 64, "--out", crop, "--crop", crop)
        assert f"kptool: {says}" in ran.err


def test_boxes_in_shares_are_counted_where_pictures_are_taken_whole(tmp_path: Path) -> None:
    things = [thing(f"{k}.png", (10 * k + 5, 30), box=(0.1, 0.1, 0.5, 0.5)) for k in range(4)]
    notes = find_source(table(tmp_path, things), Opening(size=(16, 16), crop="picture")).notes
    assert "4 boxes of less than a pixel are not used; a box is x, y, width and height in pixels" in notes
    assert "pictures are taken whole" in notes
