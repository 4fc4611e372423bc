"""Finder: targets by hand, what teaches nothing, a training that finds, and the run folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scene_data import some_scenes, write_scenes

from kptool.base.config import AugmentConfig, TrainConfig
from kptool.base.errors import CheckpointError, ConfigError
from kptool.cache.scenes import SceneSet
from kptool.network.finder import Finder, candidates, load_finder, raw_sizes, save_finder, sizes_of
from kptool.network.finder_config import FinderConfig, finder_beside
from kptool.predict.predictor import Predictor
from kptool.training import finder, finder_run

FLAGS = torch.tensor([[True]])


def points_of(centre: tuple[float, float], right: tuple[float, float], bottom: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([[centre, right, bottom]], dtype=torch.float32)


def test_the_target_of_a_centre_is_a_gaussian_with_the_box_s_size_beside_it() -> None:
    made = finder.targets(points_of((17.5, 9.5), (37.5, 9.5), (17.5, 14.5)), FLAGS, FLAGS, (8, 16))
    assert made.heat[0, 2, 4] == pytest.approx(1)  # the centre of cell (4, 2) is (17.5, 9.5)
    sigma = 3.2  # of 20 x 0.08 = 1.6 pixels, at least 0.8 cells
    assert made.heat[0, 2, 6] == pytest.approx(math.exp(-(8**2) / (2 * sigma**2)), rel=1e-5)
    assert sizes_of(made.raw)[0, :, 2, 4].tolist() == pytest.approx([40, 10], rel=1e-5)
    assert int(made.count) == 1
    assert made.weight.all()


def test_a_rotated_box_is_that_of_the_ellipse_in_it() -> None:
    turned = points_of((20, 20), (20, 40), (15, 20))  # by 90 degrees
    made = finder.targets(turned, FLAGS, FLAGS, (12, 12))
    y, x = divmod(int(made.heat[0].argmax()), 12)
    assert sizes_of(made.raw)[0, :, y, x].tolist() == pytest.approx([10, 40], rel=1e-5)


def test_where_there_may_be_anything_the_loss_does_not_look() -> None:
    crowd = finder.targets(points_of((20, 20), (30, 20), (20, 30)), FLAGS, ~FLAGS, (12, 12))
    assert crowd.heat.max() == 0
    assert crowd.weight[0, 5, 5] == 0  # inside of the box
    assert crowd.weight[0, 0, 0] == 1
    outside = finder.targets(points_of((-10, 20), (10, 20), (-10, 30)), FLAGS, FLAGS, (12, 12))
    assert int(outside.count) == 0  # its centre is not in the picture, though a part of it is
    assert outside.weight[0, 5, 1] == 0
    maps = torch.full((1, 3, 12, 12), -8.0)
    quiet = finder.loss(maps, crowd)
    maps[0, 0, 5, 5] = 8.0
    assert finder.loss(maps, crowd) == pytest.approx(float(quiet))
    maps[0, 0, 0, 0] = 8.0
    assert finder.loss(maps, crowd) > quiet + 1


def test_the_loss_is_least_at_its_target() -> None:
    target = finder.targets(points_of((17.5, 9.5), (37.5, 9.5), (17.5, 14.5)), FLAGS, FLAGS, (8, 16))
    exact = torch.cat([torch.logit(target.heat[:, None], eps=1e-6), target.raw], 1)
    least = float(finder.loss(exact, target))
    assert least == pytest.approx(0, abs=1e-5)
    for change in (0.5, -0.5):
        assert finder.loss(exact + change, target) > least + 0.1
    boxes, scores = candidates(exact)
    assert boxes[0, 0].tolist() == pytest.approx([17.5 - 20, 9.5 - 5, 40, 10], abs=1e-3)
    assert scores[0, 0] == pytest.approx(1, abs=1e-4)
    assert raw_sizes(sizes_of(torch.tensor([1.5]))) == pytest.approx(1.5)


def squares(count: int, seed: int) -> SceneSet:
    """Noisy pictures of 64x64 with one or two bright rectangles."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, 64, 64)).astype(np.uint8)
    boxes, scene = [], []
    for i in range(count):
        for part in range(1 + i % 2):
            x, y = rng.integers(2 + 32 * part, 12 + 32 * part), rng.integers(4, 44)
            images[i, y : y + 12, x : x + 18] = 230
            boxes.append([x - 0.5, y - 0.5, 18, 12])
            scene.append(i)
    return SceneSet(images, np.array(boxes, np.float32), np.array(scene), np.ones(len(scene), bool))


