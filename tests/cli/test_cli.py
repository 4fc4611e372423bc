"""The commands end to end: what they print, write and refuse, and their exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import kaggle_csv, tree
from PIL import Image

from kptool.cache.store import Cache
from kptool.data import images
from kptool.evaluation.evaluation import evaluate_cache
from kptool.network import cards, checkpoint
from kptool.predict import crops

COMMANDS = [
    "extract",
    "recommend",
    "train",
    "evaluate",
    "predict",
    "submit",
    "export",
    "compare",
    "show",
    "report",
    "info",
    "doctor",
    "bench",
]


@pytest.fixture
def picture(tmp_path: Path, faces: Path) -> Path:
    """A face from the cache, enlarged four times and saved."""
    image = Image.open(faces.parent / "images" / "00000.png")
    path = tmp_path / "face.png"
    image.resize((192, 192), Image.Resampling.BILINEAR).save(path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help(kptool: Any, command: str) -> None:
    ran = kptool(command, "--help")
    assert ran.code == 0
    assert "--json" in ran.out


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = "import sys; from kptool.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "pandas", "h5py", "matplotlib", "rich", "importlib.metadata", "tomllib"} & set(
        ran.stdout.split()
    )
    assert not heavy


def test_version_and_usage(kptool: Any) -> None:
    assert kptool("--version").out.strip()
    assert kptool("no-such-command").code == 2
    assert kptool("train").code == 2
    assert kptool("extract", "--no-such-option").code == 2


def test_train_evaluate_predict_show(kptool: Any, in_tmp: Path, faces: Path) -> None:
    trained = kptool("train", "unet", faces, "--epochs", 2, "--batch-size", 12, "--set", "width=4", "--json")
    assert trained.code == 0, trained.err
    document = trained.json()
    assert {"model", "epochs", "best_epoch", "val", "checkpoint", "seconds", "images_per_second"} <= set(document)
    assert sorted(p.name for p in Path("runs/unet").iterdir()) == [
        "config.toml",
        "curves.png",
        "last.ckpt",
        "metrics.csv",
        "model.safetensors",
        "train.log",
    ]
    evaluated = kptool("evaluate", "unet", faces, "--json").json()
    assert {"rmse", "nme", "auc", "failure_rate", "pck", "per_keypoint", "images"} <= set(evaluated)
    assert evaluated["rmse"] == pytest.approx(document["val"]["rmse"], abs=1e-4)
    assert evaluated["trained_on"] == 0
    assert kptool("evaluate", "unet", faces, "--split", "all", "--json").json()["trained_on"] == 36
    assert "RMSE" in kptool("evaluate", "runs/unet", faces, "--tta", "--picture", "p.png").out
    assert kptool("show", "unet", "--cache", faces, "--out", "run.png").code == 0
    assert kptool("show", faces, "--out", "cache.png").code == 0
    for name in ("p", "run", "run-errors", "run-curves", "cache", "cache-heatmaps"):
        assert images.read(Path(f"{name}.png")).shape[1] > 300
    assert "already holds a run" in kptool("train", "unet", faces, "--epochs", 1).err


@pytest.mark.long
def test_train_all_compares_the_four(kptool: Any, in_tmp: Path, faces: Path) -> None:
    arguments = ["--epochs", 1, "--batch-size", 12, "--set", "width=4"]
    table = kptool("train", "all", faces, *arguments)
    assert table.code == 0, table.err
    assert all(name in table.out for name in ("vgg", "resnet", "fcn", "unet", "RMSE"))
    rows = kptool("train", "all", faces, *arguments, "--force", "--json").json()["models"]
    assert [row["model"] for row in rows] == ["fcn", "resnet", "unet", "vgg"]


def test_cross_validation_measures_every_image_once(kptool: Any, in_tmp: Path, faces: Path) -> None:
    options = ["--epochs", 1, "--batch-size", 12, "--set", "width=4", "--cv", 2, "--json"]
    trained = kptool("train", "unet", faces, *options)
    assert trained.code == 0, trained.err
    document = trained.json()
    rows = [cards.read_card(Path(f"runs/unet/fold{i}/model.safetensors")).data["val_rows"] for i in range(2)]
    with Cache(faces) as cache:
        assert sorted(rows[0] + rows[1]) == cache.read("row").tolist()
    each = [fold["val"]["rmse"] for fold in document["folds"]]
    assert document["val"]["rmse"] == pytest.approx(np.mean(each))
    assert document["spread"]["rmse"] == pytest.approx(np.std(each, ddof=1))
    again = kptool("train", "unet", faces, *options, "--resume")
    assert again.json()["val"] == document["val"]


@pytest.mark.long
def test_a_report_is_one_page_that_needs_nothing_else(
    kptool: Any, refused: Any, in_tmp: Path, faces: Path, run_folder: Path
) -> None:
    kptool("train", "vgg", faces, "--epochs", 1, "--batch-size", 12, "--set", "width=4", "--out", "<other>")
    made = kptool("report", run_folder, "<other>", "--cache", faces, "--json")
    assert made.code == 0, made.err
    page = Path("report.html").read_text(encoding="utf-8")
    labels = [row["model"] for row in made.json()["models"]]
    assert labels == [str(run_folder), "<other>", "all of them, averaged"]
    assert f"{made.json()['models'][0]['rmse']:.3f}" in page
    assert "&lt;other&gt;" in page
    assert "<other>" not in page
    assert page.count("data:image/png;base64,") == 36  # 12 validation images of each
    assert page.count('<figure class="chart">') == 5  # errors of images and keypoints; trainings: both, and each
    assert "http" not in re.sub('base64,[^"]*', "", page)  # random pixels may contain any byte sequence
    assert "neither a weights file" in refused("report", "nothing", "--cache", faces)


def test_an_ensemble_is_the_mean_of_its_members(kptool: Any, in_tmp: Path, faces: Path, run_folder: Path) -> None:
    alone = kptool("evaluate", run_folder, faces, "--json").json()
    twice = kptool("evaluate", run_folder, faces, "--ensemble", run_folder, "--json").json()
    assert twice["rmse"] == pytest.approx(alone["rmse"], rel=1e-5)
    kptool("train", "vgg", faces, "--epochs", 1, "--batch-size", 12, "--set", "width=4", "--out", "other")
    with Cache(faces) as cache:
        models = [checkpoint.load_model(path / "model.safetensors")[0] for path in (run_folder, Path("other"))]
        both = evaluate_cache(models, cache)
        parts = [evaluate_cache([model], cache).points for model in models]
    assert np.allclose(both.points, np.mean(parts, 0), atol=1e-4)
    shown = kptool("evaluate", run_folder, faces, "--ensemble", "other", "--json").json()
    assert shown["rmse"] == pytest.approx(both.metrics.rmse)


def test_predict_reports_in_the_pixels_that_were_given(
    kptool: Any, in_tmp: Path, run_folder: Path, picture: Path
) -> None:
    shrunk = in_tmp / "shrunk.png"  # exactly the network's input for the large picture
    pixels = np.asarray(Image.open(picture))
    Image.fromarray(images.crop(pixels, crops.whole((192, 192), (48, 48)), (48, 48), 1)).save(shrunk)
    small, large = (
        kptool("predict", path, "--model", run_folder, "--no-detect", "--json").json()["images"][0]
        for path in (shrunk, picture)
    )
    assert (large["width"], large["height"], small["width"]) == (192, 192, 48)
    assert large["faces"][0]["box"] == [-0.5, -0.5, 192.0, 192.0]
    keypoints = large["faces"][0]["keypoints"]
    assert [set(point) for point in keypoints] == [{"name", "x", "y", "score", "radius90"}] * 15
    a = np.array([[p["x"], p["y"]] for p in small["faces"][0]["keypoints"]])
    b = np.array([[p["x"], p["y"]] for p in keypoints])
    assert np.allclose((a + 0.5) * 4 - 0.5, b, atol=0.01)


def test_predict_draws_lists_and_explains(
    kptool: Any, refused: Any, in_tmp: Path, run_folder: Path, picture: Path
) -> None:
    colour = in_tmp / "colour.jpg"
    Image.open(picture).convert("RGB").resize((300, 200)).save(colour)
    ran = kptool("predict", picture, colour, "--model", run_folder, "--no-detect", "--csv", "--out", "drawn")
    lines = ran.out.splitlines()
    assert lines[0] == "file,face,keypoint,x,y,score,radius90,frame,time"
    assert len(lines) == 31
    assert sorted(p.name for p in Path("drawn").iterdir()) == ["colour.png", "face.png", "keypoints.csv"]
    assert Path("drawn/keypoints.csv").read_text() == ran.out
    assert "nose_tip" in kptool("predict", picture, "--model", run_folder, "--no-detect").out
    Path("text.png").write_text("hello")
    Path("cut.png").write_bytes(picture.read_bytes()[:200])
    assert "text.png is not a picture" in refused("predict", "text.png", "--model", run_folder)
    assert "cut.png cannot be read" in refused("predict", "cut.png", "--model", run_folder)
    assert "there is no picture none.png" in refused("predict", "none.png", "--model", run_folder)


def test_submit(kptool: Any, refused: Any, in_tmp: Path, run_folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = [" ".join(map(str, rng.integers(0, 256, 48 * 48))) for _ in range(5)]
    pd.DataFrame({"ImageId": range(1, 6), "Image": images}).to_csv("test.csv", index=False)
    lookup = pd.DataFrame(
        {
            "RowId": [1, 2, 3, 4],
            "ImageId": [3, 3, 1, 5],
            "FeatureName": ["nose_tip_y", "nose_tip_x", "left_eye_center_x", "nose_tip_x"],
            "Location": "",
        }
    )
    lookup.to_csv("lookup.csv", index=False)
    done = kptool("submit", "test.csv", "lookup.csv", "--model", run_folder, "--json").json()
    assert (done["rows"], done["images"]) == (4, 3)
    written = pd.read_csv("submission.csv")
    assert list(written.columns) == ["RowId", "Location"]
    assert written["RowId"].tolist() == [1, 2, 3, 4]
    assert written["Location"].between(0, 48).all()
    before = tree(in_tmp)
    lookup.assign(ImageId=[3, 3, 1, 9]).to_csv("wrong.csv", index=False)
    assert "asks for ImageId 9" in refused("submit", "test.csv", "wrong.csv", "--model", run_folder)
    lookup.assign(FeatureName="ear_x").to_csv("wrong.csv", index=False)
    assert "asks for FeatureName ear_x" in refused("submit", "test.csv", "wrong.csv", "--model", run_folder)
    lookup.assign(RowId=1).to_csv("wrong.csv", index=False)
    assert "RowId 1 occurs twice" in refused("submit", "test.csv", "wrong.csv", "--model", run_folder)
    assert "IdLookupTable.csv" in refused("submit", "test.csv", "test.csv", "--model", run_folder)
    assert "ImageId is missing" in refused("submit", kaggle_csv(Path("t.csv")), "lookup.csv", "--model", run_folder)
    Path("t.csv").unlink()
    Path("wrong.csv").unlink()
    assert tree(in_tmp) == before


def test_info(kptool: Any, faces: Path, run_folder: Path) -> None:
    assert {"kptool", "torch", "threads", "gpus", "models", "decoders"} <= set(kptool("info", "--json").json())
    assert kptool("info", faces, "--json").json()["train"] == 36
    assert kptool("info", run_folder, "--json").json()["model"] == "unet"
    assert "unet" in kptool("info").out


def test_doctor_says_no_with_exit_one(kptool: Any, in_tmp: Path, faces: Path) -> None:
    import h5py

    path = in_tmp / "dataset.h5"
    path.write_bytes(faces.read_bytes())
    clean = kptool("doctor", path, "--json")
    assert clean.code == 0, clean.out
    with h5py.File(path, "r+") as file:
        split = file["split"][:]
        train, val = np.flatnonzero(split == 0), np.flatnonzero(split == 1)
        file["keypoints"][train[0], 3] = [-9, 5]
        pairs = json.loads(file.attrs["kptool"])["flip_pairs"]
        points = file["keypoints"][train[1]]
        for a, b in pairs:
            points[[a, b]] = points[[b, a]]
        file["keypoints"][train[1]] = points
        file["images"][train[2]] = 7
        file["images"][val[0]] = file["images"][train[3]]
    sick = kptool("doctor", path, "--json")
    assert sick.code == 1
    found = {(f["check"], f["sample"]) for f in sick.json()["findings"]}
    assert {(check, sample) for check, sample in found if check != "label"} == {
        ("outside", train[0]),
        ("swapped", train[1]),
        ("constant", train[2]),
        ("duplicate", max(val[0], train[3])),
        ("leak", val[0]),
    }
    assert "nearly the same image" in kptool("doctor", path).out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_resume_goes_on(
    kptool: Any, in_tmp: Path, faces: Path, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "kptool",
        "train",
        "unet",
        str(faces),
        "--epochs",
        "400",
        "--batch-size",
        "12",
        "--set",
        "width=4",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not Path("runs/unet/last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopped by" in err
    assert "Traceback" not in err
    assert not [p for p in Path("runs/unet").iterdir() if p.name.endswith(".tmp")]
    done = len(pd.read_csv("runs/unet/metrics.csv"))
    resumed = kptool(*command[3:6], "--epochs", done + 1, *command[8:], "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json()["epochs"] == done + 1
