"""Run folders: a diverged run leaves nothing, a finished one is complete, and all processes stop together."""

from __future__ import annotations

import gc
import math
import os
import shutil
import signal
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
from conftest import tree
from test_train import RUN_FILES, run_processes, settings

from kptool.base.config import configure
from kptool.base.errors import CheckpointError, ConfigError
from kptool.base.skeleton import FACE15
from kptool.cache.store import Cache
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.network.layers import synchronised
from kptool.system import devices
from kptool.system.signals import Stopped
from kptool.system.workers import Workers
from kptool.training import run, run_folder, split
from kptool.training.trainer import DivergedError, Trainer


def test_only_what_matters_stops_a_resumption(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another version of kptool, a new setting at its default, another number of threads."""
    chosen = settings(faces, epochs=1)
    run.train(faces, tmp_path, *chosen, device="cpu")
    state = checkpoint.load_state(tmp_path / "last.ckpt")
    assert state["threads"] == torch.get_num_threads()
    measured = state.pop("best")
    state["data"]["kptool"] = "0.0.1"
    del state["config"]["mirror"], state["training"]["augment"]["erase"]
    state["threads"] = 7
    checkpoint.save_state(tmp_path / "last.ckpt", state)
    resumed = run.train(faces, tmp_path, *chosen, device="cpu", resume=True)
    assert resumed.metrics == measured
    assert "was trained with 7 threads and continues with" in caplog.text
    state["training"]["augment"]["erase"] = 0.4
    checkpoint.save_state(tmp_path / "last.ckpt", state)
    with pytest.raises(CheckpointError, match=r"another training \(augment\)"):
        run.train(faces, tmp_path, *chosen, device="cpu", resume=True)


def test_a_place_without_labels_is_no_other_data() -> None:
    """Older files store (0, 0) for it."""
    now = {"mean_shape": [[1.0, 2.0], [None, None]], "kptool": "2"}
    assert run_folder.changed("data", {"mean_shape": [[1.0, 2.0], [0.0, 0.0]], "kptool": "1"}, now) == []
    assert run_folder.changed("data", {"mean_shape": [[1.0, 2.5], [0.0, 0.0]]}, now) == ["mean_shape"]
    for hostile in (None, [], "text", {"mean_shape": 3}, {"mean_shape": [[]]}, {"mean_shape": torch.zeros(2)}):
        assert run_folder.changed("data", hostile, now) == ["mean_shape"]
        assert "lr" in run_folder.changed("training", hostile, {"lr": 0.5})


@pytest.mark.parametrize("model", ["unet", "vgg"])
def test_a_training_that_diverges_leaves_the_run_that_is_there(faces: Path, tmp_path: Path, model: str) -> None:
    first = run.train(faces, tmp_path / "run", *settings(faces, model, epochs=1), device="cpu")
    before = tree(tmp_path)
    bad = settings(faces, model, epochs=2, weight_decay=1e15)
    with pytest.raises(DivergedError, match=r"diverged in epoch 1, by step \d: .* lower lr .*; .*run is as it was"):
        run.train(faces, tmp_path / "run", *bad, device="cpu")
    assert tree(tmp_path) == before
    with pytest.raises(DivergedError, match="nothing was saved"):
        run.train(faces, tmp_path / "new", *bad, device="cpu")
    assert tree(tmp_path) == before
    assert not (tmp_path / "new").exists()
    again = run.train(faces, tmp_path / "run", *settings(faces, model, epochs=1), device="cpu", resume=True)
    assert again.metrics == first.metrics


def test_a_training_that_diverges_late_gives_the_old_run_back(faces: Path, tmp_path: Path) -> None:
    """Its first epochs were good and had replaced the old run; without an old run, they are kept."""
    old, new = tmp_path / "old", tmp_path / "new"
    run.train(faces, old, *settings(faces, epochs=1), device="cpu")
    before = tree(old)
    seen: list[bool] = []

    def burst(what: str, done: int, total: int | None) -> None:
        if done == 4:
            seen.append(tree(old)["model.safetensors"] == before["model.safetensors"])
            for item in gc.get_objects():
                if type(item) is Trainer:  # others object to being asked for their class
                    with torch.no_grad():
                        next(item.model.parameters()).fill_(math.nan)

    chosen = settings(faces, epochs=3, lr=2e-3)
    with pytest.raises(DivergedError, match=r"diverged in epoch 2, by step 5: .*old holds the run that it held before"):
        run.train(faces, old, *chosen, device="cpu", progress=burst)
    assert seen == [False]
    assert tree(old) == before
    with pytest.raises(DivergedError, match="new keeps the epochs before"):
        run.train(faces, new, *chosen, device="cpu", progress=burst)
    assert cards.read_card(new / "model.safetensors").metrics["best_epoch"] == 1
    assert checkpoint.load_state(new / "last.ckpt")["epoch"] == 1


def test_a_run_that_replaces_another_leaves_nothing_of_it(faces: Path, tmp_path: Path) -> None:
    for lr in (1e-3, 2e-3):
        result = run.train(faces, tmp_path, *settings(faces, epochs=1, lr=lr), device="cpu")
        assert cards.read_card(tmp_path / "model.safetensors").metrics == result.metrics
        assert sorted(p.name for p in tmp_path.iterdir()) == RUN_FILES


def test_a_speed_counts_the_seconds_before_the_stop(faces: Path, tmp_path: Path) -> None:
    def ask_to_end(what: str, done: int, total: int | None) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        run.train(faces, tmp_path, *settings(faces, epochs=1), device="cpu", progress=ask_to_end)
    state = checkpoint.load_state(tmp_path / "last.ckpt")
    assert 0 < state["part"] <= state["seconds"]
    state["part"] += 1000
    checkpoint.save_state(tmp_path / "last.ckpt", state)
    result = run.train(faces, tmp_path, *settings(faces, epochs=1), device="cpu", resume=True)
    assert pd.read_csv(tmp_path / "metrics.csv")["train_seconds"][0] > 1000
    assert result.images_per_second == pytest.approx(36 / 1000, rel=0.1)


def test_there_must_be_labels_to_train_and_to_measure_on(faces: Path, tmp_path: Path) -> None:
    for part, what in (("train", "no training image"), ("val", "no validation image")):
        other = tmp_path / f"{part}.h5"
        shutil.copy(faces, other)
        with Cache(other) as cache:
            index = cache.index(part)
        with h5py.File(other, "r+") as file:
            file["visibility"][index] = 0
        with pytest.raises(ConfigError, match=f"{what} has a labelled keypoint"):
            run.train(other, tmp_path / "run", *settings(faces), device="cpu")
        assert not (tmp_path / "run").exists()


def test_a_radius_that_nobody_measured_is_absent(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """None for an unlabelled keypoint, which is not learnt, and without validation images. The card says why."""
    other = tmp_path / "dataset.h5"
    shutil.copy(faces, other)
    with h5py.File(other, "r+") as file:
        visibility = file["visibility"][:]
        visibility[:, 2] = 0
        file["visibility"][:] = visibility
    name = FACE15.names[2]
    result = run.train(other, tmp_path / "run", *settings(faces, epochs=1), device="cpu")
    assert f"{name} is labelled in none of 36 training images; a keypoint without labels is not learnt" in caplog.text
    card = cards.read_card(tmp_path / "run" / "model.safetensors")
    assert card.metrics == result.metrics
    assert card.metrics["per_keypoint"][name] is None
    assert [factor is None for factor in card.metrics["radius90"]] == [k == 2 for k in range(15)]
    assert card.metrics["radius90_missing"].endswith(f"there are fewer of {name}")
    assert card.data["mean_shape"][2] == [None, None]
    with h5py.File(other, "r+") as file:
        file["split"][:] = 0
    result = run.train(other, tmp_path / "run", *settings(faces, epochs=1), device="cpu")
    assert "has no validation images" in caplog.text
    assert result.metrics["radius90"] is None
    assert "no validation images" in result.metrics["radius90_missing"]


def test_the_offset_is_measured_in_batches(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(*settings(faces), torch.device("cpu"), Workers())
    with Cache(faces) as cache:
        data = split.Split.load(cache, torch.device("cpu")).train
    trainer.measure_training(data)
    expected = trainer.model.offset.clone()
    trainer.average.offset.zero_()
    sizes: list[int] = []
    points = trainer.average.points
    monkeypatch.setattr(trainer.average, "points", lambda images: sizes.append(len(images)) or points(images))
    trainer.measure_training(data)
    assert sizes == [12, 12, 12]
    assert torch.allclose(trainer.model.offset, expected, atol=1e-4)


def test_emulated_bfloat16_is_not_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not devices.use_amp("auto", torch.device("cuda"))
    assert devices.use_amp("on", torch.device("cuda"))


_BATCH_NORM = """
import sys, torch
from kptool.system.workers import join
from kptool.network.layers import SyncedBatchNorm
def main():
    with join() as workers:
        values = 100 + 0.01 * torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        values[:7] += 0.02
        mine = values[workers.rank::workers.world].clone().requires_grad_()
        norm = SyncedBatchNorm(3).train()
        norm.weight.data += torch.arange(3)
        found = norm(mine)
        (found * torch.arange(workers.rank, 12, workers.world)[:, None, None, None]).square().sum().backward()
        if workers.rank == 0:
            torch.save([found.detach(), mine.grad, norm.running_mean, norm.running_var], sys.argv[1])
main()
"""


@pytest.mark.long
def test_batch_norm_of_values_far_from_zero(tmp_path: Path) -> None:
    """Mean 100 and deviation 0.01, on two processes: E[x2] - E[x]2 in float32 was negative, and its root NaN."""
    (tmp_path / "norm.py").write_text(_BATCH_NORM)
    run_processes(2, [tmp_path / "norm.py", tmp_path / "two.pt"])
    found, gradient, mean, variance = torch.load(tmp_path / "two.pt", weights_only=True)
    values = 100 + 0.01 * torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    values[:7] += 0.02
    whole = values.double().requires_grad_()
    norm = torch.nn.BatchNorm2d(3).double().train()
    norm.weight.data += torch.arange(3)
    expected = norm(whole)
    (expected * torch.arange(12)[:, None, None, None]).square().sum().backward()
    assert whole.grad is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(found.double(), expected[::2].detach(), atol=5e-3)
    assert torch.allclose(gradient.double(), whole.grad[::2], rtol=1e-2, atol=1e-2 * float(whole.grad.abs().max()))
    assert torch.allclose(mean.double(), norm.running_mean, atol=1e-5)
    assert torch.allclose(variance.double(), norm.running_var, rtol=1e-4)


def test_batch_norm_on_cuda_is_torchs_own() -> None:
    """With the same weights, under the same names."""
    config, _ = configure("unet", FACE15, (48, 48), 1, {"width": 4})
    model, names = KeypointModel(config), list(KeypointModel(config).state_dict())
    parameters = list(model.parameters())
    assert not any(isinstance(m, torch.nn.SyncBatchNorm) for m in synchronised(model, torch.device("cpu")).modules())
    converted = synchronised(model, torch.device("cuda"))
    assert sum(isinstance(m, torch.nn.SyncBatchNorm) for m in converted.modules()) > 5
    assert list(converted.state_dict()) == names
    assert all(a is b for a, b in zip(converted.parameters(), parameters, strict=True))


_STOP = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[3], str(Path(sys.argv[3]).parent)]
from kptool.training import run
from kptool.system.signals import Stopped
from test_train import settings
def stop(what, done, total):
    if done == 2 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGTERM)
def main():
    faces = Path(sys.argv[1])
    try:
        run.train(faces, Path(sys.argv[2]), *settings(faces, epochs=2), device="cpu", progress=stop)
    except Stopped as request:
        assert request.number == signal.SIGTERM and "--resume" in request.hint
        return 0
    return 1
sys.exit(main())
"""


@pytest.mark.long
def test_a_signal_to_one_process_stops_all_at_the_same_step(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "stop.py").write_text(_STOP)
    run_processes(2, [tmp_path / "stop.py", faces, tmp_path / "run", Path(__file__).parent])
    state = checkpoint.load_state(tmp_path / "run" / "last.ckpt")
    assert state["step"] == 3
