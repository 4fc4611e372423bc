"""Figures are shown only if they were measured: unlabelled keypoints, empty splits, options without effect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kptool.advise import suggest
from kptool.base.config import ModelConfig, configure
from kptool.base.face68 import LANDMARKS
from kptool.cache.store import Cache
from kptool.evaluation import evaluation
from kptool.network import cards
from kptool.network.cards import Card
from kptool.predict.crops import Aligner
from kptool.report import charts
from kptool.training import run

NAMES = ("tip", "base", "left_edge", "right_edge")


def source(folder: Path, count: int = 12, unlabelled: Sequence[str] = ("base",)) -> Path:
    """A csv of `count` pictures in which all keypoints except `unlabelled` are labelled."""
    rng = np.random.default_rng(0)
    lines = [",".join(["image", *(f"{name}_{axis}" for name in NAMES for axis in "xy")])]
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).save(folder / f"{number}.png")
        places = {"tip": (12, 3), "base": (12, 20), "left_edge": (20, 12), "right_edge": (4, 12)}
        moved = {name: np.add(place, rng.uniform(-1, 1, 2)).round(2).tolist() for name, place in places.items()}
        cells = [str(v) if name not in unlabelled else "" for name in NAMES for v in moved[name]]
        lines.append(",".join([f"{number}.png", *cells]))
    (folder / "points.csv").write_text("\n".join(lines) + "\n")
    return folder / "points.csv"


def extracted(kptool: Any, folder: Path, *options: object) -> Path:
    ran = kptool("extract", source(folder), "--size", 24, "--out", folder / "data", "--heatmaps", "none", *options)
    assert ran.code == 0, ran.err
    return folder / "data" / "dataset.h5"


def trained(cache: Path, out: Path, model: str = "unet", **settings: object) -> run.Result:
    with Cache(cache) as opened:
        info = opened.info
    given = {"width": 2, "epochs": 1, "batch_size": 4, **settings}
    return run.train(cache, out, *configure(model, info.skeleton, info.size, info.channels, given), device="cpu")


def test_a_keypoint_that_nobody_labelled_is_named_and_has_no_number(kptool: Any, tmp_path: Path) -> None:
    """From labels to prediction, an unlabelled keypoint has no value: no error of 0.000 px, no drawn point."""
    cache = extracted(kptool, tmp_path, "--json", "--force")
    said = json.loads(kptool("extract", source(tmp_path), "--size", 24, "--out", tmp_path / "b", "--json").out)["notes"]
    assert "base is labelled in none of 12 images" in said
    assert "kptool: base is labelled in none of 12 images" in kptool("doctor", cache).err
    run = tmp_path / "run"
    result = trained(cache, run)
    measured = kptool("evaluate", run, cache, "--json").json()["per_keypoint"]
    assert measured["base"] is None
    assert all(measured[name] > 0 for name in NAMES if name != "base")
    lines = kptool("evaluate", run, cache).out.splitlines()
    assert [line.split()[-2] for line in lines if " base " in line] == ["-"]
    assert result.metrics["per_keypoint"]["base"] is None
    coco = tmp_path / "coco.json"
    ran = kptool("predict", tmp_path / "0.png", "--model", run, "--json", "--coco", coco, "--out", tmp_path / "drawn")
    assert "no training image had a label of base" in ran.err
    point = ran.json()["images"][0]["faces"][0]["keypoints"][1]
    assert point == {"name": "base", "x": None, "y": None, "score": None, "radius90": None}
    annotation = json.loads(coco.read_text())["annotations"][0]
    assert (annotation["keypoints"][3:6], annotation["num_keypoints"]) == ([0, 0, 0], 3)
    assert ",base,,,," in (tmp_path / "drawn" / "keypoints.csv").read_text()
    page = tmp_path / "page.html"
    assert kptool("report", run, "--cache", cache, "--out", page).code == 0
    assert "<td>base</td><td>-</td><td>-</td>" in page.read_text()


def test_a_keypoint_of_validation_images_alone_is_named(kptool: Any, tmp_path: Path) -> None:
    path = source(tmp_path)
    with Cache(extracted(kptool, tmp_path)) as cache:
        held = int(cache.read("row", cache.index("val"))[0])
        training = len(cache.index("train"))
    lines = path.read_text().splitlines()
    cells = lines[held + 1].split(",")
    cells[3:5] = ["12", "20"]
    lines[held + 1] = ",".join(cells)
    path.write_text("\n".join(lines))
    ran = kptool("extract", path, "--size", 24, "--out", tmp_path / "again", "--json")
    assert f"base is labelled in none of {training} training images" in ran.json()["notes"]


def test_charts_have_a_dash_where_nothing_was_measured() -> None:
    figure = charts.keypoint_bars({"a": {"tip": 2.0, "base": None}, "b": {"tip": 1.0, "base": 3.0}})
    assert [text.get_text() for text in figure.axes[0].texts] == ["", "-", "", ""]


def test_recommendations_leave_out_what_nobody_labelled(kptool: Any, tmp_path: Path) -> None:
    """An unlabelled keypoint does not count as missing labels of the others, which would mean more epochs."""
    from kptool.advise.facts import Facts

    with Cache(extracted(kptool, tmp_path)) as cache:
        facts = Facts.of(cache)
    assert facts.unlabelled == 0
    assert facts.never is not None
    assert facts.never.startswith("base is labelled in none of")


def test_suggestions_do_not_count_what_is_not_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.zeros((3, 2, 2, 2), np.float32)
    points[1, :, 1] = [[50, 50], [9, 9]]  # the second keypoint's position is noise

    def run(models: object, pictures: np.ndarray) -> evaluation.Predictions:
        found, one = next(calls), np.ones((2, 2), np.float32)
        return evaluation.Predictions(found, one, one)

    for learnt, alike in ((np.array([True, False]), True), (None, False)):
        by = max(1, round(8 * suggest._SHIFT))
        calls = iter(points + np.array([0, by, -by], np.float32)[:, None, None, None])
        monkeypatch.setattr(evaluation, "run", run)
        apart = suggest.disagreement([object()], np.zeros((2, 8, 8), np.uint8), learnt)  # type: ignore[list-item]
        assert (apart.max() < 1e-6) == alike


def test_faces_are_aligned_by_what_is_learnt() -> None:
    names = (*LANDMARKS, "chin")
    shape = [[10.0, 10.0], [30.0, 10.0], [20.0, 20.0], [12.0, 30.0], [28.0, 30.0], [None, None]]
    config = ModelConfig("unet", names, (), (40, 40))
    for unknown in ([None, None], [0.0, 0.0]):
        shape[-1] = unknown
        card = Card(config, data={"mean_shape": shape})
        assert card.unlearnt == ("chin",)
        aligner = Aligner.of(card)
        assert aligner is not None
        points = np.array([*shape[:-1], [999.0, -5.0]], np.float64)
        assert aligner.from_keypoints(points) == pytest.approx(np.eye(2, 3), abs=1e-9)
    shape[0], shape[-1] = [None, None], [20.0, 38.0]
    assert Aligner.of(Card(config, data={"mean_shape": shape})) is None


def test_without_validation_images_a_sentence_says_so(
    kptool: Any, refused: Any, tmp_path: Path, run_folder: Path
) -> None:
    cache = extracted(kptool, tmp_path, "--val", 0)
    run = tmp_path / "run"
    trained(cache, run)
    sentence = (
        f"kptool: {cache} has no validation images to measure on; say --split train, or extract again with --val 0.1"
    )
    for command in (("evaluate", run, cache), ("report", run, "--cache", cache, "--out", tmp_path / "p.html")):
        assert kptool(*command).err.splitlines()[-1] == sentence
    ran = kptool("predict", tmp_path / "0.png", "--model", run)
    assert "there were no validation images to measure a 90 % radius on" in ran.err
    assert (
        kptool("predict", tmp_path / "0.png", "--model", run, "--json").json()["notes"][-1].startswith("there were no")
    )


def test_training_ends_with_the_mean_shape_beside_it(kptool: Any, tmp_path: Path) -> None:
    cache, out = extracted(kptool, tmp_path), tmp_path / "run"
    ran = kptool("train", "unet", cache, "--epochs", 1, "--set", "width=2", "--set", "batch_size=4", "--out", out)
    found = cards.read_card(out / cards.WEIGHTS).metrics
    assert found["mean_shape_rmse"] == pytest.approx(0.6, abs=0.3)
    assert f"for comparison, the training images' mean shape: RMSE {found['mean_shape_rmse']:.3f} px" in ran.out
    assert f"; unet is worse ({found['rmse']:.3f} px" in ran.out


def test_all_goes_on_where_some_have_not_begun(
    kptool: Any, refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kptool.api.train as command

    cache, out = extracted(kptool, tmp_path), tmp_path / "runs"
    resumed: dict[str, bool] = {}

    def train_one(job: Any, plan: Any, resume: bool) -> None:
        resumed[job.model] = resume

    monkeypatch.setattr(command, "_train_one", train_one)
    options = ("train", "all", cache, "--out", out, "--resume")
    kptool(*options)
    assert set(resumed.values()) == {True}  # and says that there is nothing to resume
    (out / "fcn").mkdir(parents=True)
    (out / "fcn" / "last.ckpt").touch()
    assert kptool(*options).err.count("has no training to resume; starting it") == 3
    assert resumed == {"fcn": True, "resnet": False, "unet": False, "vgg": False}
    (out / "vgg").mkdir()
    (out / "vgg" / "model.safetensors").touch()
    assert "vgg holds weights but no last.ckpt to resume from" in refused(*options)


def test_options_without_effect_are_answered(kptool: Any, tmp_path: Path, faces: Path, run_folder: Path) -> None:
    """--tta where a mirrored image cannot be read; --decoder where there are no heatmaps to decode."""
    cache = extracted(kptool, tmp_path, "--flips", "none")
    trained(cache, tmp_path / "run")
    for command in (
        ("evaluate", tmp_path / "run", cache, "--tta"),
        ("predict", tmp_path / "0.png", "--model", tmp_path / "run", "--tta"),
        ("report", tmp_path / "run", "--cache", cache, "--tta", "--out", tmp_path / "page.html"),
    ):
        ran = kptool(*command)
        assert ran.code == 0
        assert "kptool: --tta has no effect on this unet: it has no flip pairs" in ran.err
    assert "--tta" not in kptool("evaluate", run_folder, faces, "--tta").err
    trained(cache, tmp_path / "vgg", "vgg")
    ran = kptool("evaluate", tmp_path / "vgg", cache, "--decoder", "dark")
    assert ran.code == 2
    assert "vgg predicts coordinates and has no heatmaps, so decoder 'dark' has nothing to read" in ran.err
