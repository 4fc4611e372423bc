"""Hyperparameter search: which settings are tried, pruning, and continuing after any interruption."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from searches import GIVEN, found, invent, killed_at, search, slope

from kptool import plugins
from kptool.advise import journal, tune
from kptool.advise.study import Study
from kptool.base import recipes
from kptool.base.config import configure
from kptool.base.errors import CheckpointError, ConfigError
from kptool.base.skeleton import FACE15
from kptool.cache.extraction import Options, extract
from kptool.network import cards
from kptool.system.signals import Stopped, raised
from kptool.training.trainer import DivergedError

pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = plugins.load("datasets", "synthetic").open(None, count=20, size=(32, 32), seed=1)
    return extract(source, tmp_path_factory.mktemp("tiny"), Options(val=0.25)).cache


@pytest.fixture(scope="module")
def whole(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A search of real trainings that was never stopped."""
    return search(cache, tmp_path_factory.mktemp("whole") / "search")


def test_the_recipe_comes_first_and_the_best_is_a_recipe(whole: Study) -> None:
    out = whole.trials[0].folder.parent
    assert sorted(trial.number for trial in whole.trials) == [0, 1]
    assert whole.recipe is not None
    assert whole.recipe.settings == {"lr": 0.001, "loss": "dsnt"}
    best = whole.best
    assert best is not None
    assert best.rmse == min(trial.rmse or 99 for trial in whole.trials)
    assert whole.mean_shape_rmse is not None
    read = recipes.read(out / "best.toml")
    assert read.pop("model") == "unet"
    network, config = configure("unet", FACE15, (32, 32), 1, read)
    card = cards.read_card(best.folder / cards.WEIGHTS)
    assert (network.loss, config.lr) == (best.settings["loss"], best.settings["lr"])
    assert (card.config.loss, card.training["lr"]) == (network.loss, config.lr)
    assert (config.epochs, config.batch_size, config.seed, network.width) == (2, 8, 3, 2)
    assert card.metrics["rmse"] == pytest.approx(best.rmse, abs=1e-4)
    assert "optimistic" in (out / "best.toml").read_text()


def test_the_table_has_the_best_first_and_ended_trials_keep_no_state(whole: Study) -> None:
    out = whole.trials[0].folder.parent
    table = pd.read_csv(out / "trials.csv")
    assert list(table["trial"]) == [trial.number for trial in whole.trials]
    assert list(table) == ["trial", "state", "rmse", "best_epoch", "epochs", "seconds", "lr", "loss"]
    assert list(table["rmse"]) == sorted(table["rmse"])
    assert not list(out.glob("trial-*/last.ckpt"))
    assert all((trial.folder / "model.safetensors").is_file() for trial in whole.trials)


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(cache: Path, tmp_path: Path, whole: Study) -> None:
    with pytest.raises(MemoryError):
        search(cache, tmp_path, progress=killed_at(7))  # two epochs of two steps each, then the third step of trial 1
    assert (tmp_path / "trial-001" / "last.ckpt").is_file()
    assert found(search(cache, tmp_path)) == found(whole)


def test_a_search_that_is_killed_again_and_again_is_the_one_that_never_was(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = invent(monkeypatch, slope)
    options: dict[str, Any] = {"trials": 7, "given": GIVEN | {"epochs": 6}}
    never = search(cache, tmp_path / "never", **options)
    assert {trial.state for trial in never.trials} == {"complete", "pruned"}
    calls.clear()
    for _ in range(3):
        with pytest.raises(MemoryError):
            search(cache, tmp_path / "often", progress=killed_at(8), **options)
    assert found(search(cache, tmp_path / "often", **options)) == found(never)
    assert [folder for folder, resume in calls if resume] == ["trial-001", "trial-002", "trial-003"]


def test_an_epoch_that_the_journal_lacks_is_read_from_the_run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: Any, row: Mapping[str, float]) -> None:
        raise MemoryError

    invent(monkeypatch, slope)
    never = search(cache, tmp_path / "never")
    with monkeypatch.context() as patch:
        patch.setattr(tune._Reporter, "__call__", die)
        with pytest.raises(MemoryError):
            search(cache, tmp_path / "once")
    assert (tmp_path / "once" / "trial-000" / "last.ckpt").is_file()
    assert found(search(cache, tmp_path / "once")) == found(never)


def test_a_signal_keeps_the_trial_and_says_how_to_go_on(cache: Path, tmp_path: Path, whole: Study) -> None:
    def stop(what: str, done: int, total: int | None) -> None:
        if what.startswith("trial 2/2, epoch 2/2"):
            os.kill(os.getpid(), signal.SIGTERM)

    with raised(), pytest.raises(Stopped) as stopped:
        search(cache, tmp_path, progress=stop)
    assert "the same command continues it" in stopped.value.hint
    assert "--resume" not in stopped.value.hint
    table = pd.read_csv(tmp_path / "trials.csv")
    assert dict(zip(table["trial"], table["state"], strict=True)) == {0: "complete", 1: "stopped"}
    assert found(search(cache, tmp_path)) == found(whole)


