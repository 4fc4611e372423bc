"""What a training says of itself, and how it ends: the log, the settings it leaves, patience, time, and going on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_train import settings, weights

from kptool.base import recipes
from kptool.base.config import configure
from kptool.base.errors import CheckpointError, ConfigError
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import evaluate_cache
from kptool.evaluation.metrics import rmse
from kptool.network import checkpoint
from kptool.training import epoch_log, loop, run


def lines(out: Path) -> list[str]:
    return (out / "train.log").read_text().splitlines()


def test_every_epoch_is_a_line_of_the_log(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows: list[Mapping[str, Any]] = []
    with caplog.at_level(logging.INFO, "kptool.training.epochs"):
        run.train(faces, tmp_path, *settings(faces, epochs=3), device="cpu", on_epoch=rows.append)
    log = lines(tmp_path)
    assert [record.getMessage() for record in caplog.records if record.name == "kptool.training.epochs"] == log
    assert log[2] == epoch_log.heading()
    assert [line.split()[0] for line in log[3:]] == ["1/3", "2/3", "3/3"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(len(line) < 120 for line in log)


def test_the_history_has_both_losses_and_errors_and_marks_the_best(faces: Path, tmp_path: Path) -> None:
    run.train(faces, tmp_path, *settings(faces, epochs=3, lr=0.01), device="cpu")
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history["best"].sum() == 1
    assert history["best"].argmax() == history["rmse"].argmin()
    assert (history["mean_shape_rmse"] == history["mean_shape_rmse"][0]).all()
    assert np.isfinite(history[["loss", "val_loss", "train_rmse", "images_per_second"]]).all(axis=None)
    assert max(len(cell) for cell in (tmp_path / "metrics.csv").read_text().replace("\n", ",").split(",")) <= 17


def test_train_and_validation_errors_are_those_of_the_averaged_weights(faces: Path, tmp_path: Path) -> None:
    """In source pixels; the validation loss is the training's own loss, on images that are not varied."""
    model, training = settings(faces, epochs=1)
    run.train(faces, tmp_path, model, training, device="cpu")
    row = pd.read_csv(tmp_path / "metrics.csv").iloc[0]
    kept, _ = checkpoint.load_model(tmp_path / "model.safetensors")
    with Cache(faces) as cache:
        assert row["rmse"] == pytest.approx(evaluate_cache([kept], cache).metrics.rmse, rel=1e-5)
        assert row["train_rmse"] == pytest.approx(evaluate_cache([kept], cache, split="train").metrics.rmse, rel=1e-4)
        val = cache.index("val")
        images, points, seen = (torch.from_numpy(cache.read(n, val)) for n in ("images", "keypoints", "visibility"))
    from kptool.training.augmentation import Batch
    from kptool.training.targets import Targets

    target, where = Targets(kept)(Batch(images, points - kept.offset, seen > 0))
    with torch.no_grad():
        each = kept.loss.function(kept(images[:, None]), target, where)
    assert row["val_loss"] == pytest.approx(float(each[seen > 0].mean()), rel=1e-4)


def test_the_settings_that_a_run_leaves_repeat_it(faces: Path, tmp_path: Path) -> None:
    changes = {"augment.rotation": 3, "augment.upright": 0.5, "stem": 1}
    run.train(faces, tmp_path / "one", *settings(faces, epochs=2, **changes), device="cpu")
    given = recipes.read(tmp_path / "one" / "config.toml")
    assert "# peak learning rate of AdamW\nlr = " in (tmp_path / "one" / "config.toml").read_text()
    with Cache(faces) as cache:
        info = cache.info
        again = configure(str(given.pop("model")), info.skeleton, info.size, info.channels, given)
    assert again == settings(faces, epochs=2, **changes)
    run.train(faces, tmp_path / "two", *again, device="cpu")
    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_patience_ends_a_training_that_gets_no_better(faces: Path, tmp_path: Path) -> None:
    """With a learning rate that moves nothing, no epoch is better than the first."""
    result = run.train(faces, tmp_path, *settings(faces, epochs=9, lr=1e-12, patience=2, prior=False), device="cpu")
    assert (result.epochs, result.best_epoch) in {(3, 1), (4, 2)}
    assert "no better validation RMSE since epoch" in lines(tmp_path)[-1]
    more = run.train(
        faces, tmp_path, *settings(faces, epochs=9, lr=1e-12, patience=2, prior=False), device="cpu", resume=True
    )
    assert more.epochs == result.epochs


def test_a_time_budget_ends_the_schedule_within_it(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    monkeypatch.setattr(loop, "epochs_within", lambda budget, spent, durations, most, longer, alike: min(most, 4))
    result = run.train(
        faces, tmp_path, *settings(faces, epochs=50), device="cpu", budget=4.5, on_epoch=lambda r: rates.append(r["lr"])
    )
    assert result.epochs == 4
    assert rates[-1] < 0.1 * rates[0]
    assert "as many as fit into 0:04" in lines(tmp_path)[-1]


def test_a_finished_training_goes_on_with_more_epochs(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run.train(faces, tmp_path, *settings(faces, epochs=2), device="cpu")
    result = run.train(faces, tmp_path, *settings(faces, epochs=4), device="cpu", resume=True)
    assert result.epochs == 4
    assert "has 2 epochs and continues to 4" in caplog.text
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["lr"][2] > history["lr"][1]  # as in a training of four epochs, where half of the curve is to come
    assert any("continuing after epoch 2" in line for line in lines(tmp_path))
    assert recipes.read(tmp_path / "config.toml")["epochs"] == "4"
    with pytest.raises(ConfigError, match="has 4 epochs already"):
        run.train(faces, tmp_path, *settings(faces, epochs=3), device="cpu", resume=True)
    with pytest.raises(CheckpointError, match=r"another training \(lr\).*only epochs, patience and step may change"):
        run.train(faces, tmp_path, *settings(faces, epochs=4, lr=0.5), device="cpu", resume=True)


def test_the_rmse_of_the_log_is_kaggles() -> None:
    errors = np.array([[[3.0, 4.0], [9.0, 9.0]]])
    assert rmse(errors, np.array([[True, False]])) == pytest.approx(np.sqrt(12.5))
