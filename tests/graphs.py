"""Exported graphs that tests of several files share: tracing one takes seconds."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kptool.base.config import configure
from kptool.cache.store import Cache
from kptool.cli.main import main
from kptool.network import cards, checkpoint
from kptool.training import run

KNOWN = {"y": 0.5, "y_error": 0.1, "y_from": "a test"}
"""How far the labels of `with_everything` lie below the features, in addition to the measured offset."""
FAST = {"width": 4, "batch_size": 12, "prior": False}
"""A model that is unsure of everything, of which a graph gives the highest peaks."""
ODDS = [8.0, -8.0, *[8.0] * 12, None]
"""The calibration of `with_everything`: all keypoints are there but the second; the last is not calibrated."""


def trained(model: str, faces: Path, folder: Path) -> Path:
    """Weights after one epoch on `faces`."""
    with Cache(faces) as cache:
        info = cache.info
    settings = configure(model, info.skeleton, info.size, info.channels, {**FAST, "epochs": 1})
    return run.train(faces, folder, *settings, device="cpu").checkpoint


def with_everything(weights: Path, out: Path) -> Path:
    """A copy of weights with all that a graph can carry: a label shift in x and y, and calibrated scores."""
    model, card = checkpoint.load_model(weights)
    with torch.no_grad():
        model.offset += torch.tensor([1.5, -0.25])
    metrics = {**card.metrics, "presence": {"scale": 0.5, "shift": ODDS}}
    checkpoint.save_weights(out, model, dataclasses.replace(card, metrics=metrics, labels=KNOWN))
    return out


def unet(run_folder: Path, faces: Path, folder: Path) -> None:
    """The default model `with_everything` and its graph of points on features, written by the command line with its JSON."""
    weights = with_everything(run_folder / cards.WEIGHTS, folder / cards.WEIGHTS)
    with (
        (folder / "said.json").open("w") as said,
        contextlib.redirect_stdout(said),
        pytest.raises(SystemExit) as ended,
    ):
        main(["export", str(weights), "--out", str(folder / cards.GRAPH), "--cache", str(faces), "--json"])
    assert not ended.value.code


def resnet(faces: Path, folder: Path) -> None:
    """A model of coordinates `with_everything`, its graph of points as labelled, and its difference from torch on six images."""
    from kptool.predict import export

    weights = with_everything(trained("resnet", faces, folder / "run"), folder / cards.WEIGHTS)
    with Cache(faces) as cache:
        images = cache.read("images", np.arange(6))
    done = export.export(weights, folder / cards.GRAPH, images, as_labelled=True)
    assert done.difference.points <= export.TOLERANCE
    assert (done.points, done.half, done.images) == ("as labelled", None, 6)