@pytest.mark.long
def test_a_finder_learns_to_find() -> None:
    config = TrainConfig(augment=AugmentConfig(rotation=0))
    network, found = finder.train(squares(24, 0), squares(12, 1), config, torch.device("cpu"), steps=70)
    assert found.metrics is not None
    assert found.metrics["recall"] >= 0.9, found
    assert found.metrics["precision"] >= 0.9, found
    again, _ = finder.train(squares(24, 0), squares(12, 1), config, torch.device("cpu"), steps=2)
    same, _ = finder.train(squares(24, 0), squares(12, 1), config, torch.device("cpu"), steps=2)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), same.state_dict().values(), strict=True))
    assert not network.training


def test_files_that_are_no_finder_are_refused(tmp_path: Path) -> None:
    config = FinderConfig((64, 96), 1, width=2)
    save_finder(tmp_path / "a.safetensors", Finder(config), config)
    assert load_finder(tmp_path / "a.safetensors").config == config
    data = (tmp_path / "a.safetensors").read_bytes()
    for broken in (data[:100], data.replace(b'\\"width\\": 2', b'\\"width\\": 3'), data.replace(b"schema", b"schemo")):
        (tmp_path / "b.safetensors").write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"b\.safetensors"):
            load_finder(tmp_path / "b.safetensors")
    with pytest.raises(ConfigError, match="multiples of 32"):
        FinderConfig((64, 90), 1)


