"""Trainings with --init and --freeze: notes, the card, frozen layers, resuming, refusals."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from test_train import run_processes, settings, weights

from kptool.base.errors import CheckpointError, ConfigError
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.system.signals import Stopped
from kptool.training import run

INIT = ("--set", "width=4", "--set", "batch_size=12", "--device", "cpu")


def test_the_command_says_and_remembers_what_was_taken(
    kptool: Any, faces: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ran = kptool("train", "unet", faces, "--out", out, "--init", run_folder, "--epochs", 1, *INIT, "--json")
    assert ran.code == 0, ran.err
    assert "# took 42 of 42 layers and the head of 15 of 15 keypoints from " in ran.err
    assert ran.err.count("do not rely on the run in") == 1  # two epochs are too few to beat the mean shape clearly
    remembered = cards.read_card(out / "model.safetensors").data["init"]
    assert ran.json()["init"] == remembered
    assert remembered["name"] == "unet"
    assert str(run_folder.parent) not in str(remembered)  # weights are shared, and must not reveal folders
    assert (remembered["layers"], remembered["layers_of"], len(remembered["keypoints"])) == (42, 42, 15)
    assert kptool("info", out, "--json").json()["data"]["init"] == remembered
    table = " ".join(kptool("info", out).out.split())
    assert "42 of 42 layers" in table
    assert remembered["sha256"][:12] in table


def test_a_start_from_weights_is_no_start_from_scratch(faces: Path, run_folder: Path, tmp_path: Path) -> None:
    chosen = settings(faces, epochs=1)
    plain = run.train(faces, tmp_path / "plain", *chosen, device="cpu")
    before = (plain.init, cards.read_card(plain.checkpoint).data.get("init"))
    begun = run.train(faces, tmp_path / "begun", *chosen, device="cpu", init=str(run_folder))
    assert before == (None, None)
    assert begun.init is not None
    assert begun.init["keypoints"][:1] == ["left_eye_center"]
    assert begun.metrics["rmse"] != plain.metrics["rmse"]
    again = run.train(faces, tmp_path / "again", *chosen, device="cpu", init=str(run_folder))
    assert again.metrics == begun.metrics


def test_frozen_layers_keep_weights_and_statistics(faces: Path, run_folder: Path, tmp_path: Path) -> None:
    before = checkpoint.load_model(run_folder / "model.safetensors")[0].state_dict()
    kept = []
    for epochs in (1, 2):
        out = tmp_path / str(epochs)
        run.train(faces, out, *settings(faces, epochs=epochs, freeze=1), device="cpu", init=str(run_folder))
        after = weights(out)
        layers = [n for n in before if not n.startswith(("offset", "network.head")) and "num_batches" not in n]
        kept.append([torch.equal(after[f"{part}.{n}"], before[n]) for part in ("detector", "average") for n in layers])
        assert not torch.equal(after["detector.network.head.weight"], before["network.head.weight"])
    assert all(kept[0])
    assert sum(kept[1]) < 0.1 * len(kept[1])


@pytest.mark.parametrize("stop", [2, 5])
def test_resuming_needs_no_weights_and_is_bit_for_bit(faces: Path, run_folder: Path, tmp_path: Path, stop: int) -> None:
    """Stopped while layers are frozen, and after that."""
    chosen = settings(faces, epochs=2, freeze=1)
    source = shutil.copytree(run_folder, tmp_path / "source")
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run.train(faces, straight, *chosen, device="cpu", init=str(source))

    def interrupt(what: str, done: int, total: int | None) -> None:
        if done == stop:
            raise KeyboardInterrupt

    if stop < 4:  # the middle of the first epoch is saved after a signal alone
        first = run_until(faces, stopped, chosen, source, stop)
        assert first["epoch"] == 0
    else:
        with pytest.raises(KeyboardInterrupt):
            run.train(faces, stopped, *chosen, device="cpu", init=str(source), progress=interrupt)
    shutil.rmtree(source)
    with pytest.raises(CheckpointError, match="started from source, not from elsewhere; resume without --init"):
        run.train(faces, stopped, *chosen, device="cpu", init="elsewhere", resume=True)
    given = str(source) if stop == 2 else None  # the same command, or without --init
    result = run.train(faces, stopped, *chosen, device="cpu", init=given, resume=True)
    assert (straight / "model.safetensors").read_bytes() == (stopped / "model.safetensors").read_bytes()
    expected, found = weights(straight), weights(stopped)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert result.init is not None


def run_until(faces: Path, out: Path, chosen: Any, source: Path, step: int) -> dict[str, Any]:
    def ask_to_end(what: str, done: int, total: int | None) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        run.train(faces, out, *chosen, device="cpu", init=str(source), progress=ask_to_end)
    return checkpoint.load_state(out / "last.ckpt")


def test_what_is_refused(refused: Any, faces: Path, run_folder: Path, tmp_path: Path) -> None:
    vgg = tmp_path / "vgg.safetensors"
    config = settings(faces, "vgg")[0]
    checkpoint.save_weights(vgg, KeypointModel(config), cards.Card(config))
    out = ("--out", tmp_path / "run", "--epochs", 1, *INIT)
    assert "name that model instead of all" in refused("train", "all", faces, "--init", run_folder, *out)
    assert "freeze=1 freezes layers that were taken from other weights; add --init" in refused(
        "train", "unet", faces, "--freeze", 1, *out
    )
    assert "freeze must be at least 0" in refused("train", "unet", faces, "--freeze", -1, *out)
    assert "the weights are of a vgg, and no layer fits" in refused("train", "unet", faces, "--init", vgg, *out)
    assert "there is no weights file or finished run at" in refused(
        "train", "unet", faces, "--init", tmp_path / "none", *out
    )
    assert not (tmp_path / "run").exists()
    chosen = settings(faces, epochs=2)
    shutil.copytree(run_folder, tmp_path / "scratch")
    with pytest.raises(CheckpointError, match="started from random weights, not from unet"):
        run.train(faces, tmp_path / "scratch", *chosen, device="cpu", resume=True, init="unet")


def test_images_that_the_weights_know_are_named(
    faces: Path, run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another fold's validation images are among those that the weights were trained on."""
    chosen = settings(faces, epochs=1)
    run.train(faces, tmp_path / "same", *chosen, device="cpu", init=str(run_folder))
    assert "are among the training images" not in caplog.text
    run.train(faces, tmp_path / "fold", *chosen, device="cpu", init=str(run_folder), fold=(0, 2))
    assert "of the 24 validation images are among the training images of" in caplog.text


