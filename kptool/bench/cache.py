"""Heatmap caches: time to write and read them, by HDF5 filter, against rendering the heatmaps again.

"kptool" is kptool's own cache format; the others are HDF5's filters, including those of hdf5plugin if it is installed.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.skeleton import FACE15
from kptool.bench.timing import Row, measure
from kptool.cache.store import Cache, CacheWriter, Info
from kptool.data.annotations import Samples

_BATCH = 64


def run(quick: bool = False) -> list[Row]:
    """For each type and filter: writing, and reading shuffled batches of 64, against rendering the same maps."""
    count = 3 * _BATCH if quick else 16 * _BATCH
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 86, (count, 15, 2)).astype(np.float32)
    order = rng.permutation(count)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("uint8",) if quick else ("uint8", "float16", "float32"):
            maps = heatmaps.render(points, (96, 96), dtype=dtype)
            render = _render_ms(points[:_BATCH], dtype)
            rows += _measured("kptool", *_kptool(Path(folder), points, maps, order), maps, render)
            for name, options in filters(quick).items():
                rows += _measured(name, *_plain(Path(folder), maps, order, options), maps, render)
    return rows


def filters(quick: bool) -> dict[str, Mapping[str, Any]]:
    """The filters to measure, as options of h5py's create_dataset."""
    known: dict[str, Mapping[str, Any]] = {
        "no filter": {},
        "lzf": {"compression": "lzf", "shuffle": True},
        "gzip 1": {"compression": "gzip", "compression_opts": 1},
    }
    if quick or importlib.util.find_spec("hdf5plugin") is None:
        return known
    plugin = import_module("hdf5plugin")
    return {
        **known,
        "gzip 4": {"compression": "gzip", "compression_opts": 4},
        "hdf5plugin LZ4": plugin.LZ4(),
        "hdf5plugin Zstd 1": plugin.Zstd(clevel=1),
        "hdf5plugin bitshuffle LZ4": plugin.Bitshuffle(cname="lz4"),
        "hdf5plugin Blosc2 LZ4": plugin.Blosc2(cname="lz4", clevel=1),
    }


def _render_ms(points: NDArray[np.float32], dtype: str) -> float:
    """Milliseconds to render a batch into an existing array with one thread."""
    draw = heatmaps.Renderer(len(points), 15, (96, 96), dtype=dtype, threads=1)
    turns = [points, points[::-1]]

    def redraw() -> None:
        turns.reverse()
        draw(turns[0])

    return measure({"render": redraw}, seconds=0.2)["render"].median


Times = tuple[float, float, float]


def _kptool(folder: Path, points: NDArray[np.float32], maps: NDArray[Any], order: NDArray[np.int64]) -> Times:
    """With `kptool.cache.store`: seconds to write the maps, seconds to read them shuffled, and bytes on disk."""
    path, n = folder / "kptool.h5", len(points)
    info = Info(
        names=FACE15.names,
        flip_pairs=FACE15.flip_pairs,
        size=(96, 96),
        channels=1,
        sigma=2.0,
        stride=1,
        heatmaps=maps.dtype.name,
        seed=0,
        val=0.1,
        source="bench",
        source_sha256="0" * 64,
        version="bench",
    )
    images = np.zeros((n, 96, 96), np.uint8)
    samples = Samples(images, points, np.full((n, 15), 2, np.uint8), np.arange(n))
    started = time.perf_counter()
    with CacheWriter(path, info) as writer:
        writer.append(samples, maps)
        writer.finish(np.zeros(n, np.uint8), np.full(n, -1))
    wrote = time.perf_counter() - started
    with Cache(path) as cache:
        read = 0.0
        for index in np.array_split(order, n // _BATCH):
            started = time.perf_counter()
            batch = cache.read("heatmaps", np.sort(index))
            read += time.perf_counter() - started
            assert np.array_equal(batch, maps[np.sort(index)])
    with h5py.File(path) as file:
        return wrote, read, file["heatmaps"].id.get_storage_size()


def _plain(folder: Path, maps: NDArray[Any], order: NDArray[np.int64], options: Mapping[str, Any]) -> Times:
    """The same with plain h5py, one chunk per sample."""
    path = folder / "plain.h5"
    started = time.perf_counter()
    with h5py.File(path, "w") as file:
        file.create_dataset("heatmaps", data=maps, chunks=(1, *maps.shape[1:]), **options)
    wrote = time.perf_counter() - started
    with h5py.File(path) as file:
        dataset, read, batch = file["heatmaps"], 0.0, np.empty((_BATCH, *maps.shape[1:]), maps.dtype)
        for index in np.array_split(order, len(maps) // _BATCH):
            started = time.perf_counter()
            for place, i in enumerate(index):
                dataset.read_direct(batch, np.s_[i], np.s_[place])
            read += time.perf_counter() - started
            assert np.array_equal(batch, maps[index])
        return wrote, read, dataset.id.get_storage_size()


def _measured(name: str, wrote: float, read: float, size: float, maps: NDArray[Any], render_ms: float) -> list[Row]:
    """Two rows: milliseconds per batch of 64 to write and to read, against rendering it."""
    group = f"heatmaps {maps.dtype}, 96x96, batches of {_BATCH}"
    batches, raw = len(maps) / _BATCH, maps.nbytes / 1e9
    each = size / (maps.shape[0] * maps.shape[1])
    return [
        Row(
            group,
            f"write, {name}",
            "rendering it",
            1e3 * wrote / batches,
            render_ms,
            f"{each:.0f} bytes per heatmap, {raw / wrote:.2f} GB/s",
        ),
        Row(group, f"read shuffled, {name}", "rendering it", 1e3 * read / batches, render_ms, f"{raw / read:.2f} GB/s"),
    ]
