"""Golden files of schema 1: every version of kptool reads them, with the same values.

If a test here fails, kptool can no longer read existing files, or computes something else from them. Fix kptool; the
files in `golden/` are never regenerated (see `golden/make.py`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kptool.base.config import model_from_dict, train_from_dict
from kptool.cache.store import Cache, Info
from kptool.network import checkpoint
from kptool.predict import backends
from kptool.system.workers import Workers
from kptool.training.state import restore_state
from kptool.training.trainer import Trainer

GOLDEN = Path(__file__).parent / "golden"
sys.path.append(str(GOLDEN))
import make  # noqa: E402

NUMBERS: dict[str, Any] = json.loads((GOLDEN / make.NUMBERS).read_text(encoding="utf-8"))
PIXELS = 0.02
"""Other processors and torch releases add in another order; the tolerance is below anything visible."""


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the golden files, unpacked."""
    folder = tmp_path_factory.mktemp("golden")
    make.unpack(folder)
    return folder


@pytest.mark.parametrize("name", [make.GREY, make.COLOUR])
def test_caches_hold_the_same_numbers(golden: Path, name: str) -> None:
    """Equal exactly: reading a cache computes nothing."""
    expected = NUMBERS[name]
    with Cache(golden / name) as cache:
        stored = {**expected["info"], "size": tuple(expected["info"]["size"])}
        stored |= {"names": tuple(stored["names"]), "flip_pairs": tuple(map(tuple, stored["flip_pairs"]))}
        assert cache.info == Info(**stored)
        for part in ("keypoints", "visibility", "split", "row", "group", "affine"):
            assert cache.read(part).tolist() == expected[part]
        assert make.checksum(cache.read("images")) == expected["images"]
        assert (cache.info.heatmaps == "none") == ("heatmaps" not in expected)
        if "heatmaps" in expected:
            assert make.checksum(cache.read("heatmaps")) == pytest.approx(expected["heatmaps"], rel=1e-12)


@pytest.mark.parametrize("name", [make.WEIGHTS, make.GRAPH])
def test_models_find_the_same_points(golden: Path, name: str) -> None:
    """From float16 weights in torch, and from the graph in ONNX Runtime."""
    expected = NUMBERS[name]
    network = backends.load(golden / name) if name == make.GRAPH else backends.TorchBackend(golden / name, "cpu")
    with Cache(golden / make.GREY) as cache:
        found = network.run(cache.read("images"))
    assert np.abs(found.points - np.array(expected["points"])).max() < PIXELS
    assert np.abs(found.scores - np.array(expected["scores"])).max() < 1e-3
    assert np.allclose(found.radius90, np.array(expected["radius90"], float), rtol=1e-2, equal_nan=True)
    card = network.card
    stored = expected["card"]
    assert (card.training, card.data, card.metrics) == (stored["training"], stored["data"], stored["metrics"])
    assert card.config == model_from_dict(stored["config"])


def test_the_graph_still_is_of_the_weights(golden: Path) -> None:
    """So that the graph is used when it lies beside them."""
    graph = backends.OnnxBackend(golden / make.GRAPH)
    assert graph.weights == backends.weights_hash(golden / make.WEIGHTS)


def test_a_training_goes_on_from_its_state(golden: Path) -> None:
    expected = NUMBERS[make.STATE]
    state = checkpoint.load_state(golden / make.STATE)
    plain = json.loads(json.dumps({key: state[key] for key in expected if key != "sums"}))  # tuples become lists
    assert {**plain, "sums": expected["sums"]} == expected
    config = train_from_dict(state["training"])
    trainer = Trainer(model_from_dict(state["config"]), config, torch.device("cpu"), Workers())
    restore_state(trainer, state)
    assert (trainer.step, trainer.epoch) == (expected["step"], expected["epoch"])
    for part, model in (("detector", trainer.model), ("average", trainer.average)):
        assert make.state_sum(model.state_dict()) == pytest.approx(expected["sums"][part], rel=1e-12)
    assert len(trainer.optimizer.state) == len(list(trainer.model.parameters()))


def test_the_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.glob("*.*")) < 300_000
