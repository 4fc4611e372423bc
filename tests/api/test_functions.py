"""The Python functions: the commands' names, defaults and documents; results with a table, a figure and a data frame."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import kptool
from kptool.api.evaluate import EvaluateResult
from kptool.api.extract import ExtractResult
from kptool.api.result import Result
from kptool.api.train import TrainResult
from kptool.base.errors import ConfigError
from kptool.predict import export as exporting
from kptool.predict.agreement import Difference

COMMANDS = ("doctor", "evaluate", "export", "extract", "train")
PRINTED = {"context", "json", "plugin", "show"}
"""Parameters of commands alone: what is printed, and plugins, which Python imports."""
ADDED = {"progress", "on_epoch"}


@pytest.fixture(scope="session")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> ExtractResult:
    """24 synthetic faces of 32x32 pixels."""
    out = tmp_path_factory.mktemp("api") / "faces"
    return kptool.extract(out=out, count=24, size=32, val=0.25, sigma=1.5, stride=2, progress=False)


@pytest.fixture(scope="session")
def trained(extracted: ExtractResult) -> TrainResult:
    """A tiny U-Net, trained for two epochs."""
    out = Path(extracted.cache.parent.parent) / "unet"
    return kptool.train(
        "unet", extracted.cache, out=out, epochs=2, batch_size=9, settings={"width": 4}, device="cpu", progress=False
    )


@pytest.fixture(scope="session")
def evaluated(extracted: ExtractResult, trained: TrainResult) -> EvaluateResult:
    return kptool.evaluate(trained.checkpoint, extracted.cache, split="all", device="cpu", progress=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_function_takes_what_its_command_takes(name: str) -> None:
    """With the same defaults, but that a command cannot tell an empty list from none."""
    module = __import__(f"kptool.cli.{name}", fromlist=[name])
    command, function = (inspect.signature(each).parameters for each in (getattr(module, name), getattr(kptool, name)))
    assert set(command) - PRINTED == set(function) - ADDED
    for key in set(command) - PRINTED:
        ours, theirs = (None if each == () else each for each in (function[key].default, command[key].default))
        same = ours if isinstance(ours, type(theirs)) or ours is None else type(theirs)(ours)
        assert same == theirs, key


def test_importing_kptool_stays_cheap_and_offers_them_all() -> None:
    code = "import sys, kptool; assert set(kptool.__all__) <= set(dir(kptool)); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "h5py", "matplotlib", "rich"} & set(ran.stdout.split())
    assert all(callable(getattr(kptool, name)) for name in COMMANDS)
    with pytest.raises(AttributeError, match="no attribute 'tune'"):
        kptool.tune  # noqa: B018


def shown(result: Result) -> str:
    """The table of a result, after checks that hold for all: JSON, a figure that a notebook shows."""
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.plot()._repr_png_().startswith(b"\x89PNG")
    html = result._repr_html_()
    assert html.startswith("<table>")
    return html


def test_an_extraction(extracted: ExtractResult, kptool: Any, tmp_path: Path) -> None:
    assert (extracted.kept, extracted.splits, extracted.kind) == (24, {"train": 18, "val": 6}, "32x32 grey")
    assert "32x32 grey" in shown(extracted)
    table = extracted.to_pandas()
    assert len(table) == 24
    assert table["nose_tip_x"].between(0, 31).all()
    line = (
        "--count",
        24,
        "--size",
        32,
        "--val",
        0.25,
        "--sigma",
        1.5,
        "--stride",
        2,
        "--out",
        tmp_path / "f",
        "--json",
    )
    document = kptool("extract", *line).json()
    mine = extracted.to_dict()
    assert list(document) == list(mine)
    differing = {key for key in mine if mine[key] != document[key]}
    assert differing <= {"cache", "seconds"}


def test_a_training(trained: TrainResult, extracted: ExtractResult) -> None:
    assert trained.folders == (trained.checkpoint.parent,)
    assert "unet, best epoch" in shown(trained)
    assert "mean shape" in trained.notes[0]
    history = trained.to_pandas()
    assert history["epoch"].tolist() == [1, 2]
    assert trained.metrics["rmse"] == pytest.approx(history["rmse"].min(), rel=1e-5)
    assert trained.to_dict()["checkpoint"] == str(trained.checkpoint)
    with pytest.raises(ConfigError, match="already holds a run; pass --resume"):
        kptool.train("unet", extracted.cache, out=trained.folders[0])


def test_epochs_are_handed_over_and_folds_are_compared(extracted: ExtractResult, tmp_path: Path) -> None:
    rows: list[Mapping[str, Any]] = []
    done = kptool.train(
        cache=extracted.cache,
        config=_recipe(tmp_path),
        out=tmp_path / "cv",
        cv=2,
        epochs=1,
        time=600.0,
        device="cpu",
        on_epoch=rows.append,
        progress=False,
    )
    assert [row["epoch"] for row in rows] == [1, 1]
    assert done.to_pandas()["run"].tolist() == ["vgg/fold0", "vgg/fold1"]
    assert "±" in shown(done)
    assert len(done.to_dict()["folds"]) == 2
    assert done.best.metrics["rmse"] == min(row["rmse"] for row in rows)


def _recipe(folder: Path) -> Path:
    path = folder / "recipe.toml"
    path.write_text("model = 'vgg'\nwidth = 4\nbatch_size = 6\n")
    return path


def test_an_evaluation(evaluated: EvaluateResult, trained: TrainResult) -> None:
    html = shown(evaluated)
    assert "mean shape" in html
    assert "18 of these images were used for training" in html
    assert evaluated.trained_on == 18
    assert evaluated.rmse == evaluated.to_dict()["rmse"] == evaluated.metrics.rmse
    assert evaluated.evaluation.points.shape == (24, 15, 2)
    errors = evaluated.to_pandas()
    assert errors.columns.tolist() == ["rmse", "mean_shape_rmse"]
    assert errors.loc["nose_tip", "rmse"] == evaluated.metrics.per_keypoint["nose_tip"]
    assert np.sqrt((errors["rmse"] ** 2).mean()) == pytest.approx(evaluated.rmse, rel=1e-5)
    assert evaluated.plot_predictions(4)._repr_png_()


def test_findings_and_a_cache_without_any(extracted: ExtractResult, tmp_path: Path) -> None:
    html = tmp_path / "findings.html"
    done = kptool.doctor(extracted.cache, html=html, progress=False)
    assert done.wrote == (html,)
    assert html.is_file()
    assert "no findings" in shown(done)
    assert not done.certain
    assert done.to_pandas().empty
    moved = kptool.doctor(_with_a_label_outside(extracted, tmp_path), progress=False)
    assert moved.counts == {"outside": 1}
    assert "nose_tip" in shown(moved)
    assert moved.certain
    assert moved.to_pandas()[["check", "sample", "keypoint"]].to_numpy().tolist() == [["outside", 5, 10]]


def _with_a_label_outside(extracted: ExtractResult, folder: Path) -> Path:
    """The cache with a nose outside of its image."""
    path = Path(shutil.copy(extracted.cache, folder / "outside.h5"))
    with h5py.File(path, "r+") as file:
        points = file["keypoints"][...]
        points[5, 10] = (45, 2)
        file["keypoints"][...] = points
    return path


def test_an_export(
    trained: TrainResult, extracted: ExtractResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tracing the graph, which takes a minute; tests/predict/test_export.py does."""
    monkeypatch.setattr(exporting, "require_packages", lambda: None)
    monkeypatch.setattr(exporting, "export", _exported)
    done = kptool.export(trained.checkpoint, tmp_path / "model.onnx", cache=extracted.cache, half=True)
    assert done.out == tmp_path / "model.onnx"
    assert (done.to_dict()["images"], done.to_dict()["real_images"]) == (6, True)
    assert "0.0025 px" in shown(done)
    assert done.to_pandas()["largest_difference"].to_dict() == {"model": 0.0025, "tall": 0.0}
    with pytest.raises(ConfigError, match=r"does not end in \.onnx"):
        kptool.export(trained.checkpoint, tmp_path / "model.pt")


def _exported(weights: Path, out: Path, images: Any, *, half: bool, as_labelled: bool) -> exporting.Exported:
    difference = Difference(0.0025, 1e-6, {"model": 0.0025, "tall": 0.0})
    return exporting.Exported(out, 1000, len(images), difference, "feature", (0.01, 0.02) if half else None)


@pytest.mark.parametrize(
    ("size", "what"), [((32, 32, 32), "--size is"), (0.5, "--size is"), ("a", "--size is"), (1, "8 to 4096 pixels")]
)
def test_wrong_arguments_are_refused(size: Any, what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=what):
        kptool.extract(out=tmp_path, size=size)
    with pytest.raises(ConfigError, match="--cv is a number of folds"):
        kptool.train("unet", cv=1)
    with pytest.raises(ConfigError, match="no model to train"):
        kptool.train()
    with pytest.raises(ConfigError, match="--time is a duration above zero"):
        kptool.train("unet", time=-1)
    with pytest.raises(ConfigError, match="--split must be"):
        kptool.evaluate("unet", split="test")
