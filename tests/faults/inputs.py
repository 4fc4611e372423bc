"""Small valid inputs of every kind that kptool reads, to be damaged by `hostile.py`."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import label_files
import numpy as np
import torch
from conftest import kaggle_csv
from PIL import Image

from kptool import cards, checkpoint
from kptool.annotations import FACE15
from kptool.config import ModelConfig
from kptool.detector import Detector
from kptool.export import export
from kptool.extraction import Options, extract
from kptool.sources import Opening, find_source

_EXTRACT = ("extract", "{}", "--out", "out", "--size", "32", "--heatmaps", "uint8", "--json")


@dataclass(frozen=True)
class Input:
    """A folder of files, which of them is to be damaged, and the commands that read it ({} is `opened`).

    `whole` says whether a part of the file is never a file of this kind.
    """

    kind: str
    folder: Path
    damaged: str
    opened: str
    commands: tuple[tuple[str, ...], ...]
    whole: bool = True


def inputs(folder: Path) -> Iterator[Input]:
    """Write one of every kind below `folder`."""
    yield from _labels(folder)
    yield from _kaggle(folder)
    yield from _pictures(folder)
    yield from _own_files(folder)


def _labels(folder: Path) -> Iterator[Input]:
    structured = {"coco", "label-studio", "cvat"}
    for name, write in label_files.MORE.items():
        place = folder / name
        path = write(place)
        damaged = {"pts": "a.pts", "yolo": "labels/train/a.txt"}.get(name, str(path.relative_to(place)))
        opened = str(path.relative_to(place))
        yield Input(name, place, damaged, opened, (_EXTRACT,), name in structured)
        if name == "yolo":
            yield Input("yolo-yaml", place, opened, opened, (_EXTRACT,), False)
    convert = ("convert", "{}", "--to", "yolo", "--out", "out", "--json")
    yield Input("convert", folder / "coco", "labels.json", "labels.json", (convert,))


def _kaggle(folder: Path) -> Iterator[Input]:
    place = folder / "kaggle"
    place.mkdir()
    table = kaggle_csv(place / "training.csv", partial=2)
    with zipfile.ZipFile(place / "training.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(table, "training.csv")
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(table, "training.csv")
    with zipfile.ZipFile(place / "all.zip", "w") as file:
        file.writestr("training.zip", inner.getvalue())
    commands = (("extract", "{}", "--out", "out", "--keypoints", "all", "--json"),)
    for name in ("training.csv", "training.zip", "all.zip"):
        yield Input(f"kaggle-{name}", place, name, name, commands, name != "training.csv")
    (place / "groups.csv").write_text("row,group\n" + "".join(f"{row},{row // 2}\n" for row in range(6)))
    groups = (("extract", "training.csv", "--out", "out", "--groups", "{}", "--json"),)
    yield Input("groups", place, "groups.csv", "groups.csv", groups, False)
    (place / "flips.csv").write_text("left_eye_center,right_eye_center\nmouth_left_corner,mouth_right_corner\n")
    flips = (("extract", "training.csv", "--out", "out", "--flips", "{}", "--json"),)
    yield Input("flips", place, "flips.csv", "flips.csv", flips, False)
    (place / "patch.csv").write_text(
        "row,action,keypoint,x,y,reason\n0,set,nose_tip,4.5,4,moved\n1,unlabel,left_eye_center,,,gone\n2,drop,,,,bad\n"
    )
    patch = (("extract", "training.csv", "--out", "out", "--patch", "{}", "--json"),)
    yield Input("patch", place, "patch.csv", "patch.csv", patch, False)


def _pictures(folder: Path) -> Iterator[Input]:
    place = folder / "pictures"
    place.mkdir()
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (40, 30), np.uint8))
    colour = Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8))
    grey.save(place / "grey.png")
    colour.save(place / "colour.jpg")
    colour.convert("CMYK").save(place / "cmyk.jpg")
    colour.save(place / "colour.webp")
    colour.save(place / "colour.bmp")
    colour.save(place / "deflate.tif", compression="tiff_deflate")
    colour.convert("CMYK").save(place / "cmyk.tif")
    grey.save(place / "grey.ppm")
    frames = [Image.fromarray(rng.integers(0, 256, (40, 30), np.uint8)) for _ in range(3)]
    frames[0].save(place / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(place / "moving.webp", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(place / "turned.jpg", exif=exif)
    colour.convert("RGBA").save(place / "alpha.png")
    whole = ("predict", "{}", "--no-detect", "--json")
    found = ("predict", "{}", "--json", "--out", "out")
    for path in sorted(place.iterdir()):
        yield Input(f"picture-{path.name}", place, path.name, path.name, (whole, whole, found), False)


def _own_files(folder: Path) -> Iterator[Input]:
    place = folder / "own"
    place.mkdir()
    done = extract(find_source(None, Opening(count=12)), place / "data", Options(heatmaps="uint8", sigma=1.5))
    done.cache.rename(place / "dataset.h5")
    torch.manual_seed(0)
    config = ModelConfig("unet", FACE15.names, FACE15.flip_pairs, width=2)
    checkpoint.save_weights(place / "model.safetensors", Detector(config).eval(), cards.Card(config))
    export(place / "model.safetensors", place / "model.onnx")
    Image.fromarray(np.add.outer(np.arange(96), np.arange(96)).astype(np.uint8)).save(place / "face.png")
    train = (
        "train",
        "unet",
        "{}",
        "--set",
        "width=2",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--out",
        "out/run",
        "--json",
    )
    commands = (
        ("info", "{}", "--json"),
        ("doctor", "{}", "--html", "out/page.html", "--json"),
        ("recommend", "{}", "--json"),
        ("evaluate", "model.safetensors", "{}", "--json"),
        ("show", "{}", "--out", "out/page.png"),
        train,
    )
    yield Input("cache", place, "dataset.h5", "dataset.h5", commands)
    predict = ("predict", "face.png", "--no-detect", "--model", "{}", "--json")
    for name in ("model.safetensors", "model.onnx"):
        yield Input(name, place, name, name, (predict, ("info", "{}", "--json")))
    (place / "settings.toml").write_text('model = "unet"\nepochs = 1\nwidth = 2\n')
    settings = ("train", "--config", "{}", "dataset.h5", "--device", "cpu", "--out", "out/run", "--json")
    yield Input("settings", place, "settings.toml", "settings.toml", (settings,), False)
    command = [argument.format("dataset.h5") for argument in train]
    subprocess.run([sys.executable, "-P", "-m", "kptool", *command], cwd=place, check=True, capture_output=True)
    resume = ("train", "unet", "dataset.h5", "--set", "width=2", "--epochs", "1", "--device", "cpu")
    resume += ("--out", "out/run", "--resume", "--json")
    yield Input("last.ckpt", place, "out/run/last.ckpt", "out/run/last.ckpt", (resume,))
