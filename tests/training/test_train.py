"""Training: it learns, resumes bit for bit, and two processes compute the same as one."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from kptool.base.config import ModelConfig, TrainConfig, configure
from kptool.base.errors import CheckpointError
from kptool.base.skeleton import Skeleton
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import mean_shape_baseline
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.system.signals import Stopped
from kptool.system.workers import Workers
from kptool.training import optimizer, run, split
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.trainer import Trainer

RUN_FILES = ["config.toml", "last.ckpt", "metrics.csv", "model.safetensors", "train.log"]
FAST = {"width": 4, "batch_size": 12}


def settings(faces: Path, model: str = "unet", **overrides: object) -> tuple[ModelConfig, TrainConfig]:
    with Cache(faces) as cache:
        info = cache.info
    return configure(model, info.skeleton, info.size, info.channels, {**FAST, **overrides})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.load_state(folder / "last.ckpt")
    return {f"{part}.{name}": tensor for part in ("detector", "average") for name, tensor in state[part].items()}


def test_the_learning_rate_rises_and_falls() -> None:
    config = TrainConfig(lr=1.0, warmup=0.1)
    rates = [optimizer.learning_rate(step, 100, config) for step in range(100)]
    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    assert rates[-1] < 1e-3
    assert rates[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)))


@pytest.mark.parametrize(("model", "lr"), [("vgg", 4e-3), ("resnet", 4e-3), ("fcn", 4e-3), ("unet", 3e-2)])
def test_the_loss_falls(faces: Path, tmp_path: Path, model: str, lr: float) -> None:
    run.train(faces, tmp_path, *settings(faces, model, epochs=10, lr=lr, ema=0.5), device="cpu")
    loss = pd.read_csv(tmp_path / "metrics.csv")["loss"]
    assert loss.iloc[-1] < 0.75 * loss.iloc[0]


@pytest.mark.long
def test_training_beats_the_mean_shape(faces: Path, tmp_path: Path) -> None:
    """On unseen faces, after a hundred steps."""
    result = run.train(faces, tmp_path, *settings(faces, "fcn", width=8, epochs=30, lr=4e-3, ema=0.9), device="cpu")
    with Cache(faces) as cache:
        assert result.metrics["rmse"] < 0.9 * mean_shape_baseline(cache).rmse


def test_the_offset_is_what_changes_sign_in_the_mirror() -> None:
    """A constant label offset is measured; an error that mirrors with the image is left for the network to learn."""
    config, _ = configure("vgg", Skeleton(("left", "right", "nose"), ((0, 1),)), (64, 64), 1, {"width": 4})
    model = KeypointModel(config)
    truth = torch.rand(50, 3, 2) * 40 + 10
    outwards = torch.tensor([[-0.7, 0.3], [0.7, 0.3], [0.0, 0.5]])
    shift = torch.tensor([[1.2, 0.0], [1.2, 0.0], [0.8, 0.0]])
    found = truth - shift - outwards
    found[:5] += 30  # a few outliers do not matter
    labelled = torch.ones(50, 3, dtype=torch.bool)
    labelled[:, 2] = False
    for _ in range(2):  # an existing offset is not counted twice
        model.measure_offset(found + model.offset, truth, labelled)
        assert torch.allclose(model.offset, shift * torch.tensor([[1], [1], [0]]), atol=1e-5)
    found -= 100
    model.measure_offset(found + model.offset, truth, labelled)
    assert model.offset.abs().max() <= 2


@pytest.mark.slow
def test_shifted_labels_are_learned_in_spite_of_flips(faces: Path, tmp_path: Path) -> None:
    """All labels are shifted by two pixels; a network trained on mirrored copies alone would miss by those two."""
    shifted = tmp_path / "shifted.h5"
    shutil.copy(faces, shifted)
    with h5py.File(shifted, "r+") as file:
        file["keypoints"][:] = file["keypoints"][:] + np.array([2, 0], np.float32)
    errors = {}
    for offset in ("on", "off"):
        out = tmp_path / offset
        options = {"width": 8, "epochs": 30, "batch_size": 6, "lr": 4e-3, "ema": 0.9, "offset": offset}
        result = run.train(shifted, out, *settings(shifted, "fcn", **options), device="cpu")
        errors[offset] = result.metrics["rmse"]
        model, _ = checkpoint.load_model(out / "model.safetensors")
        if offset == "off":
            assert not model.offset.any()
        else:
            assert model.offset[:, 0].median() == pytest.approx(2, abs=0.5)
    assert errors["on"] < errors["off"]


def test_a_run_leaves_what_it_should(faces: Path, run_folder: Path) -> None:
    history = pd.read_csv(run_folder / "metrics.csv")
    assert list(history["epoch"]) == [1, 2]
    card = cards.read_card(run_folder / "model.safetensors")
    assert card.metrics["best_epoch"] == 1 + int(history["rmse"].argmin())
    assert None not in card.metrics["radius90"]
    assert card.metrics["radius90_missing"] is None
    with Cache(faces) as cache:
        assert card.metrics["mean_shape_rmse"] == pytest.approx(mean_shape_baseline(cache).rmse, rel=1e-6)
        assert card.data["val_rows"] == cache.read("row", cache.index("val")).tolist()
    assert sorted(p.name for p in run_folder.iterdir()) == RUN_FILES


def test_resuming_is_bit_for_bit_the_run_that_was_never_stopped(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("unet", "vgg"):
        chosen = settings(faces, model, epochs=3)
        straight, stopped = tmp_path / model / "straight", tmp_path / model / "stopped"
        run.train(faces, straight, *chosen, device="cpu")

        def stop_in_epoch_two(what: str, done: int, total: int | None) -> None:
            if done == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run.train(faces, stopped, *chosen, device="cpu", progress=stop_in_epoch_two)
        run.train(faces, stopped, *chosen, device="cpu", resume=True)
        expected, found = weights(straight), weights(stopped)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert (straight / "model.safetensors").read_bytes() == (stopped / "model.safetensors").read_bytes()
        columns = ["epoch", "loss", "lr", "rmse"]
        assert pd.read_csv(straight / "metrics.csv")[columns].equals(pd.read_csv(stopped / "metrics.csv")[columns])


@pytest.mark.parametrize("step", [1, 5])
def test_a_signal_saves_the_middle_of_an_epoch(faces: Path, tmp_path: Path, step: int) -> None:
    chosen = settings(faces, epochs=2)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run.train(faces, straight, *chosen, device="cpu")

    def ask_to_end(what: str, done: int, total: int | None) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as caught:
        run.train(faces, stopped, *chosen, device="cpu", progress=ask_to_end)
    assert caught.value.number == signal.SIGTERM
    assert "--resume" in caught.value.hint
    assert checkpoint.load_state(stopped / "last.ckpt")["step"] == step
    run.train(faces, stopped, *chosen, device="cpu", resume=True)
    assert (straight / "model.safetensors").read_bytes() == (stopped / "model.safetensors").read_bytes()
    columns = ["epoch", "loss", "lr", "rmse"]
    histories = [pd.read_csv(run / "metrics.csv")[columns] for run in (straight, stopped)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_resuming_with_other_settings_or_data_is_refused(faces: Path, run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="another training \\(lr\\)"):
        run.train(faces, run_folder, *settings(faces, epochs=2, lr=0.5), device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="another config \\(width\\)"):
        run.train(faces, run_folder, *settings(faces, epochs=2, width=8), device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run.train(faces, tmp_path, *settings(faces, epochs=2), device="cpu", resume=True)


def test_resuming_on_another_split_is_refused(faces: Path, run_folder: Path, tmp_path: Path) -> None:
    """A run never continues on data whose validation images it may have trained on."""
    import h5py

    other = tmp_path / "dataset.h5"
    other.write_bytes(faces.read_bytes())
    with h5py.File(other, "r+") as file:
        file["split"][:] = np.roll(file["split"][:], 1)
    with pytest.raises(CheckpointError, match=r"another data \(val_rows, mean_shape\)"):
        run.train(other, run_folder, *settings(faces, epochs=2), device="cpu", resume=True)


def test_unlabelled_keypoints_give_no_gradient(faces: Path) -> None:
    trainer = Trainer(*settings(faces), torch.device("cpu"), Workers())
    images = torch.rand(2, 1, 48, 48) * 255
    points = torch.full((2, 15, 2), 20.0)
    labelled = torch.zeros(2, 15, dtype=torch.bool)
    labelled[:, 0] = True
    loss = trainer.loss(Batch(images, points, labelled))
    loss.backward()
    head = trainer.model.network.head.weight.grad
    assert head[0].abs().sum() > 0
    assert head[1:].abs().sum() == 0
    nothing = trainer.loss(Batch(images, points, torch.zeros(2, 15, dtype=torch.bool)))
    assert float(nothing.detach()) == 0.0


_GRADIENTS = """
import sys, torch
from pathlib import Path
sys.path[:0] = [sys.argv[3], str(Path(sys.argv[3]).parent)]
from kptool.system.workers import join
from test_train import gradients
torch.set_num_threads(1)
def main():  # so that all that holds the process group is gone before the interpreter ends
    with join() as workers:
        gradients(Path(sys.argv[1]), Path(sys.argv[2]), workers)
