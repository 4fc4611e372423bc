"""The same data set in every label format; conversions between formats lose nothing."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from label_files import (
    BOX,
    FILES,
    HEIGHT,
    INSIDE,
    MORE,
    NAMES,
    POINTS,
    READER,
    SEEN,
    UNNAMED,
    WIDTH,
    WRITERS,
    pictures,
    put,
    write_coco,
    write_wide,
)
from numpy.typing import NDArray
from PIL import Image

from kptool import plugins
from kptool.base.errors import DataError
from kptool.base.geometry import apply_affine, invert_affine
from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache
from kptool.data import convert, sources
from kptool.data.annotations import Samples, Source
from kptool.data.formats import sleap_h5
from kptool.data.sources import Opening, find_source


def collect(source: Source) -> Samples:
    blocks = list(source.blocks())
    parts = [
        np.concatenate([getattr(b, name) for b in blocks]) for name in ("images", "keypoints", "visibility", "rows")
    ]
    affines = [block.affines for block in blocks if block.affines is not None]
    return Samples(parts[0], parts[1], parts[2], parts[3], np.concatenate(affines))


def in_source_pixels(samples: Samples) -> NDArray[np.float64]:
    assert samples.affines is not None
    return apply_affine(invert_affine(samples.affines), samples.keypoints.astype(np.float64))


NO_OCCLUSION = ("pts", "numbered", "table", "deeplabcut", "label-studio", "dlib", "mpii", "sleap", "predictions")
"""Entries of `MORE` that do not say which keypoints are occluded."""


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """SLEAP's files are opened in this process: a subprocess for each takes too long."""

    def extract_pictures(path: Path, dataset: str, frames: list[int], folder: Path) -> dict[int, str]:
        put(folder / "frames.json", json.dumps(frames))
        return dict(zip(frames, sleap_h5.unpack(path, dataset, folder), strict=True))

    monkeypatch.setattr(sleap_h5, "load", sleap_h5.contents)
    monkeypatch.setattr(sleap_h5, "extract_pictures", extract_pictures)


def test_every_format_has_a_writer_here() -> None:
    with_labels = {name for name in plugins.names("datasets") if plugins.load("datasets", name).read is not None}
    assert with_labels == set(WRITERS)


@pytest.mark.parametrize("name", MORE)
def test_every_format_gives_the_same_points_in_the_pictures_pixels(name: str, tmp_path: Path) -> None:
    source = find_source(MORE[name](tmp_path), Opening(size=(64, 64)))
    samples = collect(source)
    order = [source.skeleton.names.index(part) for part in NAMES] if name not in UNNAMED else range(4)
    points, seen = in_source_pixels(samples)[:, order], samples.visibility[:, order]
    assert samples.images.shape == (2, 64, 64)
    assert source.total == len(samples) == 2
    known = SEEN > 0 if name != "pts" else np.ones_like(SEEN, bool)  # cannot express that a label is missing
    assert np.abs(points - POINTS)[known].max() < 1e-4
    assert np.array_equal(seen > 0, known)
    if name not in NO_OCCLUSION:
        assert np.array_equal(seen, SEEN)
    if name not in UNNAMED:
        named = {tuple(source.skeleton.names[k] for k in pair) for pair in source.skeleton.flip_pairs}
        assert {tuple(sorted(pair)) for pair in named} == {("left_eye", "right_eye")}
    assert samples.keypoints[samples.visibility == 0].tolist() == [[0, 0]] * int((~known).sum())


@pytest.mark.parametrize("name", MORE)
def test_no_reader_but_its_own_takes_a_file(name: str, tmp_path: Path) -> None:
    path = MORE[name](tmp_path)
    taken = [n for n in plugins.names("datasets") if plugins.load("datasets", n).matches(path)]
    assert taken == [READER.get(name, name)]


@pytest.mark.parametrize("name", [name for name in MORE if name != "sleap"])  # see test_sleap.py: it starts processes
def test_cut_off_files_are_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    path = MORE[name](tmp_path)
    cut = path / INSIDE[name] if path.is_dir() else path
    whole = cut.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        cut.write_bytes(whole[:length])
        with contextlib.suppress(DataError):  # any other exception is a bug
            collect(find_source(path, Opening(size=(64, 64))))


