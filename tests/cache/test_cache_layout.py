"""The layout of the cache file: how each dataset is stored, and which files are readable."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from kptool import heatmaps
from kptool.base.errors import CacheError, ConfigError
from kptool.cache.store import Cache, CacheWriter, Info
from kptool.data.annotations import Samples

NAMES = ("left", "right", "nose")
INFO = Info(NAMES, ((0, 1),), (6, 9), 1, 1.0, 2, "uint8", 5, 0.25, "here", "ff" * 32, "1.2.3")
PARTS = ("images", "keypoints", "visibility", "row", "affine")


def samples(count: int, info: Info = INFO, seed: int = 0, *, affines: bool = False) -> Samples:
    rng = np.random.default_rng(seed)
    return Samples(
        rng.integers(0, 256, (count, *info.image_shape), dtype=np.uint8),
        rng.uniform(0, 6, (count, len(info.names), 2)).astype(np.float32),
        rng.integers(0, 3, (count, len(info.names)), dtype=np.uint8),
        rng.integers(0, 1000, count),
        rng.uniform(-1, 1, (count, 2, 3)) if affines else None,
    )


def maps_of(block: Samples, info: Info = INFO) -> np.ndarray | None:
    if info.heatmaps == "none":
        return None
    return heatmaps.render(block.keypoints, info.size, info.sigma, stride=info.stride, dtype=info.heatmaps)


def write(path: Path, blocks: list[Samples], info: Info = INFO) -> Path:
    count = sum(map(len, blocks))
    with CacheWriter(path, info) as writer:
        for block in blocks:
            writer.append(block, maps_of(block, info))
        writer.finish((np.arange(count) % 3 == 2).astype(np.uint8), np.arange(count) // 2)
    return path


@pytest.mark.parametrize("kind", ["uint8", "float16", "float32", "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_written_is_read(tmp_path: Path, kind: str, channels: int) -> None:
    """Written block by block, the first without affines, with more samples than a chunk of images holds."""
    info = dataclasses.replace(INFO, heatmaps=kind, channels=channels, mirror=False, margin=0.5)
    blocks = [samples(40, info), samples(1, info, 1, affines=True), samples(30, info, 2, affines=True)]
    with Cache(write(tmp_path / "a.h5", blocks, info)) as cache:
        assert cache.info == info
        assert len(cache) == 71
        identity = np.broadcast_to(np.eye(2, 3), (40, 2, 3))
        expected = {
            "images": [block.images for block in blocks],
            "keypoints": [block.keypoints for block in blocks],
            "visibility": [block.visibility for block in blocks],
            "row": [block.rows for block in blocks],
            "affine": [identity, blocks[1].affines, blocks[2].affines],
            "heatmaps": [maps_of(block, info) for block in blocks],
        }
        for name in PARTS if kind == "none" else (*PARTS, "heatmaps"):
            whole = np.concatenate(expected[name])  # type: ignore[arg-type]
            assert np.array_equal(cache.read(name), whole)
            assert cache.read(name).dtype == whole.dtype
            picked = np.array([0, 3, 4, 63, 64, 70])
            assert np.array_equal(cache.read(name, picked), whole[picked])
            assert cache.read(name, picked[:0]).shape == (0, *whole.shape[1:])
        sizes = [len(block) for block in cache.blocks("images")]
        assert sizes == [64, 7]
        assert np.array_equal(np.concatenate(list(cache.blocks("row"))), cache.read("row"))
        assert cache.index("all").tolist() == list(range(71))
        assert cache.index("val").tolist() == list(range(2, 71, 3))
        assert cache.read("group").tolist() == [i // 2 for i in range(71)]
        with pytest.raises(ConfigError, match="split must be train, val or all; got 'test'"):
            cache.index("test")


def test_sizes_of_pictures_are_kept_where_they_are_given(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.h5", [samples(2, INFO)])
    with Cache(plain) as cache:
        assert cache.picture_sizes() is None
    sizes = np.array([[20, 30], [40, 50]], np.int32)
    blocks = [dataclasses.replace(samples(2, INFO), sizes=part) for part in (sizes, sizes + 1)]
    with Cache(write(tmp_path / "sizes.h5", blocks)) as cache:
        kept = cache.picture_sizes()
    assert kept is not None
    assert kept.dtype == np.int32
    assert np.array_equal(kept, np.concatenate([sizes, sizes + 1]))


def test_chosen_samples_keep_their_dtype_and_a_closed_cache_is_closed(tmp_path: Path) -> None:
    with Cache(write(tmp_path / "dataset.h5", [samples(3, INFO)])) as cache:
        assert cache.read("keypoints", np.array([0, 2])).dtype == np.float32
    assert not cache._file
    other = Cache(tmp_path / "dataset.h5")
    other.close()
    assert not other._file


def test_values_that_make_no_sense_are_refused_by_the_name_of_file_and_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "dataset.h5", [samples(2, INFO)])
    with h5py.File(path, "r+") as file:
        file["row"][0] = -1
    with Cache(path) as cache, pytest.raises(CacheError, match=rf"{path}: /row has values out of range"):
        cache.read("row")


def test_a_writer_says_what_it_has_written(tmp_path: Path) -> None:
    with CacheWriter(tmp_path / "a.h5", INFO) as writer:
        assert writer.rows().shape == (0,)
        for seed in range(2):
            writer.append(samples(50, seed=seed), maps_of(samples(50, seed=seed)))
        both = [samples(50), samples(50, seed=1)]
        assert writer.count == 100
        assert writer.rows().dtype == np.int64
        assert np.array_equal(writer.rows(), np.concatenate([block.rows for block in both]))
        parts = list(writer.images())
        assert [len(part) for part in parts] == [64, 36]
        assert np.array_equal(np.concatenate(parts), np.concatenate([block.images for block in both]))


def test_the_layout_of_the_file(tmp_path: Path) -> None:
    """Chunk sizes decide the file's size and reading speed; every dataset has checksums."""
    with h5py.File(write(tmp_path / "a.h5", [samples(4)])) as file:
        layout = {name: (d.dtype.name, d.shape, d.maxshape[0], d.chunks, d.fletcher32) for name, d in file.items()}
        assert layout == {
            "images": ("uint8", (4, 6, 9), None, (64, 6, 9), True),
            "keypoints": ("float32", (4, 3, 2), None, (1024, 3, 2), True),
            "visibility": ("uint8", (4, 3), None, (1024, 3), True),
            "row": ("int64", (4,), None, (4096,), True),
            "affine": ("float64", (4, 2, 3), None, (1024, 2, 3), True),
            "heatmaps": ("uint8", (4, 3, 3, 5), None, (1, 3, 3, 5), False),
            "split": ("uint8", (4,), 4, (4,), True),
            "group": ("int64", (4,), 4, (4,), True),
        }
        assert (file["heatmaps"].compression, file["heatmaps"].compression_opts) == ("gzip", 1)
        stream = file["heatmaps"].id.read_direct_chunk((0, 0, 0, 0))[1]
        assert zlib.decompress(stream) == file["heatmaps"][0].tobytes()
        assert file.attrs["schema"] == 1
        assert json.loads(file.attrs["kptool"])["source"] == "here"


def test_split_and_groups_lie_in_one_chunk(tmp_path: Path) -> None:
    """Small datasets are always read whole."""
    with CacheWriter(tmp_path / "a.h5", INFO) as writer:
        writer.finish(np.zeros(50_000, np.uint8), np.zeros(50_000, np.int64))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["split"].chunks == file["group"].chunks == (50_000,)


def test_files_are_closed(tmp_path: Path) -> None:
    """HDF5 refuses to write to an open file."""
    path = write(tmp_path / "a.h5", [samples(4)])
    with Cache(path):
        pass
    with h5py.File(path, "r+") as file:
        del file["row"]
    with pytest.raises(CacheError):
        Cache(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["schema"]
    with CacheWriter(path, INFO):
        pass
    with pytest.raises(CacheError, match="was never finished"):
        Cache(path)
    path.unlink()


def test_a_description_of_an_older_version_lacks_what_came_later(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", [samples(4)])
    with h5py.File(path, "r+") as file:
        info = json.loads(file.attrs["kptool"])
        del info["mirror"], info["margin"]
        file.attrs["kptool"] = json.dumps(info)
    with Cache(path) as cache:
        assert cache.info == INFO
