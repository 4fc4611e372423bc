"""A cache that does not fit into memory: how fast training reads it, and how much memory that takes.

    python benchmarks/large_cache.py make FILE [--images 100000] [--side 256]
    python benchmarks/large_cache.py read FILE      # one epoch of batches, without a network: GB/s, and memory along the way
    python benchmarks/large_cache.py train FILE     # training steps with images in memory and in the file, in turns

`make` writes colour images, 20 GB by default. `read` and `train` print JSON; sizes are in bytes, times in seconds, of the
clock and of the processor.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kptool.base.config import configure
from kptool.cache.chunk_size import BLOCK
from kptool.cache.layout import Info
from kptool.cache.store import Cache, CacheWriter
from kptool.data.annotations import Samples
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.split import Split
from kptool.training.trainer import Trainer

_NAMES = tuple(f"point{i}" for i in range(15))
_BATCH, _STEPS, _ROUNDS = 16, 12, 4
_RESIDENT = 4000
"""Images of the comparison with images in memory."""


def make(path: Path, count: int, side: int) -> None:
    """Write a cache of `count` random colour images of `side` pixels."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2 * BLOCK, 3, side, side), dtype=np.uint8)
    info = Info(_NAMES, (), (side, side), 3, 2.0, 1, "none", 0, 0.01, "", "", "")
    started = time.perf_counter()
    with CacheWriter(path, info) as writer:
        for start in range(0, count, BLOCK):
            n, first = min(BLOCK, count - start), int(rng.integers(BLOCK))
            points = rng.uniform(20, side - 20, (n, len(_NAMES), 2)).astype(np.float32)
            rows = np.arange(start, start + n)
            writer.append(Samples(noise[first : first + n], points, np.full(points.shape[:2], 2, np.uint8), rows), None)
        writer.finish((np.arange(count) % 100 == 7).astype(np.uint8), np.full(count, -1))
    print(json.dumps({"bytes": path.stat().st_size, "seconds": round(time.perf_counter() - started, 1)}))


def read(path: Path) -> dict[str, Any]:
    """Read one epoch in batches, as training does, and note the memory of the process along the way."""
    with Cache(path) as cache:
        data = Split.load(cache, torch.device("cpu"), None, 1 << 30).train
        parts = Epochs(data, (), configure_of(cache)[1].augment, batch_size=_BATCH, seed=0)
        order = parts._order(torch.Generator().manual_seed(0))
        pieces = torch.split(order, _BATCH)
        memory, clock, processor = [], time.perf_counter(), time.process_time()
        for i, _ in enumerate(data.batches(pieces)):
            if i % (len(pieces) // 20) == 0:
                memory.append(_resident_bytes())
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
    total = len(data) * int(np.prod(cache.info.image_shape))
    return {
        "images": len(data),
        "bytes": total,
        "seconds": clock,
        "processor_seconds": processor,
        "gb_per_second": total / clock / 1e9,
        "resident_bytes": memory,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }


def train(path: Path) -> dict[str, Any]:
    """Time training steps with images in memory and in the file, in turns, in batches of the same images."""
    with Cache(path) as cache:
        index = cache.index("train")[:_RESIDENT]
        stored = cache.images(index)
        points, visibility = cache.read("keypoints", index), cache.read("visibility", index)
        sets = {
            name: TrainingSet.upload(images, points, visibility, torch.device("cpu")).stored_in(stored)
            for name, images in (("memory", stored.all()), ("file", stored))
        }
        model, config = configure_of(cache)
        trainer = Trainer(model, config, torch.device("cpu"), Workers())
        trainer.schedule.total = 10_000
        trainer.network.train()
        batches = {
            name: Epochs(data, (), config.augment, batch_size=_BATCH, seed=0).epoch(0) for name, data in sets.items()
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in sets}
        for name in batches:
            _steps(trainer, batches[name], 2)
        for _ in range(_ROUNDS):
            for name in batches:
                times[name].append(_steps(trainer, batches[name], _STEPS))
    found: dict[str, Any] = {"images": len(index), "window": sets["file"].window, "chunks": len(stored.chunks)}
    for kind, at in (("seconds", 0), ("processor_seconds", 1)):
        each = {name: [row[at] for row in rows] for name, rows in times.items()}
        found[kind] = each
        found[f"{kind}_ratio"] = statistics.median(a / b for a, b in zip(each["memory"], each["file"], strict=True))
    return found


def configure_of(cache: Cache) -> Any:
    """The default U-Net and its recipe."""
    info = cache.info
    return configure("unet", info.skeleton, info.size, info.channels, {"stem": 1, "batch_size": _BATCH})


def _steps(trainer: Trainer, batches: Iterator[Batch], count: int) -> tuple[float, float]:
    """Seconds of `count` steps, of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        trainer.train_step(next(batches))
    return time.perf_counter() - clock, time.process_time() - processor


def _resident_bytes() -> int:
    """The memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("make", "read", "train"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=256)
    given = parser.parse_args()
    if given.what == "make":
        make(given.file, given.images, given.side)
    else:
        print(json.dumps((read if given.what == "read" else train)(given.file), indent=1))


if __name__ == "__main__":
    main()
