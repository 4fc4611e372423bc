"""The layout of the cache file: how each dataset is stored, and which files are readable."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kptool import heatmaps
from kptool.base.errors import CacheError, ConfigError, DataError
from kptool.cache.store import Cache, CacheWriter, Info, _damage
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


@pytest.mark.parametrize("attribute", ["kptool", "schema"])
def test_a_cache_without_its_description_is_none(tmp_path: Path, attribute: str) -> None:
    path = write(tmp_path / "a.h5", [samples(4)])
    with h5py.File(path, "r+") as file:
        del file.attrs[attribute]
    with pytest.raises(CacheError, match="not a kptool cache"):
        Cache(path)


@pytest.mark.parametrize("name", [*PARTS, "split", "group", "heatmaps"])
def test_every_dataset_is_what_the_description_says(tmp_path: Path, name: str) -> None:
    """A dataset that is missing, or has the wrong shape, type or length."""
    whole = write(tmp_path / "whole.h5", [samples(4)]).read_bytes()

    def damaged(replace: Any) -> Path:
        path = tmp_path / "a.h5"
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            data = file[name][:]
            del file[name]
            if replace is not None:
                file[name] = replace(data)
        return path

    with pytest.raises(CacheError, match=f"has no dataset /{name} of its own"):
        Cache(damaged(None))
    for replace in (
        lambda data: data[..., None],
        lambda data: data.astype(np.int32),
        lambda data: np.concatenate([data, data[:1]]),
    ):
        with pytest.raises(CacheError, match=f"/(images|{'split' if name == 'images' else name}|keypoints) is "):
            Cache(damaged(replace))


def test_datasets_that_are_elsewhere_or_no_datasets_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.h5", [samples(4)]).read_bytes()
    other = write(tmp_path / "other.h5", [samples(4)])

    def external(file: h5py.File) -> None:
        file.create_dataset("row", (4,), "i8", external=[(str(tmp_path / "bytes"), 0, 32)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource(str(other), "row", (4,))
        file.create_virtual_dataset("row", layout)

    def soft(file: h5py.File) -> None:
        file["row"] = h5py.SoftLink("/group")

    def group(file: h5py.File) -> None:
        file.create_group("row")

    def scalar(file: h5py.File) -> None:
        del file["images"]
        file["images"], file["row"] = 3, np.arange(4)

    for replace in (external, virtual, soft, group, scalar):
        path = tmp_path / "a.h5"
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            del file["row"]
            replace(file)
        with pytest.raises(CacheError, match=r"/row of its own|/images is uint8 \(\)|/images is int64 \(\)"):
            Cache(path)


def test_a_cache_that_is_not_stored_as_kptool_stores_it_is_refused(tmp_path: Path) -> None:
    """A dataset without chunks, and therefore without checksums."""
    path = write(tmp_path / "a.h5", [samples(4)])
    with h5py.File(path, "r+") as file:
        rows = file["row"][:]
        del file["row"]
        file["row"] = rows
    with pytest.raises(CacheError, match="/row is not stored as kptool stores it"):
        Cache(path)


@pytest.mark.parametrize(
    ("sample", "name", "sentence"),
    [
        (0, "images", r"/images is damaged in chunk 0 \(samples 0 to 63\)"),
        (64, "images", r"/images is damaged in chunk 1 \(samples 64 to 69\)"),
        (0, "row", r"/row is damaged in chunk 0 \(samples 0 to 69\)"),
        (69, "heatmaps", r"/heatmaps is damaged in chunk 69 \(samples 69 to 69\)"),
    ],
)
def test_damage_is_named(tmp_path: Path, sample: int, name: str, sentence: str) -> None:
    path = write(tmp_path / "a.h5", [samples(70)])
    with h5py.File(path) as file:
        dataset = file[name]
        offset = (sample // dataset.chunks[0] * dataset.chunks[0], *[0] * (dataset.ndim - 1))
        place = dataset.id.get_chunk_info_by_coord(offset)
    data = bytearray(path.read_bytes())
    data[place.byte_offset + 5] ^= 0x10
    path.write_bytes(data)
    with Cache(path) as cache:
        with pytest.raises(CacheError, match=sentence) as caught:
            cache.read(name)
        assert str(path) in str(caught.value)


def test_damage_that_is_gone_when_looked_for_is_named_as_well() -> None:
    class Broken:
        """A dataset whose file cannot be read, permanently or temporarily."""

        name, chunks, for_good = "/row", (9,), True

        def __len__(self) -> int:
            return 9

        def __getitem__(self, _: slice) -> None:
            if self.for_good:
                raise OSError

    broken = Broken()
    assert _damage(broken) == "/row is damaged in chunk 0 (samples 0 to 8)"
    broken.for_good = False
    assert _damage(broken) == "/row cannot be read"


def test_what_the_description_says_of_shapes_and_sizes() -> None:
    assert INFO.image_shape == (6, 9)
    assert dataclasses.replace(INFO, channels=3).image_shape == (3, 6, 9)
    assert INFO.heatmap_shape == (3, 3, 5)
    assert INFO.skeleton.names == NAMES
    assert INFO.skeleton.flip_pairs == ((0, 1),)
    assert INFO.skeleton.mirror
    assert not dataclasses.replace(INFO, mirror=False).skeleton.mirror
    sizes = {kind: dataclasses.replace(INFO, heatmaps=kind).heatmap_bytes for kind in ("uint8", "float32", "none")}
    assert sizes == {"uint8": 45, "float32": 180, "none": 1}


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [("sigma", (0.3, 50), (0.29, 50.1)), ("stride", (1, 64), (0, 65)), ("heatmaps", ("none",), ("int8",))],
)
def test_the_description_has_limits(field: str, good: tuple[object, ...], bad: tuple[object, ...]) -> None:
    for value in good:
        assert getattr(dataclasses.replace(INFO, **{field: value}), field) == value  # type: ignore[arg-type]
    for value in bad:
        with pytest.raises(ConfigError, match=f"{field} must be"):
            dataclasses.replace(INFO, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="flip pairs"):
        dataclasses.replace(INFO, flip_pairs=((0, 0),))


def test_a_description_of_an_older_version_lacks_what_came_later(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", [samples(4)])
    with h5py.File(path, "r+") as file:
        info = json.loads(file.attrs["kptool"])
        del info["mirror"], info["margin"]
        file.attrs["kptool"] = json.dumps(info)
    with Cache(path) as cache:
        assert cache.info == INFO
