"""Small valid inputs of every kind that kptool reads, to be damaged by `hostile.py`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bombs
import label_files
import numpy as np
import torch
from conftest import kaggle_csv
from PIL import Image

from kptool.base.config import ModelConfig, configure
from kptool.base.skeleton import FACE15
from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache
from kptool.data.sources import Opening, find_source
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.predict.export import export
from kptool.training import run

_EXTRACT = ("extract", "{}", "--out", "out", "--size", "32", "--heatmaps", "uint8", "--json")


@dataclass(frozen=True)
class Input:
    """A folder of files, the one to damage, and the commands that read it ({} stands for `opened`).

    `whole`: no truncated file of this kind is valid. `share`: how often it is damaged, relative to the others.
    """

    kind: str
    folder: Path
    damaged: str
    opened: str
    commands: tuple[tuple[str, ...], ...]
    whole: bool = True
    share: float = 1


def inputs(folder: Path) -> Iterator[Input]:
    """Write one input of every kind below `folder`."""
    yield from _labels(folder)
    yield from _kaggle(folder)
    yield from _pictures(folder)
    yield from _submission(folder)
    yield from _own_files(folder)


def _labels(folder: Path) -> Iterator[Input]:
    structured = {
        "coco",
        "label-studio",
        "cvat",
        "labelme",
        "via",
        "dlib",
        "mpii",
        "openpose",
        "supervisely",
        "coco-wholebody",
        "predictions",
    }
    for name, write in label_files.MORE.items():
        place = folder / name
        path = write(place)
        damaged = label_files.INSIDE.get(name, str(path.relative_to(place)))
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
    frames[0].save(place / "moving.png", save_all=True, append_images=frames[1:])
    Image.fromarray(rng.integers(0, 65536, (40, 30), np.uint16)).save(place / "deep.png")
    names = sorted(path.name for path in place.iterdir())
    save_model(place / "model.safetensors")
    whole = ("predict", "{}", "--no-detect", "--model", "model.safetensors", "--json")
    drawn = (*whole, "--out", "out")
    found = ("predict", "{}", "--json", "--out", "out")
    for name in names:
        yield Input(f"picture-{name}", place, name, name, (*[whole] * 8, drawn, found), False)
    for name, data in bombs.pictures().items():
        (folder / name).mkdir()
        (folder / name / name).write_bytes(data)
        save_model(folder / name / "model.safetensors")
        yield Input(f"picture-{name}", folder / name, name, name, (*[whole] * 3, found), False, 0.1)


def _submission(folder: Path) -> Iterator[Input]:
    place = folder / "submit"
    place.mkdir()
    rng = np.random.default_rng(1)
    pictures = [" ".join(map(str, rng.integers(0, 256, 64))) for _ in range(3)]
    (place / "test.csv").write_text("ImageId,Image\n" + "".join(f"{i + 1},{p}\n" for i, p in enumerate(pictures)))
    with zipfile.ZipFile(place / "test.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(place / "test.csv", "test.csv")
    asked = [(1, "nose_tip_x"), (1, "nose_tip_y"), (2, "left_eye_center_x"), (3, "mouth_left_corner_y")]
    rows = [f"{row},{image},{name},\n" for row, (image, name) in enumerate(asked, start=1)]
    (place / "lookup.csv").write_text("RowId,ImageId,FeatureName,Location\n" + "".join(rows))
    save_model(place / "model.safetensors")
    for name in ("test.csv", "test.zip", "lookup.csv"):
        test, lookup = ("test.csv", "{}") if name == "lookup.csv" else ("{}", "lookup.csv")
        submit = ("submit", test, lookup, "--model", "model.safetensors", "--out", "out/submission.csv", "--json")
        yield Input(f"submit-{name}", place, name, name, (submit,), name == "test.zip")


def save_model(path: Path) -> None:
    """Weights of a tiny network, without a run."""
    torch.manual_seed(0)
    config = ModelConfig("unet", FACE15.names, FACE15.flip_pairs, width=2)
    checkpoint.save_weights(path, KeypointModel(config).eval(), cards.Card(config))


def _own_files(folder: Path) -> Iterator[Input]:
    place = folder / "own"
    place.mkdir()
    done = extract(find_source(None, Opening(count=12)), place / "data", Options(heatmaps="uint8", sigma=1.5))
    done.cache.rename(place / "dataset.h5")
    save_model(place / "model.safetensors")
    export(place / "model.safetensors", place / "model.onnx")
    Image.fromarray(np.add.outer(np.arange(96), np.arange(96)).astype(np.uint8)).save(place / "face.png")
    small = ("--set", "width=2", "--epochs", "1", "--device", "cpu", "--out", "out/run", "--json")
    commands = (
        *[("info", "{}", "--json")] * 12,
        *[("evaluate", "model.safetensors", "{}", "--json")] * 6,
        *[("recommend", "{}", "--json")] * 3,
        ("doctor", "{}", "--html", "out/page.html", "--json"),
        ("show", "{}", "--out", "out/page.png"),
        ("train", "unet", "{}", *small),
    )
    yield Input("cache", place, "dataset.h5", "dataset.h5", commands, share=8)
    predict = ("predict", "face.png", "--no-detect", "--model", "{}", "--json")
    for name in ("model.safetensors", "model.onnx"):
        yield Input(name, place, name, name, (predict, ("info", "{}", "--json")), share=2)
    (place / "settings.toml").write_text('model = "unet"\nepochs = 1\nwidth = 2\n')
    settings = ("train", "--config", "{}", "dataset.h5", "--device", "cpu", "--out", "out/run", "--json")
    yield Input("settings", place, "settings.toml", "settings.toml", (settings,), False)
    _train(place / "dataset.h5", place / "out" / "run")
    resume = ("train", "unet", "dataset.h5", *small, "--resume")
    further = (*resume, "--epochs", "2")
    yield Input("last.ckpt", place, "out/run/last.ckpt", "out/run/last.ckpt", (resume, further))


def _train(cache: Path, out: Path) -> None:
    with Cache(cache) as opened:
        info = opened.info
    settings = configure("unet", info.skeleton, info.size, info.channels, {"width": 2, "epochs": 1})
    run.train(cache, out, *settings, device="cpu")
