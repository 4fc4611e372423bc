"""Damaged or malicious files are refused in one sentence, and no code in them runs.

`hostile.py` reads thousands of such inputs; this file has a few of them, and those that once revealed a bug.
"""

from __future__ import annotations

import contextlib
import io
import random
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import bombs
import h5files
import h5py
import label_files
import mutations
import numpy as np
import pytest
import targets
import weights
from conftest import kaggle_csv
from PIL import Image

from kptool.base.errors import CacheError, DataError, KptoolError
from kptool.cache.store import Cache
from kptool.data import images, splits
from kptool.data.sources import Opening, find_source
from kptool.network import checkpoint

pytestmark = pytest.mark.faults
CORPUS = Path(__file__).parent / "corpus"
NOTHING = (
    b"", b"\x00" * 64, b"\xff\xfe", b"[]", b"{}", b"null", b"1e999", b"[" * 5000, b'{"a":' * 3000, b"a,b\n1", b'"', b"PK\x03\x04",
    b"\x89HDF\r\n\x1a\n", b"\x89PNG\r\n\x1a\n", b"&a [*a]", b"<a>", b"version: 1\nn_points: 9\n{\n",
)  # fmt: skip


def consume(path: Path) -> None:
    for _ in find_source(path, Opening(size=(16, 16))).blocks():
        pass


def test_a_picture_as_thin_as_they_come_takes_no_square_of_memory(tmp_path: Path) -> None:
    long = np.zeros((60_000, 1), np.uint8)
    affine = np.array([[96 / 60_000, 0, 47.5], [0, 96 / 60_000, 0]])
    assert images.crop(long, affine, (96, 96), 1).shape == (96, 96)
    assert np.array_equal(images.crop(long.T, affine[::-1, [1, 0, 2]], (96, 96), 1), np.zeros((96, 96)))
    path = tmp_path / "long.png"
    path.write_bytes(bombs.png(70_000, 1, 0, 8))
    with pytest.raises(DataError, match="along a side"):
        images.read(path)


def test_large_pictures_are_cut_as_small_ones_are() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1500, 3000, 3), np.uint8)
    affine = np.array([[96 / 3000, 0, 0], [0, 96 / 3000, 24.0]])
    banded = images.crop(picture, affine, (96, 96), 1)
    whole = Image.fromarray(np.pad(picture, ((752, 752), (2, 2), (0, 0)), mode="edge")).convert("L")
    assert abs(banded.astype(int).mean() - np.asarray(whole.resize((96, 96))).astype(int).mean()) < 1
    fitted = images.resize_for(picture, (96, 96), 1)[0].astype(int)
    direct = np.asarray(Image.fromarray(picture).convert("L").resize((96, 96), Image.Resampling.BILINEAR)).astype(int)
    assert abs(fitted - direct).max() <= 1


@pytest.mark.parametrize("name", ["bomb-huge.png", "bomb-text.png"])
def test_bombs_are_refused(tmp_path: Path, name: str) -> None:
    data = {
        "bomb-huge.png": bombs.png(2**31 - 1, 2**31 - 1, 6, 16, rows=4),
        "bomb-text.png": bombs.png(8, 8, 0, 8, bombs.png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(100 << 20), 1))),
    }[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        images.read(tmp_path / name)


def test_yaml_that_refers_to_itself_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40))]
    path = label_files.write_yolo(tmp_path)
    path.write_text("\n".join([*lines, "kpt_shape: *a39", "train: images/train"]))
    with pytest.raises(DataError, match=r"refers to other parts"):
        consume(path)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_yaml_nested_without_end_is_refused_at_once(tmp_path: Path, opening: str) -> None:
    """Parsing it fully would take time quadratic in the depth: hours."""
    path = label_files.write_yolo(tmp_path)
    valid = path.read_text()
    path.write_text(opening * 50_000)
    started = time.process_time()
    with pytest.raises(DataError, match="more than 100 deep"):
        consume(path)
    assert time.process_time() - started < 5
    path.write_text(valid.replace("{", f'{{"extra": {"[" * 99}{"]" * 99}, ', 1))
    consume(path)


@pytest.mark.parametrize("train", ["x" * 5000, "images/list.txt"])
def test_names_too_long_for_any_file_are_refused(tmp_path: Path, train: str) -> None:
    path = label_files.write_yolo(tmp_path)
    (tmp_path / "images" / "list.txt").write_text(f"images/{'x' * 5000}.png\n")
    path.write_text(path.read_text().replace('"images/train"', f'"{train}"'))
    with pytest.raises(DataError, match=str(tmp_path)):
        consume(path)


def test_zips_in_zips_end(tmp_path: Path) -> None:
    content = kaggle_csv(tmp_path / "training.csv").read_bytes()
    for depth in range(300):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("training.csv" if depth == 0 else "training.zip", content)
        content = out.getvalue()
        path = tmp_path / f"{depth}.zip"
        path.write_bytes(content)
        if depth < 2:
            consume(path)
    with pytest.raises(DataError, match=r"holds no training.csv"):
        consume(path)


@pytest.mark.parametrize("spoiled", ["every name", "the first name"])
def test_zips_whose_names_are_no_text_are_refused(tmp_path: Path, spoiled: str) -> None:
    path = tmp_path / "training.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("é/training.csv", "Image\n0 0 0 0\n")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe", 1 if spoiled == "the first name" else -1))
    with pytest.raises(DataError, match="damaged, cut off or encrypted"):
        consume(path)


