"""Unsure heatmaps: of two peaks, the one that the other keypoints' positions make likely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kptool import Predictor, heatmaps
from kptool.base.config import ModelConfig
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.network.shape_prior import ShapePrior

SIZE = (64, 64)
BODY = np.array([[0, -18], [-10, -6], [10, -6], [-8, 10], [8, 10], [0, 20]], np.float64)


def animals(count: int, seed: int = 0, turned: float = 3.2) -> NDArray[np.float32]:
    """Shapes (count, 6, 2) of one body, at any place and angle, whose first and last keypoints swing together."""
    rng = np.random.default_rng(seed)
    swing = rng.normal(0, 3, (count, 1))
    shapes = np.repeat(BODY[None], count, 0) + rng.normal(0, 0.3, (count, 6, 2))
    shapes[:, 0, 0] += swing[:, 0]
    shapes[:, 5, 0] -= swing[:, 0]
    z = (shapes[..., 0] + 1j * shapes[..., 1]) * np.exp(1j * rng.uniform(-turned, turned, (count, 1)))
    z = z * rng.uniform(0.8, 1.1, (count, 1)) + rng.uniform(26, 38, (count, 1)) + 1j * rng.uniform(26, 38, (count, 1))
    return np.stack([z.real, z.imag], -1).astype(np.float32)


def prior(labelled: float = 1.0, count: int = 300) -> ShapePrior:
    shapes = animals(count)
    found = ShapePrior.fit(shapes, np.random.default_rng(1).random(shapes.shape[:2]) < labelled)
    assert found is not None
    return found


def read(maps: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    points, scores = heatmaps.decode(np.ascontiguousarray(maps, np.float32), "gaussian")
    return np.asarray(points), np.asarray(scores)


@pytest.mark.parametrize("labelled", [1.0, 0.7])
def test_of_two_peaks_it_takes_the_likely_one(labelled: float) -> None:
    shapes = animals(40, seed=5)
    maps = np.array(heatmaps.render(shapes, SIZE, 1.5))
    wrong = shapes[:, 5] + 2 * (shapes[:, :5].mean(1) - shapes[:, 5])  # on the other side of the body
    false = np.asarray(heatmaps.render(wrong[:, None], SIZE, 1.5))[:, 0]
    maps[:, 5] = 0.3 * maps[:, 5] + 0.4 * false
    points, scores = read(maps)
    assert np.linalg.norm(points[:, 5] - shapes[:, 5], axis=1).min() > 10
    revised = prior(labelled).revise(points, scores, lambda i, k: maps[i, k])
    off = np.linalg.norm(revised[:, 5] - shapes[:, 5], axis=1)
    assert np.quantile(off, 0.9) < 0.2  # from the peak, not from the shape
    assert np.array_equal(revised[:, :5], points[:, :5])


def test_what_is_sure_or_likely_stays_to_the_last_digit() -> None:
    shapes = animals(40, seed=6)
    maps = np.asarray(heatmaps.render(shapes, SIZE, 1.5))
    points, scores = read(maps)
    shape = prior()
    assert np.array_equal(shape.revise(points, scores, lambda i, k: maps[i, k]), points)
    assert np.array_equal(shape.revise(points, scores * 0.2, lambda i, k: maps[i, k]), points)
    far = points.copy()
    far[:, 2] += 25  # a sure keypoint may be anywhere
    assert np.array_equal(shape.revise(far, np.ones_like(scores), lambda i, k: maps[i, k]), far)


def test_an_empty_heatmap_gives_the_place_that_the_others_say() -> None:
    shapes = animals(40, seed=7)
    maps = np.array(heatmaps.render(shapes, SIZE, 1.5))
    maps[:, 3] = 0
    points, scores = read(maps)
    revised = prior().revise(points, scores, lambda i, k: maps[i, k])
    assert np.median(np.linalg.norm(revised[:, 3] - shapes[:, 3], axis=1)) < 2


def test_few_shapes_or_keypoints_give_none() -> None:
    shapes = animals(300)
    known = np.ones(shapes.shape[:2], bool)
    assert ShapePrior.fit(shapes[:20], known[:20]) is None
    assert ShapePrior.fit(shapes[:, :4], known[:, :4]) is None
    assert ShapePrior.fit(np.zeros_like(shapes), known) is None
    known[:, 2] = False
    partly = ShapePrior.fit(shapes, known)
    assert partly is not None
    assert np.isnan(partly.mean[2]).all()
    maps = np.asarray(heatmaps.render(shapes[:3], SIZE, 1.5))
    points, scores = read(maps)
    points[:, 2] = np.nan
    assert np.array_equal(
        partly.revise(points, scores * 0.1, lambda i, k: maps[i, k])[:, [0, 1, 3]], points[:, [0, 1, 3]]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None},
        {"mean": [[0, 0]]},
        {"basis": [1, 2]},
        {"basis": [["x"]] * 12},
        {"variance": [0] * 6},
        {"variance": [1e9] * 6},
        {"basis": [[1e30]] * 12},
        {"basis": [[float("nan")]] * 12},
    ],
)
def test_what_is_stored_may_be_anything(change: dict[str, Any]) -> None:
    stored = prior().to_dict()
    again = ShapePrior.of(stored, 6)
    assert again is not None
    assert np.allclose(again.basis, prior().basis, atol=1e-5)
    assert ShapePrior.of({**stored, **change}, 6) is None
    assert ShapePrior.of(stored, 7) is None
    assert ShapePrior.of([1], 6) is None
    assert ShapePrior.of({}, 6) is None


@pytest.mark.slow
def test_torch_and_a_graph_choose_alike(tmp_path: Path) -> None:
    from kptool.predict import export

    torch.manual_seed(1)
    config = ModelConfig("fcn", tuple("abcdef"), (), (32, 32), width=4)
    stored = ShapePrior.fit(animals(300) / 2, np.ones((300, 6), bool))
    assert stored is not None
    weights = tmp_path / "model.safetensors"
    metrics = {"presence": {"scale": 0.5, "shift": [8.0, -8.0, 8.0, 8.0, None, 8.0]}}  # heights count, not these scores
    card = cards.Card(config, {}, {cards.PRIOR: stored.to_dict()}, metrics)
    checkpoint.save_weights(weights, KeypointModel(config), card)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
    export.export(weights, tmp_path / "model.onnx", images)
    found = [Predictor(str(tmp_path / name)).backend.run(images) for name in ("model.safetensors", "model.onnx")]
    assert np.abs(found[0].points - found[1].points).max() < 0.05
    without, _ = checkpoint.load_model(weights)
    assert without.prior is not None
    without.prior = None
    plain = without.points(torch.from_numpy(images)[:, None])[0].numpy()
    assert np.abs(plain - found[0].points).max() > 1  # an untrained network is unsure of everything
