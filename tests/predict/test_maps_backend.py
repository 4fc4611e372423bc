"""The graph that ends with heatmaps: its points are torch's, and a damaged one is passed over."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from kptool.base.errors import CheckpointError
from kptool.network import cards
from kptool.network.keypoint_model import heatmap_std
from kptool.predict import agreement, backends, export, maps_backend
from kptool.predict.maps_backend import MapsBackend


@pytest.mark.parametrize("name", ["unet", "unet-small"])
def test_the_shipped_graphs_give_torch_s_points(name: str) -> None:
    shipped = cards.resolve(name, Path("no runs"))[0]
    pictures = agreement.synthetic(cards.read_card(shipped).config).images
    backend, torch_s = backends.load(shipped, "cpu"), backends.TorchBackend(shipped, "cpu")
    assert isinstance(backend, MapsBackend)
    ours, theirs = backend.run(pictures, heatmaps=True), torch_s.run(pictures, heatmaps=True)
    assert np.abs(ours.points - theirs.points).max() < export.TOLERANCE
    assert np.abs(ours.scores - theirs.scores).max() < 1e-3
    assert np.allclose(ours.radius90, theirs.radius90, rtol=1e-3, equal_nan=True)
    assert ours.heatmaps is not None
    assert theirs.heatmaps is not None
    assert np.abs(ours.heatmaps - theirs.heatmaps).max() < 1e-3
    assert backend.run(pictures).heatmaps is None
    again = pickle.loads(pickle.dumps(backend))
    assert np.array_equal(again.run(pictures).points, ours.points)


def test_the_spread_is_that_of_tensors() -> None:
    maps = np.random.default_rng(0).normal(0.1, 0.3, (3, 2, 11, 17)).astype(np.float32)
    maps[0, 0] = 0
    assert np.allclose(maps_backend.spread(maps), heatmap_std(torch.from_numpy(maps)).numpy(), rtol=1e-4)


@pytest.mark.long
def test_a_graph_is_written_beside_weights_and_used(
    graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = Path(shutil.copy(graph.with_name(cards.WEIGHTS), tmp_path))
    beside = weights.with_suffix(maps_backend.SUFFIX)
    shown = agreement.synthetic(cards.read_card(weights).config).images
    assert export.write_maps(weights, beside, shown) <= export.TOLERANCE
    assert isinstance(backends.load(weights, "cpu"), MapsBackend)
    content = beside.read_bytes()
    for broken in (content[: len(content) // 2], b"", graph.read_bytes()):
        beside.write_bytes(broken)
        caplog.clear()
        assert backends.load(weights, "cpu").name == "torch"
        assert str(beside) in caplog.text
    with pytest.raises(CheckpointError, match="not a graph of heatmaps"):
        MapsBackend(graph)
