"""Caches that are damaged, or not laid out as their description says, are refused; the description has limits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_cache_layout import INFO, NAMES, PARTS, samples, write

from kptool.base.errors import CacheError, ConfigError, DataError
from kptool.cache.store import Cache, _damage
from kptool.system import quarantine


@pytest.fixture(autouse=True)
def _no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """These files harm no process; the one that opens each file first takes 0.3 s, and `tests/system/test_hdf5.py` tests it."""
    monkeypatch.setattr(quarantine, "check_opens", lambda path: None)


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