def test_a_run_has_a_finder_that_predict_uses(
    kptool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(finder, "STEPS", 2)
    path = write_scenes(tmp_path / "in", some_scenes(8))
    out, run = tmp_path / "data", tmp_path / "run"
    made = kptool("extract", path, "--out", out, "--size", 32, "--heatmaps", "none", "--val", 0.3)
    assert "for a finder to learn where instances are" in made.err
    small = ("train", "unet", out / "dataset.h5", "--set", "width=2", "--epochs", 1, "--batch-size", 4)
    trained = kptool(*small, "--out", run, "--json").json()
    assert trained["finder"]["steps"] == 2
    assert trained["finder"]["pictures"] > 0
    own = finder_beside(run / "model.safetensors")
    assert own.name == "model.finder.safetensors"
    assert "# finder: 2 steps" in (run / "train.log").read_text(encoding="utf-8")
    before = own.read_bytes()
    assert "finder" not in kptool(*small, "--out", run, "--resume", "--json").json()
    assert own.read_bytes() == before, "a finished finder is not trained again"
    assert "finder" in kptool(*small[:-3], 2, *small[-2:], "--out", run, "--resume", "--json").json()

    def found(*options: object) -> list[dict[str, Any]]:
        said = kptool("predict", tmp_path / "in/images/01.png", "--model", run, "--json", *options).json()
        instances: list[dict[str, Any]] = said["images"][0]["instances"]
        return instances

    every = found("--find-score", 0.001)
    assert all(0 <= each["score"] <= 1 for each in every)
    (whole,) = found("--no-detect")
    assert "score" not in whole
    log_lines = (run / "train.log").read_text(encoding="utf-8")
    own.unlink()  # as after a signal while the finder is trained
    assert kptool(*small[:-3], 2, *small[-2:], "--out", run, "--resume", "--json").json()["finder"]["steps"] == 2
    assert "# finder: 2 steps" in (run / "train.log").read_text(encoding="utf-8")[len(log_lines) :]
    own.with_suffix(".onnx").write_bytes(b"broken")
    assert found("--find-score", 0.001) == every
    own.with_suffix(".onnx").unlink()
    kptool(*small, "--out", run, "--force", "--no-finder")
    assert not own.exists(), "the finder of the run before does not belong to this one"
    assert not Predictor(str(run), "cpu").detect
    with pytest.raises(ConfigError, match="--find-score has no meaning"):
        Predictor(str(run), "cpu", find_score=0.5)


def test_candidates_become_boxes_in_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kptool.predict import finding

    def run(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert shown.shape == (1, 1, 64, 96)
        boxes = np.array([[[47.5, 15.5, 24, 16], [47.0, 15.5, 24, 16], [0, 16, 8, 8], [0, 0, 9, 9]]], np.float32)
        return boxes, np.array([[0.9, 0.8, 0.4, 0.1]], np.float32)

    searching = finding.InstanceFinder(FinderConfig((64, 96), 1, threshold=0.3), run)
    low, high = searching.find(np.zeros((120, 192), np.uint8))  # shown at half its size, 2 pixels from the top
    assert high.box == pytest.approx((95.5, 27.5, 48, 32))
    assert high.score == pytest.approx(0.9)
    assert low.box == pytest.approx((0.5, 28.5, 16, 16))
    searching.threshold = 0.5
    assert len(searching.find(np.zeros((120, 192), np.uint8))) == 1
    assert json.loads(searching.config.to_json())["size"] == [64, 96]


@pytest.mark.slow
def test_an_exported_finder_is_used_without_torch(tmp_path: Path) -> None:
    """Its boxes are torch's; tracing the peaks takes half a minute."""
    from kptool.predict import finding
    from kptool.predict.finder_export import export_finder

    network, config = finder.train(squares(16, 0), squares(8, 1), TrainConfig(), torch.device("cpu"), steps=60)
    save_finder(tmp_path / "model.finder.safetensors", network, config)
    shown = squares(4, 2).images[:, None]
    done = export_finder(tmp_path / "model.finder.safetensors", tmp_path / "model.finder.onnx", shown)
    assert done.boxes > 0
    assert done.overlap > 0.999
    weights = tmp_path / "model.safetensors"
    with_graph = finding.load(weights, "cpu")
    (tmp_path / "model.finder.onnx").unlink()
    with_torch = finding.load(weights, "cpu")
    assert with_graph is not None
    assert with_torch is not None
    for picture in shown[:, 0]:
        ours, theirs = with_graph.find(picture), with_torch.find(picture)
        assert [each.box for each in ours] == [pytest.approx(each.box, abs=0.01) for each in theirs]


def test_all_models_of_a_cache_share_one_finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kptool.api import train as api

    asked = []

    def train_one(job: Any, plan: Any, resume: bool) -> object:
        asked.append(plan.finder)
        job.folder.mkdir(parents=True)
        if plan.finder:
            (job.folder / "model.finder.safetensors").write_bytes(b"first")
        return object()

    monkeypatch.setattr(api, "_train_one", train_one)
    monkeypatch.setattr(api, "trained", lambda rows, *others, **more: rows)
    assert len(api.train("all", tmp_path / "a.h5", out=tmp_path / "runs")) == 4  # type: ignore[arg-type]
    assert asked == [True, False, False, False]
    found = [path.read_bytes() for path in sorted((tmp_path / "runs").glob("*/model.finder.safetensors"))]
    assert found == [b"first"] * 4


def test_a_time_budget_is_the_same_when_a_training_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The epochs' part of it is what the state remembers: another one would lay the schedule out anew."""
    from kptool.base.config import configure
    from kptool.cache.extraction import Options, extract
    from kptool.cache.store import Cache
    from kptool.data.sources import Opening, find_source
    from kptool.training import run

    monkeypatch.setattr(finder, "STEPS", 1)
    source = find_source(write_scenes(tmp_path / "in", some_scenes(8)), Opening(size=(32, 32)))
    cache = extract(source, tmp_path / "data", Options(val=0.3, heatmaps="none")).cache
    with Cache(cache) as opened:
        info = opened.info
    settings = configure("unet", info.skeleton, info.size, info.channels, {"width": 2, "epochs": 1, "batch_size": 4})
    run.train(cache, tmp_path / "run", *settings, device="cpu", budget=600.0)
    asked = []
    kept = run.restore

    def restore(trainer: Any, out: Path, given: Any, init: Any, budget: float | None, steps: int) -> None:
        asked.append((run.load_state(out, given)[0]["budget"], budget))
        kept(trainer, out, given, init, budget, steps)

    monkeypatch.setattr(run, "restore", restore)
    run.train(cache, tmp_path / "run", *settings, device="cpu", budget=600.0, resume=True)
    then, now = asked[0]
    assert then == now
    assert 420 < then < 600  # one step takes less than the largest part for the finder
    with Cache(cache) as opened:
        trainer = SimpleNamespace(config=settings[1], device=torch.device("cpu"))
        monkeypatch.setattr(finder, "STEPS", 10**9)
        assert finder_run.left_for_epochs(opened, trainer, tmp_path, 600.0, None) == 420.0