@pytest.mark.parametrize("name", ["labels.xml", "training.zip", "train.csv"])
def test_what_ends_as_a_zip_in_several_parts_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(struct.pack("<4s2QI", b"PK\x06\x07", 0, 0, 2)[:16] + struct.pack("<I4s18x", 2, b"PK\x05\x06"))
    with pytest.raises(DataError, match=str(path)):
        consume(path)


@pytest.mark.parametrize("kind", ["columns", "pixels", "line"])
def test_csv_bombs_are_refused(tmp_path: Path, kind: str) -> None:
    much = 5_000_000
    text = {
        "columns": "a," * 1_000_000 + "Image\n1\n",
        "pixels": "Image\n" + "0 " * much + "\n",
        "line": "Image\n" + "00" * 3 * much,
    }[kind]
    path = tmp_path / "training.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("training.csv", text)
    with pytest.raises(DataError, match=str(path)):
        consume(path)


def test_labels_of_very_many_keypoints_are_refused(tmp_path: Path) -> None:
    path = label_files.write_cvat(tmp_path)
    points = ";".join(["1,1"] * 3000)
    shape = f'<points label="p" points="{points}"/>'
    path.write_text(f'<annotations><image name="a.png" width="100" height="90">{shape}</image></annotations>')
    with pytest.raises(DataError, match="names 3000 different keypoints"):
        consume(path)


@pytest.mark.parametrize(
    ("name", "replace", "says"),
    [
        ("keypoints", {"value": np.nan}, "out of range"),
        ("visibility", {"value": 3}, "out of range"),
        ("split", {"value": 2}, "out of range"),
        ("affine", {"value": 0}, "out of range"),
        ("images", {"compression": "lzf"}, "not stored as"),
        ("images", {"compression": "gzip"}, "not stored as"),
        ("row", {"shuffle": True}, "not stored as"),
        ("keypoints", {"chunks": None}, "not stored as"),
        ("keypoints", {"chunks": (4, 15, 2)}, "not stored as"),
        ("affine", {"unwritten": True}, "does not hold them"),
    ],
)
def test_a_cache_of_another_layout_or_content_is_refused(
    faces: Path, tmp_path: Path, name: str, replace: dict[str, Any], says: str
) -> None:
    path = tmp_path / "dataset.h5"
    path.write_bytes(faces.read_bytes())
    with h5py.File(path, "r+") as file:
        if "value" in replace:
            file[name][3:5] = replace["value"]
        else:
            old, chunks = file[name][:], file[name].chunks
            del file[name]
            options = {"chunks": chunks, "fletcher32": True, "maxshape": (None, *old.shape[1:]), **replace}
            if options["chunks"] is None:
                del options["fletcher32"], options["maxshape"]
            written = {} if options.pop("unwritten", False) else {"data": old}
            file.create_dataset(name, old.shape, old.dtype, **written, **options)
    with pytest.raises(CacheError, match=says):
        read_cache(path)


def test_a_cache_that_claims_samples_and_holds_none_is_refused(faces: Path, tmp_path: Path) -> None:
    path = tmp_path / "dataset.h5"
    path.write_bytes(faces.read_bytes())
    with h5py.File(path, "r+") as file:
        for name in list(file):
            old = file[name]
            shape, dtype, chunks = (10**9, *old.shape[1:]), old.dtype, old.chunks
            del file[name]
            file.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True)
    with pytest.raises(CacheError, match="make it again"):
        Cache(path)


@pytest.mark.parametrize("seed", range(24))
def test_damaged_inputs_are_read_or_refused(
    faces: Path, weights_file: bytes, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPTOOL_THREADS", "1")
    rng = random.Random(seed)
    labels = label_files.write_coco(tmp_path / "coco")
    labels.write_bytes(rng.choice(mutations.TEXT)(labels.read_bytes(), rng))
    cache = tmp_path / "dataset.h5"
    cache.write_bytes(h5files.rebuilt(faces.read_bytes(), rng))
    model = tmp_path / "model.safetensors"
    model.write_bytes(weights.rebuilt(weights_file, rng))
    groups = tmp_path / "groups.csv"
    groups.write_bytes(rng.choice(mutations.TEXT)(b"row,group\n0,1\n1,2\n", rng))
    picture = io.BytesIO()
    Image.new("CMYK", (40, 30)).save(picture, "JPEG")
    damaged = io.BytesIO(rng.choice(mutations.ANY)(picture.getvalue(), rng))
    for read in (
        lambda: consume(labels),
        lambda: read_cache(cache),
        lambda: checkpoint.load_model(model),
        lambda: splits.read_groups(groups),
        lambda: images.read(damaged, "picture"),
    ):
        with contextlib.suppress(KptoolError):
            read()


def read_cache(path: Path) -> None:
    with Cache(path) as cache:
        for name in ("split", "keypoints", "visibility", "affine", "row", "group"):
            cache.read(name)


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_every_reader_refuses_what_is_nothing_of_its_kind(name: str, tmp_path: Path) -> None:
    for data in [*NOTHING, *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]:
        with contextlib.suppress(KptoolError):
            targets.TARGETS[name](data, tmp_path / "place")
