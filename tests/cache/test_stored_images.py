"""Images that are read past HDF5: chunk by chunk, with their checksums, ahead of their use, and no more than is needed."""

from __future__ import annotations

import dataclasses
import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from test_cache_layout import INFO, samples, write

from kptool import _core
from kptool.base.errors import CacheError
from kptool.cache import stored_images
from kptool.cache.chunks import Chunks, RawFile
from kptool.cache.store import Cache
from kptool.cache.stored_images import LANES, StoredImages, blocks, window
from kptool.system import hdf5

COLOUR = dataclasses.replace(INFO, channels=3, heatmaps="none")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1290 images in 21 chunks, the last of which is not full."""
    return write(tmp_path_factory.mktemp("stored") / "a.h5", [samples(1290, COLOUR)], COLOUR)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunks read from now on."""
    seen: list[int] = []
    read = Chunks.read

    def noted(self: Chunks, chunk: int) -> np.ndarray:
        seen.append(chunk)
        return read(self, chunk)

    monkeypatch.setattr(Chunks, "read", noted)
    return seen


@pytest.mark.parametrize("value", [None, 0, 255])
@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 11519, 11520, 11521, 100_003])
def test_the_checksum_is_that_of_hdf5(tmp_path: Path, count: int, value: int | None) -> None:
    """Also of all zeros and all ones, whose sums HDF5 may store as 65535."""
    rng = np.random.default_rng(count)
    data = rng.integers(0, 256, count, dtype=np.uint8) if value is None else np.full(count, value, np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=data, chunks=(count,), fletcher32=True)
        stored = dataset.id.read_direct_chunk((0,))[1][count:]
    second, first = divmod(int.from_bytes(stored, "little"), 1 << 16)
    assert _core.fletcher32(data.data) == (second % 65535) << 16 | first % 65535


def test_the_checksum_takes_bytes_only() -> None:
    with pytest.raises(ValueError, match="not bytes"):
        _core.fletcher32(np.zeros(4, np.int32).data)
    with pytest.raises(ValueError, match="not bytes"):
        _core.fletcher32(np.zeros(8, np.uint8)[::2].data)


def test_all_images_are_read(cache: Path) -> None:
    with h5py.File(cache) as file:
        expected = file["images"][:]
    with Cache(cache) as opened:
        assert np.array_equal(opened.read("images"), expected)
        some = np.array([0, 5, 63, 64, 700, 1289])
        assert np.array_equal(opened.read("images", some), expected[some])
        assert opened.images(some).nbytes == expected[some].nbytes
        assert len(opened.read("images", some[:0])) == 0