@pytest.mark.parametrize("form", ["coco", "yolo", "csv"])  # all of them: test_writers.py
@pytest.mark.parametrize("name", MORE)
def test_nothing_is_lost_through_any_pair_of_formats(name: str, form: str, tmp_path: Path) -> None:
    path = MORE[name](tmp_path / "in")
    first = collect(find_source(path))
    done = convert.convert(path, tmp_path / "out", form, Opening())
    again = find_source(done.file)
    second = collect(again)
    assert done.keypoints == int((first.visibility > 0).sum())
    assert np.array_equal(first.visibility, second.visibility)
    known = first.visibility > 0
    assert np.abs(in_source_pixels(first) - in_source_pixels(second))[known].max() < 1e-4
    original = find_source(path)
    assert again.skeleton == original.skeleton
    assert sorted(p.name for p in (tmp_path / "out" / "images").iterdir()) == list(FILES.get(name, ("a.png", "b.jpg")))
    assert collect(find_source(tmp_path / "out")).images.shape == second.images.shape  # a folder finds its label file


def test_boxes_survive_coco_and_csv(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "in")
    for form in ("coco", "yolo", "csv"):
        done = convert.convert(path, tmp_path / form, form, Opening())
        _, reader = sources.find_reader(done.file)
        assert reader.read is not None
        assert reader.read(done.file, None).things[0].box == pytest.approx(BOX, abs=1e-5)


def test_an_extraction_converts_and_comes_back(tmp_path: Path) -> None:
    extracted = extract(find_source(None, Opening(count=6)), tmp_path / "faces", Options())
    done = convert.convert(tmp_path / "faces" / "keypoints.csv", tmp_path / "coco", "coco", Opening())
    assert (done.things, done.keypoints, done.pictures) == (6, 90, 6)
    again = extract(find_source(done.file, Opening(size=(96, 96), crop="picture")), tmp_path / "again", Options())
    with Cache(extracted.cache) as one, Cache(again.cache) as two:
        assert np.array_equal(one.read("images"), two.read("images"))
        assert np.abs(one.read("keypoints") - two.read("keypoints")).max() < 1e-4
        assert np.array_equal(one.read("visibility"), two.read("visibility"))
        assert set(one.info.flip_pairs) == set(two.info.flip_pairs)


def test_several_things_in_a_picture_stay_on_one_side_of_the_split(tmp_path: Path) -> None:
    pictures(tmp_path, tuple(f"{i}.png" for i in range(10)))
    rows = ["image,box_x,box_y,box_width,box_height,a_x,a_y,b_x,b_y"]
    rows += [f"{i // 3}.png,{i},0,40,40,{i + 5},7,{i + 20},30" for i in range(30)]
    source = find_source(put(tmp_path / "t.csv", "\n".join(rows)), Opening(size=(32, 32)))
    done = extract(source, tmp_path / "out", Options(val=0.3, sigma=1.0))
    with Cache(done.cache) as cache:
        picture, split = np.arange(30) // 3, cache.read("split")
        assert all(len(set(split[picture == p])) == 1 for p in range(10))
        assert 0 < split.sum() < 30
        assert cache.info.margin == 0.15


def test_a_box_is_cut_out_with_its_margin_and_aspect(tmp_path: Path) -> None:
    pictures(tmp_path, ("a.png",))
    table = put(tmp_path / "t.csv", "image,box_x,box_y,box_width,box_height,a_x,a_y\na.png,20,30,40,20,40,40\n")
    samples = collect(find_source(table, Opening(size=(64, 64), margin=0.25)))
    assert samples.affines is not None
    scale = 64 / (40 * 1.5)
    assert np.allclose(samples.affines[0][:, :2], np.eye(2) * scale)
    assert np.allclose((samples.keypoints[0, 0] + 0.5) / 64, 0.5, atol=1e-6)  # box middle = image middle
    corner = apply_affine(samples.affines[0], np.array([[10.0, 10.0]]))[0].round().astype(int)
    assert abs(int(samples.images[0, corner[1], corner[0]]) - 20) <= 2  # the gradient's value there


