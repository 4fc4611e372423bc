"""A training that begins with images of half the size: where they are, when they grow, what is planned, and resuming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kptool import heatmaps
from kptool.base.config import ModelConfig, TrainConfig, configure
from kptool.cache.store import Cache
from kptool.network import checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.training import loop, run
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs
from kptool.training.schedule import epochs_within, growth
from kptool.training.targets import Targets
from kptool.training.trainer import Trainer


def settings(faces: Path, model: str = "unet", **changes: object) -> tuple[ModelConfig, TrainConfig]:
    with Cache(faces) as cache:
        info = cache.info
    fixed = {"width": 4, "batch_size": 12, "prior": False}
    return configure(model, info.skeleton, info.size, info.channels, {**fixed, **changes})


def spots(size: tuple[int, int]) -> Batch:
    """Images with a bright Gaussian spot at each one's keypoint."""
    points = np.array([[[12.3, 20.7]], [[30.0, 8.25]]], np.float32)
    maps = np.asarray(heatmaps.render(points, size, 3.0))
    return Batch(torch.from_numpy(255 * maps), torch.from_numpy(points), torch.ones((2, 1), dtype=torch.bool))


@pytest.mark.parametrize("size", [(40, 48), (39, 45)])
def test_points_of_halved_images_are_where_the_image_shows_them(size: tuple[int, int]) -> None:
    small = spots(size).halved()
    assert small.images.shape[-2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    found, _ = heatmaps.decode(small.images.numpy() / 255, "gaussian")
    assert np.abs(np.asarray(found) - small.points.numpy()).max() < 0.05


def test_targets_have_the_size_of_the_images() -> None:
    model = KeypointModel(ModelConfig("unet", ("a",), (), (40, 48), width=4))
    targets, batch = Targets(model), spots((40, 48))
    for each in (batch, batch.halved(), batch):
        maps, points = targets(each)
        assert maps.shape[-2:] == model(each.images).shape[-2:]
        found, _ = heatmaps.decode(maps.numpy(), "gaussian")
        assert np.abs(np.asarray(found) - points.numpy()).max() < 1e-3
        column, row, _ = targets.factors(each)
        assert torch.allclose(maps, column[..., None] * row[..., None, :], atol=1e-3)


def test_a_time_is_planned_for_the_larger_images() -> None:
    """Of 10 epochs, 5 of one second are followed by 5 of four: 25 seconds in all."""
    assert growth(0.0, 0.5, latest_small=True) == pytest.approx(2.5)
    assert growth(0.25, 0.5, latest_small=True) == pytest.approx((1 / 3) + 4 * (2 / 3))
    assert growth(0.5, 0.5, latest_small=True) == 4  # the last small epoch says how long whole ones take
    assert growth(0.9, 0.5, latest_small=False) == growth(0.0, 0.0, latest_small=False) == 1
    assert growth(1.0, 0.5, latest_small=False) == 1
    assert epochs_within(26, 1, [1.0], 100, 2.5) == 1 + int(25 * 0.97 / 2.5)
    assert epochs_within(40, 9, [1.0, 1.0, 1.0, 1.0, 1.0, 4.0], 100, 1.0, 1) == 6 + int(31 * 0.97 / 4)


def test_a_time_is_kept_where_images_grow(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which a small epoch takes one second and a whole one four."""
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Trainer, "run_epoch", _ticking(now, Trainer.run_epoch), raising=True)
    model, config = settings(faces, small=0.5, epochs=100, lr=1e-3)
    result = run.train(faces, tmp_path, model, config, device="cpu", budget=30.0)
    rows = pd.read_csv(tmp_path / "metrics.csv")
    spent = rows["seconds"].diff().fillna(rows["seconds"].iloc[0]).round().tolist()
    assert 24 <= rows["seconds"].iloc[-1] <= 30
    assert spent == sorted(spent)
    assert abs(spent.count(1.0) - spent.count(4.0)) <= 2
    assert result.epochs == len(rows)


def _ticking(now: list[float], run_epoch: Callable[..., float]) -> Callable[..., float]:
    def run(self: Trainer, data: Epochs, *rest: Any) -> float:
        small = self.is_small(self.epoch * data.steps)
        found = run_epoch(self, data, *rest)
        now[0] += 1.0 if small else 4.0
        return found

    return run


def test_images_grow_after_their_share_and_resuming_changes_nothing(faces: Path, tmp_path: Path) -> None:
    model, config = settings(faces, small=0.5, epochs=4, lr=3e-3)
    run.train(faces, tmp_path / "one", model, config, device="cpu")
    log = (tmp_path / "one" / "train.log").read_text()
    assert log.index("from epoch 1 on, training images are of half the size") < log.index("from epoch 3 on")
    rows = pd.read_csv(tmp_path / "one" / "metrics.csv")
    assert len(rows) == 4
    for epochs in (1, 2, 3):
        part = settings(faces, small=0.5, epochs=4, lr=3e-3)
        stop = _stop_after(epochs)
        with pytest.raises(KeyboardInterrupt):
            run.train(faces, tmp_path / str(epochs), *part, device="cpu", on_epoch=stop)
        run.train(faces, tmp_path / str(epochs), *part, device="cpu", resume=True)
        first, second = (checkpoint.load_state(tmp_path / name / "last.ckpt") for name in ("one", str(epochs)))
        assert all(torch.equal(first["average"][name], second["average"][name]) for name in first["average"])


def _stop_after(epochs: int) -> run.OnEpoch:
    def stop(row: object) -> None:
        if row["epoch"] == epochs:  # type: ignore[index]
            raise KeyboardInterrupt

    return stop


def test_patience_waits_for_whole_images(faces: Path, tmp_path: Path) -> None:
    model, config = settings(faces, small=0.6, epochs=6, lr=1e-12, patience=1)
    assert run.train(faces, tmp_path, model, config, device="cpu").epochs >= 4


def test_a_model_of_coordinates_sees_whole_images_only(faces: Path, tmp_path: Path) -> None:
    model, config = settings(faces, "vgg", small=0.5, epochs=2)
    run.train(faces, tmp_path, model, config, device="cpu")
    assert "half the size" not in (tmp_path / "train.log").read_text()
