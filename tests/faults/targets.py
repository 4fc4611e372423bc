"""Every reader of external files as a function of bytes and an empty folder, for `fuzz.py` and the test of its corpus.

A target either reads its input or raises KptoolError; anything else is a finding.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import label_files
import numpy as np

from kptool.base import config, recipes
from kptool.base.skeleton import FACE15
from kptool.cache.store import Cache, CacheWriter, Info
from kptool.data import images, patches, splits
from kptool.data.annotations import Samples
from kptool.data.sources import Opening, find_source
from kptool.datasets.kaggle import read_test
from kptool.kaggle import submit
from kptool.network import cards
from kptool.plugins import load
from kptool.predict import backends
from kptool.system import quarantine

Target = Callable[[bytes, Path], None]
_SMALL = Opening(size=(16, 16))


def _labels(name: str, data: bytes, place: Path) -> None:
    """Labels in a file called `name`, in a folder with pictures for all formats."""
    if not place.exists():
        for write in label_files.WRITERS.values():
            write(place / write.__name__)
    folder = place / f"write_{name.partition('/')[0]}"
    path = folder / name.partition("/")[2]
    path.write_bytes(data)
    given = folder if path.suffix == ".pts" else folder / "data.yaml" if path.suffix == ".txt" else path
    for _ in find_source(given, _SMALL).blocks():
        pass


def _kaggle(name: str, data: bytes, place: Path) -> None:
    path = _put(place / name, data)
    load("datasets", "kaggle").matches(path)
    for _ in load("datasets", "kaggle").open(path).blocks():
        pass


def _test_csv(data: bytes, place: Path) -> None:
    for _ in read_test(_put(place / "test.csv", data)):
        pass


def _patch(data: bytes, place: Path) -> None:
    patches.read(_put(place / "patch.csv", data), FACE15.names)


def _groups(data: bytes, place: Path) -> None:
    splits.read_groups(_put(place / "groups.csv", data))


def _lookup(data: bytes, place: Path) -> None:
    submit.read_lookup(_put(place / "lookup.csv", data))


def _recipe(data: bytes, place: Path) -> None:
    settings = recipes.read(_put(place / "recipe.toml", data))
    settings.pop("model", None)
    config.configure("unet", FACE15, (96, 96), 1, settings)


def _card(data: bytes, place: Path) -> None:
    cards.parse_card(place, {"kptool": data.decode("utf-8", "replace")})


def _weights(data: bytes, place: Path) -> None:
    from kptool.network import checkpoint

    checkpoint.load_model(_put(place / "model.safetensors", data))


def _onnx(data: bytes, place: Path) -> None:
    backends.OnnxBackend(_put(place / "model.onnx", data), threads=1)


def _picture(data: bytes, place: Path) -> None:
    images.read(io.BytesIO(data), "picture")


def _state(data: bytes, place: Path) -> None:
    from kptool.network import checkpoint

    checkpoint.load_state(_put(place / "last.ckpt", data))


def _description(data: bytes, place: Path) -> None:
    """The JSON in an otherwise valid cache."""
    if not place.exists():
        place.mkdir(parents=True)
        info = Info(("a", "b"), (), (8, 8), 1, 2.0, 1, "none", 0, 0.0, "", "", "")
        with CacheWriter(place / "valid.h5", info) as file:
            points, seen = np.zeros((1, 2, 2), np.float32), np.zeros((1, 2), np.uint8)
            file.append(Samples(np.zeros((1, 8, 8), np.uint8), points, seen, np.zeros(1, np.int64)), None)
            file.finish(np.zeros(1, np.uint8), np.zeros(1, np.int64))
    path = place / "dataset.h5"
    shutil.copy(place / "valid.h5", path)
    with h5py.File(path, "r+") as file:
        file.attrs["kptool"] = data.decode("utf-8", "replace").replace("\0", "0")
    quarantine.mark_checked(path)  # otherwise each would start a subprocess
    with Cache(path) as cache:
        cache.index("all")


def _put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


TARGETS: dict[str, Target] = {
    "table-wide": partial(_labels, "wide/wide.csv"),
    "table-long": partial(_labels, "wide/long.csv"),
    "deeplabcut": partial(_labels, "deeplabcut/CollectedData_me.csv"),
    "coco": partial(_labels, "coco/labels.json"),
    "label-studio": partial(_labels, "label_studio/project.json"),
    "cvat": partial(_labels, "cvat/annotations.xml"),
    "pts": partial(_labels, "pts/a.pts"),
    "yolo-yaml": partial(_labels, "yolo/data.yaml"),
    "yolo-txt": partial(_labels, "yolo/labels/train/a.txt"),
    "kaggle-csv": partial(_kaggle, "training.csv"),
    "kaggle-zip": partial(_kaggle, "training.zip"),
    "test-csv": _test_csv,
    "lookup": _lookup,
    "groups": _groups,
    "patch": _patch,
    "recipe": _recipe,
    "card": _card,
    "weights": _weights,
    "onnx": _onnx,
    "picture": _picture,
    "h5-description": _description,
    "last-ckpt": _state,
}


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Valid inputs of every target, from those that `inputs.inputs` wrote to `folder`."""
    body = {"schema": 1, "config": config.to_dict(config.ModelConfig("unet", ("a", "b"), ((0, 1),)))}
    card = json.dumps({**body, "training": {}, "data": {}, "metrics": {"radius90": [1.0, None]}})
    info = Info(("a", "b"), ((0, 1),), (8, 8), 1, 2.0, 1, "none", 0, 0.0, "", "", "")
    files = {
        "table-wide": ["table/wide.csv", "numbered/numbered.csv"],
        "table-long": ["long/long.csv"],
        "deeplabcut": ["deeplabcut/CollectedData_me.csv"],
        "coco": ["coco/labels.json"],
        "label-studio": ["label-studio/project.json"],
        "cvat": ["cvat/annotations.xml"],
        "pts": ["pts/a.pts"],
        "yolo-yaml": ["yolo/data.yaml"],
        "yolo-txt": ["yolo/labels/train/a.txt"],
        "kaggle-csv": ["kaggle/training.csv"],
        "kaggle-zip": ["kaggle/training.zip", "kaggle/all.zip"],
        "test-csv": ["submit/test.csv"],
        "lookup": ["submit/lookup.csv"],
        "groups": ["kaggle/groups.csv"],
        "patch": ["kaggle/patch.csv"],
        "recipe": ["own/settings.toml"],
        "weights": ["own/model.safetensors"],
        "onnx": ["own/model.onnx"],
        "picture": [str(path.relative_to(folder)) for path in sorted((folder / "pictures").iterdir())],
        "last-ckpt": ["own/out/run/last.ckpt"],
    }
    found = {name: [(folder / path).read_bytes() for path in paths] for name, paths in files.items()}
    texts = {"card": card, "h5-description": json.dumps(info.__dict__)}
    return found | {name: [text.encode()] for name, text in texts.items()}