def test_labels_of_a_turned_picture_are_understood_either_way(tmp_path: Path) -> None:
    """Some tools label pictures as stored, others as turned by EXIF orientation; the stated sizes tell which."""
    folder = tmp_path / "images"
    folder.mkdir()
    raw = np.zeros((40, 60), np.uint8)
    raw[10, 50] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    Image.fromarray(raw).save(folder / "a.png", exif=exif)
    for width, height, x, y in ((60, 40, 50, 10), (40, 60, 29, 50)):
        document = {
            "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
            "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [x, y, 2]}],
            "categories": [{"id": 1, "keypoints": ["spot"]}],
        }
        samples = collect(find_source(put(tmp_path / "l.json", json.dumps(document)), Opening(size=(height, width))))
        px, py = samples.keypoints[0, 0].round().astype(int)
        assert samples.images[0, py, px] == 255
    document["images"][0]["width"] = 41
    with pytest.raises(DataError, match=r"a\.png has 40x60 pixels and its labels are for 41x60"):
        collect(find_source(put(tmp_path / "l.json", json.dumps(document))))


def test_colour_is_kept_where_there_is_some_and_can_be_chosen(tmp_path: Path) -> None:
    table = write_wide(tmp_path)
    assert find_source(table).channels == 1
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), (200, 10, 10), np.uint8)).save(tmp_path / "b.jpg")
    assert find_source(table).channels == 3
    assert collect(find_source(table)).images.shape == (2, 3, HEIGHT, WIDTH)
    assert collect(find_source(table, Opening(channels=1))).images.shape == (2, HEIGHT, WIDTH)


def test_keypoints_outside_a_picture_are_told_of_when_yolo_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures(tmp_path, ("a.png",))
    table = put(tmp_path / "t.csv", "image,a_x,a_y\na.png,-4,3\n")
    with caplog.at_level(logging.WARNING):
        done = convert.convert(table, tmp_path / "out", "yolo", Opening())
    assert "1 keypoints lie outside" in caplog.text
    assert in_source_pixels(collect(find_source(done.file)))[0, 0] == pytest.approx([-4, 3], abs=1e-4)


def test_equal_names_of_pictures_in_two_folders_are_kept_apart(tmp_path: Path) -> None:
    for part in ("one", "two"):
        pictures(tmp_path / part, ("a.png",))
    table = put(tmp_path / "t.csv", "image,a_x,a_y\none/a.png,1,2\ntwo/a.png,3,4\n")
    done = convert.convert(table, tmp_path / "out", "csv", Opening())
    assert done.pictures == 2
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2
    with pytest.raises(DataError, match=r"3 pictures called a\.png"):
        find_source(put(tmp_path / "t.csv", "image,a_x,a_y\na.png,1,2\n"))


def test_a_source_with_its_own_pixels_is_resized_on_request() -> None:
    small = next(find_source(None, Opening(count=2)).blocks())
    resized = sources._resized(find_source(None, Opening(count=2)), Opening(size=(48, 64), channels=3))
    block = next(resized.blocks())
    assert block.images.shape == (2, 3, 48, 64)
    assert np.abs(in_source_pixels(block) - small.keypoints).max() < 1e-3


def test_hundreds_of_keypoints_on_large_images_take_bounded_memory(tmp_path: Path) -> None:
    """A block of 32 pictures would have heatmaps of 524 MB; they are rendered in pieces."""
    import tracemalloc

    pictures(tmp_path, tuple(f"{i}.png" for i in range(40)))
    rng = np.random.default_rng(0)
    head = ",".join(["image", *(f"k{i}_{axis}" for i in range(250) for axis in "xy")])
    rows = [",".join([f"{i}.png", *(f"{v:.2f}" for v in rng.uniform(0, 89, 500))]) for i in range(40)]
    table = put(tmp_path / "t.csv", "\n".join([head, *rows]))
    source = find_source(table, Opening(size=(512, 512)))
    tracemalloc.start()
    done = extract(source, tmp_path / "out", Options(sigma=1.0, stride=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.keypoints == 250
    assert peak < 400e6