main()
"""


def gradients(faces: Path, out: Path, workers: Workers) -> None:
    """Save the gradients and buffers of two models after one batch, a part of it in each process."""
    device = torch.device("cpu")
    with Cache(faces) as cache:
        data = split.Split.load(cache, device).train
    labelled = data.labelled.clone()
    labelled[::3, 5:] = False
    data = TrainingSet(data.images, data.points, labelled)
    for model in ("unet", "resnet"):
        trainer = Trainer(*settings(faces, model, amp="off"), device, workers)
        for layer in trainer.model.network.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        batch = next(Epochs(data, (), trainer.config.augment, batch_size=12, seed=0).epoch(0, workers))
        trainer.network.train()
        trainer.loss(batch).backward()
        if workers.rank == 0:
            state = {name: each.grad for name, each in trainer.model.named_parameters()}
            state |= {name: each.clone() for name, each in trainer.model.named_buffers()}
            torch.save(state, out / f"{model}{workers.world}.pt")


@pytest.mark.long
def test_two_processes_have_the_gradients_of_one(faces: Path, tmp_path: Path) -> None:
    """Also where keypoints without labels are spread unevenly, and through batch norm."""
    (tmp_path / "step.py").write_text(_GRADIENTS)
    gradients(faces, tmp_path, Workers())
    run_processes(2, [tmp_path / "step.py", faces, tmp_path, Path(__file__).parent])
    for model in ("unet", "resnet"):
        one, two = (torch.load(tmp_path / f"{model}{world}.pt", weights_only=True) for world in (1, 2))
        for name in one:
            assert torch.allclose(one[name].float(), two[name].float(), rtol=1e-3, atol=2e-5), f"{model} {name}"


def run_processes(world: int, arguments: list[Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    running = [
        subprocess.Popen(
            [sys.executable, "-P", *map(str, arguments)], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(world)
    ]
    assert [process.wait(timeout=240) for process in running] == [0] * world


@pytest.mark.long
def test_torchrun_trains(kptool: Any, faces: Path, tmp_path: Path) -> None:
    """The whole command on two processes gives the same run as on one, up to the order of floating-point sums."""
    arguments = ["train", "unet", faces, "--epochs", "1", "--batch-size", "12"]
    arguments += ["--set", "width=4", "--set", "amp=off", "--device", "cpu"]
    assert kptool(*arguments, "--out", tmp_path / "1").code == 0
    run_processes(2, ["-m", "kptool", *arguments, "--out", tmp_path / "2"])
    one, two = (pd.read_csv(tmp_path / str(world) / "metrics.csv") for world in (1, 2))
    assert one["loss"][0] == pytest.approx(two["loss"][0], rel=1e-5)
    assert one["rmse"][0] == pytest.approx(two["rmse"][0], rel=1e-4)
