"""What a training stores of its validation images: the calibration of its scores, or why there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kptool.base.config import ModelConfig, configure
from kptool.cache.store import Cache, CacheWriter, Info
from kptool.data.annotations import Samples
from kptool.evaluation.evaluation import Predictions, compare
from kptool.network.presence import Presence
from kptool.training.split import Split

NAMES = tuple("abcdef")


def split(folder: Path, visibility: np.ndarray, *, val: bool = True) -> Split:
    """A cache of 60 empty images, every second of which is for validation, or none."""
    info = Info(NAMES, (), (16, 16), 1, 1.0, 1, "none", 0, 0.5, "", "", "")
    count = len(visibility)
    points = np.where(visibility[..., None] > 0, 5.0, 0).astype(np.float32)
    with CacheWriter(folder / "d.h5", info) as cache:
        cache.append(Samples(np.zeros((count, 16, 16), np.uint8), points, visibility, np.arange(count)), None)
        cache.finish(np.arange(count).astype(np.uint8) % 2 * val, np.full(count, -1))
    with Cache(folder / "d.h5") as opened:
        return Split.load(opened, torch.device("cpu"))


def described(data: Split, model: str = "unet") -> dict[str, object]:
    """The metrics of a model whose peaks are high where there is a label."""
    scores = np.where(data.truth.labelled, 0.8, 0.2).astype(np.float32)
    found = Predictions(np.full((*scores.shape, 2), 5.0, np.float32), scores, np.ones_like(scores))
    config = ModelConfig(model, NAMES, (), size=(16, 16), loss="dsnt" if model == "unet" else "wing")
    return data.describe(compare(found, data.truth, config), config, 1)


def test_hidden_keypoints_calibrate_the_scores(tmp_path: Path) -> None:
    seen = np.full((60, 6), 2, np.uint8)
    seen[:20, 0], seen[30:50, 1] = 0, 0
    data = split(tmp_path, seen)
    metrics = described(data)
    assert "presence_missing" not in metrics
    presence = Presence.of(metrics, 6)
    assert presence is not None
    high, low = presence.apply(np.array([[0.8] * 6, [0.2] * 6]))
    assert (high > 0.97).all()
    assert (low[:2] < 0.1).all()
    assert "scores are not calibrated" not in str(metrics)
    assert "the model predicts coordinates" in str(described(data, "vgg")["presence_missing"])


def test_a_scheme_with_fewer_points_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen = np.full((60, 6), 2, np.uint8)
    seen[:30, :4] = 0
    data = split(tmp_path, seen)
    assert data.countable.tolist() == [False] * 4 + [True] * 2
    assert (
        "a, b, c and d lack their labels in the same pictures, 30 of 60, so they count as not labelled" in caplog.text
    )
    metrics = described(data)
    assert "presence" not in metrics
    assert "there are 60 and 0 that count" in str(metrics["presence_missing"])


def test_nothing_is_said_without_missing_labels_and_no_images_to_validate_give_a_reason(tmp_path: Path) -> None:
    seen = np.full((60, 6), 2, np.uint8)
    assert not {"presence", "presence_missing"} & set(described(split(tmp_path, seen)))
    seen[:30, 0] = 0
    metrics = described(split(tmp_path, seen, val=False))
    assert metrics["presence_missing"] == "scores are not calibrated, as there were no validation images"


def test_faces_are_turned_onto_their_mean_shape_as_predict_cuts_them(faces: Path) -> None:
    with Cache(faces) as cache:
        info = cache.info
        data = Split.load(cache, torch.device("cpu"))
    model, _ = configure("unet", info.skeleton, info.size, info.channels, {})
    assert np.array_equal(data.upright_shape(model), data.mean_shape)
    others = replace(model, names=tuple(f"point{i}" for i in range(len(model.names))))
    assert not np.allclose(data.upright_shape(others), data.mean_shape)
