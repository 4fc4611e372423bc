"""Whole pictures in a cache: written with the split of their instances, read by part, refused if damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scene_data import some_scenes, write_scenes

from kptool.base.errors import CacheError
from kptool.cache.extraction import Options, extract
from kptool.cache.scenes import read_scenes
from kptool.cache.store import Cache
from kptool.data.sources import Opening, find_source
from kptool.data.splits import TRAIN, VAL


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    source = find_source(write_scenes(tmp_path / "in", some_scenes(12)), Opening(size=(16, 16)))
    return extract(source, tmp_path / "out", Options(val=0.3, heatmaps="none")).cache


def test_a_picture_is_in_the_part_of_its_instances(cache: Path) -> None:
    with Cache(cache) as opened:
        parts = [read_scenes(opened, part) for part in (TRAIN, VAL)]
        assert opened.scenes == 12
        assert [len(part.boxes) for part in parts] == [len(opened.index(name)) for name in ("train", "val")]
    assert sum(map(len, parts)) == 12
    for part in parts:
        assert set(part.scene.tolist()) == set(range(len(part)))
        assert part.teaches.all()
        assert part.images.shape[1:] == part.size


def test_an_instance_whose_sample_was_dropped_teaches_nothing(tmp_path: Path) -> None:
    source = find_source(write_scenes(tmp_path / "in", some_scenes(6)), Opening(size=(16, 16)))
    patch = tmp_path / "patch.csv"
    patch.write_text("row,action\n0,drop\n", encoding="utf-8")
    made = extract(source, tmp_path / "out", Options(val=0, heatmaps="none", patch=patch))
    with Cache(made.cache) as opened:
        scenes = read_scenes(opened, TRAIN)
    assert scenes.teaches.tolist() == [False] + [True] * 8


def test_pictures_of_the_test_part_are_left_out(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "in", some_scenes(6))
    text = path.read_text(encoding="utf-8").replace('"file_name": "00.png"', '"split": "test", "file_name": "00.png"')
    path.write_text(text, encoding="utf-8")
    made = extract(find_source(path, Opening(size=(16, 16))), tmp_path / "out", Options(val=0, heatmaps="none"))
    with Cache(made.cache) as opened:
        assert opened.scenes == 5


@pytest.mark.parametrize(
    ("name", "value"), [("box_scene", 99), ("box_scene", -1), ("scene_split", 7), ("box", np.inf), ("box", 1e9)]
)
def test_values_out_of_range_are_refused(cache: Path, name: str, value: float) -> None:
    with h5py.File(cache, "r+") as file:
        file[name][-1] = value
    with Cache(cache) as opened, pytest.raises(CacheError, match="out of range"):
        read_scenes(opened, TRAIN)


@pytest.mark.parametrize("name", ["scene_split", "box", "box_teaches"])
def test_a_cache_that_lacks_a_part_of_its_scenes_is_refused(cache: Path, name: str) -> None:
    with h5py.File(cache, "r+") as file:
        del file[name]
    with pytest.raises(CacheError, match=f"no dataset /{name}"):
        Cache(cache)


def test_scenes_of_another_shape_are_refused(cache: Path) -> None:
    with h5py.File(cache, "r+") as file:
        del file["scene_images"]
        file.create_dataset("scene_images", data=np.zeros((12, 5), np.uint8), chunks=(8, 5))
    with pytest.raises(CacheError, match="scene_images"):
        Cache(cache)


def test_of_many_scenes_a_choice_is_read(cache: Path) -> None:
    """Always the same, with the boxes of its pictures."""
    with Cache(cache) as opened:
        whole, some, again = (read_scenes(opened, TRAIN, most) for most in (None, 4, 4))
    assert len(some) == 4 < len(whole)
    places = [next(i for i, image in enumerate(whole.images) if np.array_equal(image, seen)) for seen in some.images]
    for number, place in enumerate(places):
        assert np.array_equal(some.boxes[some.scene == number], whole.boxes[whole.scene == place])
    assert np.array_equal(some.images, again.images)
