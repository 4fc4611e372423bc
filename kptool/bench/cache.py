"""Heatmap caches: what writing and reading them costs, by filter, and against rendering the heatmaps anew."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.bench.timing import Row, medians

FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "lzf": {"compression": "lzf", "shuffle": True},
    "gzip 1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip 4": {"compression": "gzip", "compression_opts": 4},
}


def run(quick: bool = False) -> list[Row]:
    """For each type and filter: writing and reading shuffled batches of 64, each against rendering the same maps."""
    count = 192 if quick else 1024
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 86, (count, 15, 2))
    batches = np.array_split(rng.permutation(count), count // 64)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("uint8",) if quick else ("uint8", "float16"):
            maps = heatmaps.render(points, (96, 96), dtype=dtype)
            render = _render_ms(points[:64], dtype)
            for name, options in FILTERS.items():
                rows += _one_filter(Path(folder), name, options, maps, batches, render)
    return rows


def _render_ms(points: NDArray[np.float64], dtype: str) -> float:
    """Milliseconds to render a batch into a buffer, with one thread."""
    out = np.empty((len(points), 15, 96, 96), dtype)
    return medians({"render": lambda: heatmaps.render(points, (96, 96), out=out, threads=1)}, seconds=0.2)["render"]


def _one_filter(
    folder: Path,
    name: str,
    options: dict[str, Any],
    maps: NDArray[Any],
    batches: list[NDArray[np.int64]],
    render_ms: float,
) -> list[Row]:
    """Milliseconds per batch of 64 to write and to read, against rendering it."""
    path = folder / "heatmaps.h5"
    started = time.perf_counter()
    with h5py.File(path, "w") as file:
        file.create_dataset("heatmaps", data=maps, chunks=(1, *maps.shape[1:]), fletcher32=True, **options)
    write = 1e3 * (time.perf_counter() - started) / (len(maps) / 64)
    size = path.stat().st_size / (maps.shape[0] * maps.shape[1])
    with h5py.File(path) as file:
        dataset = file["heatmaps"]
        started = time.perf_counter()
        read = [dataset[np.sort(index)] for index in batches]
        took = 1e3 * (time.perf_counter() - started) / len(batches)
    assert all(np.array_equal(block, maps[np.sort(index)]) for block, index in zip(read, batches, strict=True))
    batch = maps.nbytes / len(maps) * 64 / 1e6
    group = f"heatmaps {maps.dtype}, 96x96, batches of 64"
    note = f"{size:.0f} bytes per heatmap, {batch / write:.2f} GB/s"
    return [
        Row(group, f"write, {name}", "rendering it", write, render_ms, note),
        Row(group, f"read shuffled, {name}", "rendering it", took, render_ms, f"{batch / took:.2f} GB/s"),
    ]
