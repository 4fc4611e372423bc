"""The HDF5 cache: its contents, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kptool import heatmaps
from kptool.base.errors import CacheError, ConfigError
from kptool.cache.store import Cache
from kptool.data.splits import choose_split, folds


@given(st.lists(st.integers(-1, 12), min_size=2, max_size=200), st.floats(0.05, 0.5), st.integers(0, 10))
def test_no_group_is_on_both_sides(groups: list[int], share: float, seed: int) -> None:
    array = np.array(groups, dtype=np.int64)
    split = choose_split(array, share, seed)
    assert not {g for g in array[split == 0] if g >= 0} & {g for g in array[split == 1] if g >= 0}
    if (array == -1).sum() > 1 or len(set(groups)) > 1:
        assert 0 < split.sum() < len(split)
    assert np.array_equal(split, choose_split(array, share, seed))


def test_the_share_is_met() -> None:
    split = choose_split(np.full(2140, -1), 0.1, 0)
    assert split.sum() == 214
    grouped = choose_split(np.arange(3000) // 11, 0.1, 0)
    assert abs(int(grouped.sum()) - 300) <= 11


def test_without_validation_everything_trains() -> None:
    assert not choose_split(np.full(10, -1), 0.0, 0).any()


def test_contents(faces: Path) -> None:
    with Cache(faces) as cache:
        info = cache.info
        assert (len(cache), info.size, info.channels, info.heatmaps) == (48, (48, 48), 1, "uint8")
        assert len(cache.index("val")) == 12
        assert sorted([*cache.index("train"), *cache.index("val")]) == list(range(48))
        points, visibility = cache.read("keypoints"), cache.read("visibility")
        expected = heatmaps.render(
            points, info.size, info.sigma, stride=info.stride, visibility=visibility, dtype="uint8"
        )
        assert np.array_equal(cache.read("heatmaps"), expected)
        assert np.array_equal(np.concatenate(list(cache.blocks("images", 7))), cache.read("images"))
        assert np.array_equal(cache.read("affine"), np.broadcast_to(np.eye(2, 3), (48, 2, 3)))


def test_any_hdf5_reader_opens_it(faces: Path) -> None:
    with h5py.File(faces) as file:
        assert file["images"].shape == (48, 48, 48)
        assert file["heatmaps"].chunks[0] == 1
        assert all(file[name].fletcher32 or file[name].compression == "gzip" for name in file)
        assert json.loads(file.attrs["kptool"])["names"][10] == "nose_tip"


def copy(faces: Path, tmp_path: Path) -> Path:
    path = tmp_path / "dataset.h5"
    path.write_bytes(faces.read_bytes())
    return path


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="there is no cache at"):
        Cache(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("hello")
    with pytest.raises(CacheError, match="not a readable HDF5 file"):
        Cache(text)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(CacheError, match="not a kptool cache"):
        Cache(tmp_path / "other.h5")


def test_another_schema_is_refused(faces: Path, tmp_path: Path) -> None:
    path = copy(faces, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 99
    with pytest.raises(CacheError, match=r"schema 99, but this kptool reads 1"):
        Cache(path)


@given(st.lists(st.integers(-1, 9), min_size=12, max_size=80), st.integers(2, 3), st.integers(0, 5))
def test_folds_part_no_group_and_are_of_like_size(groups: list[int], count: int, seed: int) -> None:
    array = np.array([*groups, 0, 1, 2])
    fold = folds(array, count, seed)
    assert set(fold.tolist()) == set(range(count))
    assert all(len(set(fold[array == group].tolist())) == 1 for group in set(groups) - {-1})
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= max(np.bincount(array[array >= 0]).max(), 1)
    assert np.array_equal(fold, folds(array, count, seed))


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 to 3 folds"):
        folds(np.array([0, 1, 2, 0]), 4, 0)


@pytest.mark.parametrize("damage", ["missing", "shape", "dtype", "external", "description"])
def test_a_cache_that_is_not_what_it_says_is_refused(faces: Path, tmp_path: Path, damage: str) -> None:
    path = copy(faces, tmp_path)
    with h5py.File(path, "r+") as file:
        if damage == "description":
            file.attrs["kptool"] = json.dumps({"names": ["a"]})
        else:
            del file["visibility"]
        if damage == "shape":
            file["visibility"] = np.zeros((48, 3), np.uint8)
        elif damage == "dtype":
            file["visibility"] = np.zeros((48, 15), np.int32)
        elif damage == "external":
            file["visibility"] = h5py.ExternalLink("elsewhere.h5", "/visibility")
    with pytest.raises(CacheError, match="description is damaged" if damage == "description" else "/visibility"):
        Cache(path)


def test_a_damaged_chunk_is_named(faces: Path, tmp_path: Path) -> None:
    path = copy(faces, tmp_path)
    with h5py.File(path) as file:
        place = file["heatmaps"].id.get_chunk_info(30)
    data = bytearray(path.read_bytes())
    data[place.byte_offset + place.size // 2] ^= 0xFF
    path.write_bytes(data)
    with Cache(path) as cache:
        assert cache.read("heatmaps", np.arange(30)).shape[0] == 30
        with pytest.raises(CacheError, match=r"/heatmaps is damaged in chunk 30 \(samples 30 to 30\)"):
            cache.read("heatmaps")