def test_time_ends_a_call_after_an_epoch_and_more_trials_may_follow(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    invent(monkeypatch, slope)
    never = search(cache, tmp_path / "never", trials=3)
    monkeypatch.setattr(tune.time, "monotonic", lambda: now)

    def tick(what: str, done: int, total: int | None) -> None:
        nonlocal now
        now += 1

    out = tmp_path / "short"
    short = search(cache, out, seconds=1, progress=tick)
    assert [(trial.state, trial.epochs) for trial in short.trials] == [("stopped", 1)]
    assert short.best is None
    assert short.ended == 0
    assert not (out / "best.toml").exists()
    assert search(cache, out, trials=2).ended == 2
    assert found(search(cache, out, trials=3)) == found(never)
    assert search(cache, out, trials=1).ended == 3


def test_trials_above_the_median_are_cut_short(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invent(monkeypatch, slope)
    study = search(cache, tmp_path, trials=16, only=["lr"], given=GIVEN | {"epochs": 8})
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    whole = [trial for trial in study.trials if trial.state == "complete"]
    assert study.ended == 16
    assert len(whole) >= 5
    assert pruned
    assert all(3 <= trial.epochs < 8 for trial in pruned)
    assert all(trial.epochs == 8 and trial.best_epoch == 8 for trial in whole)
    assert study.trials == (*whole, *pruned)
    assert [trial.rmse for trial in whole] == sorted(trial.rmse or 0 for trial in whole)
    assert study.best is not None
    assert float(study.best.settings["lr"]) < 0.0003  # where the error is least


def test_a_training_that_diverges_is_the_worst_and_the_search_goes_on(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def curve(lr: float, epoch: int) -> float:
        if lr != 0.001:
            raise DivergedError("its numbers are not finite any more; train with a lower lr")
        return 1.0

    invent(monkeypatch, curve)
    study = search(cache, tmp_path, trials=2)
    assert [(trial.number, trial.state, trial.rmse) for trial in study.trials] == [
        (0, "complete", 1.0),
        (1, "failed", None),
    ]
    assert "trial 1 failed: its numbers are not finite" in caplog.text
    assert found(search(cache, tmp_path, trials=2)) == found(study)


def test_a_trial_whose_state_is_damaged_is_trained_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    invent(monkeypatch, slope)
    never = search(cache, tmp_path / "never")
    with pytest.raises(MemoryError):
        search(cache, tmp_path / "once", progress=killed_at(2))
    (tmp_path / "once" / "trial-000" / "last.ckpt").write_bytes(b"")
    (tmp_path / "once" / "trial-000" / "metrics.csv").write_bytes(b"")
    calls = invent(monkeypatch, slope)
    assert found(search(cache, tmp_path / "once")) == found(never)
    assert calls[:2] == [("trial-000", True), ("trial-000", False)]
    assert "is trained again from the start" in caplog.text


def test_a_torn_last_line_of_the_journal_is_cut_off(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invent(monkeypatch, lambda lr, epoch: 100 * lr)
    before = search(cache, tmp_path, trials=2)
    with (tmp_path / journal.FILE).open("ab") as file:
        file.write(b'{"op_code": 4, "worker_')
    assert found(search(cache, tmp_path, trials=2)) == found(before)
    assert search(cache, tmp_path, trials=4).ended == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"given": GIVEN | {"epochs": 3}}, "training: epochs"),
        ({"given": GIVEN | {"width": 3}}, "config: width"),
        ({"given": GIVEN | {"seed": 4}}, "training: seed"),
        ({"only": ["lr"]}, "search: loss"),
        ({"only": ["lr", "loss", "sigma"]}, "search: sigma"),
    ],
)
def test_another_search_is_not_gone_on_with(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    invent(monkeypatch, lambda lr, epoch: lr)
    search(cache, tmp_path, trials=1)
    kept = (tmp_path / tune.SETTINGS).read_bytes()
    with pytest.raises(CheckpointError, match="another --out, or remove it") as refusal:
        search(cache, tmp_path, **options)
    assert says in str(refusal.value)
    assert (tmp_path / tune.SETTINGS).read_bytes() == kept


@pytest.mark.parametrize("settings", [None, "", "[]", '{"search": 1}', "{"])
def test_settings_that_cannot_be_read_are_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str | None
) -> None:
    invent(monkeypatch, lambda lr, epoch: lr)
    search(cache, tmp_path, trials=1)
    (tmp_path / tune.SETTINGS).unlink() if settings is None else (tmp_path / tune.SETTINGS).write_text(settings)
    with pytest.raises(CheckpointError, match="choose another --out"):
        search(cache, tmp_path)


@pytest.mark.parametrize("line", ["no json", "{}", "[1]", "1", json.dumps({"op_code": 99, "worker_id": "a"})])
def test_a_damaged_journal_is_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    invent(monkeypatch, lambda lr, epoch: lr)
    search(cache, tmp_path, trials=1)
    lines = (tmp_path / journal.FILE).read_text().splitlines()
    (tmp_path / journal.FILE).write_text("\n".join([*lines[:4], line, *lines[4:]]) + "\n")
    with pytest.raises(CheckpointError, match=r"study\.journal is not the journal of a search"):
        search(cache, tmp_path, trials=2)


def test_a_cache_without_validation_images_is_refused(tmp_path: Path) -> None:
    source = plugins.load("datasets", "synthetic").open(None, count=6, size=(32, 32), seed=1)
    cache = extract(source, tmp_path / "all", Options(val=0)).cache
    with pytest.raises(ConfigError, match="no validation images; extract again with --val"):
        search(cache, tmp_path / "search")
    assert not (tmp_path / "search").exists()


def test_several_processes_are_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="without torchrun"):
        search(cache, tmp_path)
