"""Make golden files: python tests/golden/make.py FOLDER, into a new folder.

They record what schema 1 of caches, weights and training checkpoints looks like, and every later version of kptool
must read them. They are never regenerated; if a schema changes, a folder is added and these stay. The pictures are
synthetic or noise.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kptool import heatmaps, plugins
from kptool.base.config import configure
from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache, CacheWriter, Info
from kptool.data.annotations import Samples
from kptool.network import cards, checkpoint
from kptool.predict.backends import OnnxBackend, TorchBackend
from kptool.predict.export import export
from kptool.training import run

GREY, COLOUR, WEIGHTS, STATE, GRAPH = "grey.h5", "colour.h5", "half.safetensors", "last.ckpt", "model.onnx"
NUMBERS = "numbers.json"


def write_grey(folder: Path) -> None:
    """Eight synthetic faces, without heatmaps, as `kptool extract` writes them."""
    source = plugins.load("datasets", "synthetic").open(None, count=8, size=(32, 32), seed=7)
    with tempfile.TemporaryDirectory() as name:
        made = extract(source, Path(name) / "out", Options(val=0.25, heatmaps="none", stride=2, sigma=1.5, seed=3))
        shutil.copy(made.cache, folder / GREY)


def write_colour(folder: Path) -> None:
    """Three pictures of noise with everything a cache may hold: unlabelled keypoints, affines, groups, a margin."""
    rng = np.random.default_rng(8)
    points = rng.uniform(0, 15, (3, 4, 2)).astype(np.float32)
    visibility = np.array([[2, 2, 1, 2], [2, 0, 2, 2], [1, 2, 2, 0]], np.uint8)
    points[visibility == 0] = 0
    affines = np.array([[[0.5, 0.0, k], [0.0, 0.25, -k]] for k in range(3)])
    images = rng.integers(0, 256, (3, 3, 16, 20), dtype=np.uint8)
    samples = Samples(images, points, visibility, np.array([0, 2, 5]), affines)
    names, pairs = ("left", "right", "nose", "mütze"), ((0, 1),)
    info = Info(
        names, pairs, (16, 20), 3, 1.25, 3, "float16", 11, 0.4, "noise", "ab" * 32, "0.1.0", mirror=False, margin=0.1
    )
    maps = heatmaps.render(points, info.size, info.sigma, stride=3, visibility=visibility, dtype="float16")
    with CacheWriter(folder / COLOUR, info) as writer:
        writer.append(samples, maps)
        writer.finish(np.array([0, 0, 1], np.uint8), np.array([-1, 4, 5]))


def write_models(folder: Path) -> None:
    """A small U-Net overfitted to the grey faces, in float16 and as a graph; and the checkpoint of a smaller one."""
    with Cache(folder / GREY) as cache:
        info = cache.info
    common = {"batch_size": 4, "lr": 1e-2, "augment.flip": 0.0}
    for width, epochs, wanted in ((4, 60, cards.WEIGHTS), (1, 2, cards.STATE)):
        with tempfile.TemporaryDirectory() as name:
            values = {**common, "width": width, "epochs": epochs}
            settings = configure("unet", info.skeleton, info.size, info.channels, values)
            run.train(folder / GREY, Path(name), *settings, device="cpu")
            if wanted == cards.STATE:
                shutil.copy(Path(name) / wanted, folder / STATE)
                continue
            model, card = checkpoint.load_model(Path(name) / wanted)
            checkpoint.save_weights(folder / WEIGHTS, model, card, half=True)
    with Cache(folder / GREY) as cache:
        export(folder / WEIGHTS, folder / GRAPH, cache.read("images"), half=True)


def describe(folder: Path) -> dict[str, Any]:
    """The values that every version must read from the files: small arrays in full, pictures as checksums."""
    numbers: dict[str, Any] = {}
    for name in (GREY, COLOUR):
        with Cache(folder / name) as cache:
            numbers[name] = {"info": json.loads(json.dumps(dataclasses.asdict(cache.info)))}
            for part in ("keypoints", "visibility", "split", "row", "group", "affine"):
                numbers[name][part] = cache.read(part).tolist()
            numbers[name]["images"] = checksum(cache.read("images"))
            if cache.info.heatmaps != "none":
                numbers[name]["heatmaps"] = checksum(cache.read("heatmaps"))
            if name == GREY:
                images = cache.read("images")
    for name, network in ((WEIGHTS, TorchBackend(folder / WEIGHTS, "cpu")), (GRAPH, OnnxBackend(folder / GRAPH))):
        found = network.run(images)
        numbers[name] = {part: getattr(found, part).round(5).tolist() for part in ("points", "scores", "radius90")}
        numbers[name]["card"] = json.loads(network.card.to_json())
    state = checkpoint.load_state(folder / STATE)
    numbers[STATE] = {key: state[key] for key in ("schema", "step", "epoch", "history", "config", "training", "data")}
    numbers[STATE]["sums"] = {part: state_sum(state[part]) for part in ("detector", "average")}
    return numbers


def checksum(array: np.ndarray) -> float:
    """A checksum that depends on every element and on their order; exact for integers."""
    flat = array.astype(np.float64).ravel()
    return float((flat * (np.arange(flat.size) % 251 + 1)).sum())


def state_sum(tensors: dict[str, torch.Tensor]) -> float:
    """The sum of absolute values."""
    return float(sum(tensor.double().abs().sum() for tensor in tensors.values()))


def main() -> None:
    """Make all golden files."""
    folder = Path(sys.argv[1])
    folder.mkdir()
    torch.set_num_threads(1)
    write_grey(folder)
    write_colour(folder)
    write_models(folder)
    text = json.dumps(describe(folder), ensure_ascii=False)
    (folder / NUMBERS).write_text(text + "\n", encoding="utf-8")
    pack(folder)


def pack(folder: Path) -> None:
    """Compress the files, because HDF5 stores whole chunks even for few samples, and torch pads tensors."""
    for name in (GREY, COLOUR, WEIGHTS, STATE, GRAPH):
        data = (folder / name).read_bytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        (folder / name).unlink()


def unpack(folder: Path) -> None:
    """Write the uncompressed files to another folder."""
    for packed in Path(__file__).parent.glob("*.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))


if __name__ == "__main__":
    main()