def test_images_in_any_order_are_read_ahead(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By several threads, each chunk once."""
    seen = reads(monkeypatch)
    rng = np.random.default_rng(0)
    with Cache(cache) as opened:
        everything, mine = opened.read("images"), np.flatnonzero(rng.random(1290) < 0.8)
        seen.clear()
        parts = [rng.permutation(len(mine))[:16] for _ in range(30)]
        found = list(opened.images(mine).read_ahead(parts))
    for part, images in zip(parts, found, strict=True):
        assert np.array_equal(images, everything[mine[part]])
    assert sorted(seen) == list(range(21))


def test_only_two_windows_of_chunks_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100, if the reader is slow and the threads are fast."""
    monkeypatch.setattr(stored_images, "_WINDOW_BYTES", 1)
    tiny = dataclasses.replace(COLOUR, size=(1, 1))
    path = write(tmp_path / "a.h5", [samples(6400, tiny)], tiny)
    asked: list[int] = []
    submit = ThreadPoolExecutor.submit

    def noted(self: ThreadPoolExecutor, function: object, chunk: int) -> object:
        asked.append(chunk)
        return submit(self, function, chunk)  # type: ignore[arg-type]

    monkeypatch.setattr(ThreadPoolExecutor, "submit", noted)
    with Cache(path) as opened:
        stored = opened.images()
        assert window(stored.chunks.nbytes) == LANES
        ahead = [len(asked) - i // 64 for i, _ in enumerate(stored.read_ahead(np.arange(6400)[:, None]))]  # type: ignore[arg-type]
    assert max(ahead) == 2 * LANES
    assert asked == list(range(100))


def test_reading_may_end_early(cache: Path) -> None:
    with Cache(cache) as opened:
        blocks_of = opened.images().blocks(8)
        next(blocks_of)
        blocks_of.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kptool-read")]


@pytest.mark.parametrize("channels", [1, 3])
def test_blocks_are_the_same_from_memory_and_file(tmp_path: Path, channels: int) -> None:
    info = dataclasses.replace(COLOUR, channels=channels)
    with Cache(write(tmp_path / "a.h5", [samples(70, info)], info)) as opened:
        stored, resident = (list(blocks(images, 32)) for images in (opened.images(), opened.read("images")))
    assert [block.shape for block in stored] == [(n, channels, *info.size) for n in (32, 32, 6)]
    assert all(np.array_equal(a, b) for a, b in zip(stored, resident, strict=True))


def broken(cache: Path, out: Path, place: int) -> Path:
    """A copy of the cache in which one byte of the image at `place` differs."""
    content = bytearray(cache.read_bytes())
    with h5py.File(cache) as file:
        info = file["images"].id.get_chunk_info(place // 64)
        content[info.byte_offset + place % 64 * file["images"][0].nbytes] ^= 1
    out.write_bytes(content)
    return out


def test_damage_is_named_where_images_are_read_ahead(cache: Path, tmp_path: Path) -> None:
    with Cache(broken(cache, tmp_path / "b.h5", 650)) as opened:
        stored = opened.images()
        assert len(list(stored.read_ahead([np.arange(640)]))) == 1
        with pytest.raises(CacheError, match=r"b.h5: /images is damaged in chunk 10 \(samples 640 to 703\)"):
            list(stored.blocks(64))


def test_a_file_that_was_cut_short_meanwhile_is_damaged(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    path.write_bytes(cache.read_bytes())
    with Cache(path) as opened:
        stored = opened.images()
        with path.open("r+b") as file:
            file.truncate(4096)
        with pytest.raises(CacheError, match=r"damaged in chunk 20 \(samples 1280 to 1289\)"):
            stored.take(np.array([1289]))


def test_chunks_without_their_filter_are_refused(tmp_path: Path) -> None:
    """HDF5 may store single chunks without a checksum; kptool does not."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("images", (2, 4), "u1", chunks=(1, 4), fletcher32=True)
        dataset.id.write_direct_chunk((0, 0), bytes(4), 1)
        dataset.id.write_direct_chunk((1, 0), bytes(8), 0)
    with h5py.File(path) as file, closing(RawFile(path, file)) as raw, pytest.raises(CacheError, match="not stored as"):
        Chunks(path, raw, file["images"])


def test_a_dataset_without_checksums_is_read(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.int32).reshape(5, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=values, chunks=(2, 4))
    with h5py.File(tmp_path / "a.h5") as file:
        raw = RawFile(tmp_path / "a.h5", file)
        chunks = Chunks(tmp_path / "a.h5", raw, file["images"])
        assert np.array_equal(StoredImages(chunks, np.arange(5)).all(), values)
        raw.close()


@pytest.mark.parametrize(("number", "offset"), [(2, 100), (0, -1), (0, 1 << 62), (0, (1 << 64) - 1)])
def test_chunks_that_lie_elsewhere_are_refused(tmp_path: Path, number: int, offset: int) -> None:
    """Beyond the dataset, or beyond the file."""

    class Dataset:
        shape, chunks, dtype, name = (4, 4), (2, 4), np.dtype("u1"), "/images"
        id = property(lambda self: self)

        def __len__(self) -> int:
            return 4

        def get_create_plist(self) -> Dataset:
            return self

        def get_nfilters(self) -> int:
            return 0

        def chunk_iter(self, note: Any) -> None:
            for index, at in ((1, 0), (number, offset)):
                note(SimpleNamespace(chunk_offset=(2 * index, 0), filter_mask=0, byte_offset=at, size=8))

    file: Any = SimpleNamespace(size=1000)
    with pytest.raises(CacheError, match="not stored as kptool stores it"):
        Chunks(tmp_path, file, Dataset())


def test_a_cache_that_is_replaced_while_it_is_open_stays_as_it_was(cache: Path, tmp_path: Path) -> None:
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    path.write_bytes(cache.read_bytes())
    write(other, [samples(1290, COLOUR, seed=1)], COLOUR)
    with Cache(cache) as opened:
        expected = opened.read("images")
    with Cache(path) as opened:
        other.replace(path)
        assert np.array_equal(opened.read("images"), expected)
        path.unlink()
        assert np.array_equal(opened.images().take(np.array([3])), expected[3:4])


def test_an_error_of_the_disk_is_damage(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with Cache(cache) as opened:
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(CacheError, match="/images is damaged in chunk 0"):
            opened.read("images")


def test_chunks_of_large_images_are_small(tmp_path: Path) -> None:
    """So that a window of them fits into memory; a cache of before, with 64 images in each, is still read."""
    large = dataclasses.replace(COLOUR, size=(1024, 1024))
    with Cache(write(tmp_path / "a.h5", [samples(7, large)], large)) as opened:
        assert opened.images().chunks.rows == 5
        expected = opened.read("images")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["images"]
        shape = {"maxshape": (None, 3, 1024, 1024), "chunks": (64, 3, 1024, 1024)}
        file.create_dataset("images", data=expected, fletcher32=True, **shape)
    with Cache(tmp_path / "a.h5") as opened:
        assert opened.images().chunks.rows == 64
        assert np.array_equal(opened.read("images"), expected)


def test_small_blocks_are_written_once(tmp_path: Path) -> None:
    """Not a chunk for each of them."""
    small = dataclasses.replace(COLOUR, channels=1, size=(32, 32))
    written = []
    write_ = hdf5._Disk.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5._Disk, "write", lambda self, data: written.append(len(data)) or write_(self, data))
        path = write(tmp_path / "a.h5", [samples(16, small, i) for i in range(40)], small)
    assert sum(written) < 1.3 * path.stat().st_size


@pytest.mark.parametrize("harm", ["none", "byte", "short", "long", "no end"])
def test_compressed_chunks_are_unpacked_and_verified(tmp_path: Path, harm: str) -> None:
    """By several threads; what is longer or shorter than a chunk is refused, and never unpacked as a whole."""
    values = np.random.default_rng(0).integers(0, 9, (6, 50, 20), dtype=np.uint8)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("heatmaps", values.shape, "u1", chunks=(1, 50, 20), compression="gzip")
        for i, each in enumerate(values):
            content = each.tobytes()
            if i == 3:
                content = {"short": content[:-1], "long": content + bytes(1 << 22)}.get(harm, content)
            packed = bytearray(zlib.compress(content, 1))
            if i == 3 and harm == "byte":
                packed[len(packed) // 2] ^= 1
            dataset.id.write_direct_chunk((i, 0, 0), bytes(packed[:-2] if i == 3 and harm == "no end" else packed))
    with h5py.File(path) as file, closing(RawFile(path, file)) as raw:
        chunks = Chunks(path, raw, file["heatmaps"])
        assert np.array_equal(chunks.take(np.array([0, 1, 5])), values[[0, 1, 5]])
        if harm == "none":
            assert np.array_equal(chunks.take(np.arange(6)), values)
        else:
            with pytest.raises(CacheError, match=r"/heatmaps is damaged in chunk 3 \(samples 3 to 3\)"):
                chunks.take(np.arange(6))