def test_damaged_states_are_refused(faces: Path, run_folder: Path, tmp_path: Path) -> None:
    chosen = settings(faces, epochs=2)
    run.train(faces, tmp_path, *settings(faces, epochs=2), device="cpu", init=str(run_folder))
    state = checkpoint.load_state(tmp_path / "last.ckpt")
    for hostile in (["network.nothing"], 3, [None]):
        checkpoint.save_state(tmp_path / "last.ckpt", {**state, "taken": hostile})
        with pytest.raises(CheckpointError, match="does not fit the model"):
            run.train(faces, tmp_path, *chosen, device="cpu", resume=True)
    state["data"]["init"] = "unet"
    checkpoint.save_state(tmp_path / "last.ckpt", state)
    with pytest.raises(CheckpointError, match="from random weights"):
        run.train(faces, tmp_path, *chosen, device="cpu", resume=True, init="unet")


def test_freezing_needs_something_to_freeze(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="add --init, or omit it"):
        run.train(faces, tmp_path, *settings(faces, epochs=1, freeze=2), device="cpu")


@pytest.mark.slow
def test_two_processes_freeze_what_one_does(faces: Path, run_folder: Path, tmp_path: Path) -> None:
    arguments = ["-m", "kptool", "train", "unet", faces, "--epochs", "2", "--init", run_folder, "--freeze", "1"]
    for world in (1, 2):
        run_processes(world, [*arguments, *INIT, "--set", "amp=off", "--out", tmp_path / str(world)])
    one, two = (pd.read_csv(tmp_path / str(world) / "metrics.csv") for world in (1, 2))
    assert one["loss"].tolist() == pytest.approx(two["loss"].tolist(), rel=1e-4)
    assert one["rmse"].tolist() == pytest.approx(two["rmse"].tolist(), rel=1e-3)


def test_the_halvings_before_the_network_are_those_of_the_weights(
    kptool: Any, faces: Path, run_folder: Path, tmp_path: Path
) -> None:
    """A first layer that sees features would start from random values where the others know the picture."""
    small = ("train", "unet", faces, "--epochs", 1, *INIT)
    ran = kptool(*small, "--out", tmp_path / "a", "--set", "stem=1")
    assert ran.code == 0, ran.err
    assert kptool(*small, "--out", tmp_path / "b", "--init", tmp_path / "a").code == 0
    assert cards.read_card(tmp_path / "b" / "model.safetensors").config.stem == 1
    longer = ("train", "unet", faces, "--epochs", 2, *INIT, "--resume", "--out", tmp_path / "a")
    assert kptool(*longer).code == 0
    assert kptool(*small, "--out", tmp_path / "c", "--init", tmp_path / "a", "--set", "stem=0").code == 0
    assert cards.read_card(tmp_path / "c" / "model.safetensors").config.stem == 0
