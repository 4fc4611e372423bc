"""Halvings in front of the network: the size of heatmaps, where their pixels are, and what other weights give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kptool.base.config import ModelConfig, configure
from kptool.base.skeleton import FACE15
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.training import init


def config(stem: int, **changes: object) -> ModelConfig:
    return ModelConfig("unet", ("a", "b"), (), **{"size": (64, 96), "width": 8, "stem": stem, **changes})


@pytest.mark.parametrize(("stem", "size"), [(0, (32, 48)), (1, (16, 24)), (2, (8, 12))])
def test_heatmaps_become_smaller_and_their_pixels_larger(stem: int, size: tuple[int, int]) -> None:
    model = KeypointModel(config(stem)).eval()
    assert model.heatmap_size == size
    maps = torch.full((1, 2, *size), -20.0)
    maps[:, :, 3, 5] = 20
    points, _, _ = model.read(model.activate(maps), "argmax")
    stride = 2 * 2**stem
    assert points[0, 0].tolist() == [(5 + 0.5) * stride - 0.5, (3 + 0.5) * stride - 0.5]
    assert model(torch.zeros(2, 1, 64, 96)).shape == (2, 2, *size)
    odd = KeypointModel(config(stem, size=(61, 91))).eval()
    assert tuple(odd(torch.zeros(1, 1, 61, 91)).shape[2:]) == odd.heatmap_size


def test_recipes_halve_large_images_only() -> None:
    for model in ("unet", "vgg"):
        assert configure(model, FACE15, (160, 160), 1, {})[0].stem == 0
        assert configure(model, FACE15, (96, 176), 1, {})[0].stem == 1
    assert configure("unet", FACE15, (256, 256), 1, {"stem": 0})[0].stem == 0


def test_weights_remember_it_and_are_taken_with_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = KeypointModel(config(1)).eval()
    path = tmp_path / "weights.safetensors"
    checkpoint.save_weights(path, model, cards.Card(config(1), {}, {}, {}))
    read, _ = checkpoint.load_model(path)
    pictures = torch.randint(0, 256, (1, 1, 64, 96)).float()
    assert torch.equal(read(pictures), model(pictures))
    same, other = KeypointModel(config(1, channels=3)), KeypointModel(config(0))
    assert init.take(same, str(path)).fresh == ()
    assert torch.allclose(same.eval()(pictures.expand(1, 3, 64, 96)), model(pictures), atol=1e-5)
    taken = init.take(other, str(path))
    assert taken.fresh == ("network.stem.0",)  # it sees the picture where the other saw features of it
    assert len(taken.layers) > 30
