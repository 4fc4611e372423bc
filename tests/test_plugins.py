"""Contracts for plugins: the tests run over every plugin that is found."""

from __future__ import annotations

import math
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from kptool import heatmaps, plugins
from kptool.base.config import RECIPES, configure
from kptool.base.errors import ConfigError
from kptool.base.skeleton import FACE15, Skeleton
from kptool.data.annotations import Dataset
from kptool.network.keypoint_model import Inference, KeypointModel, decode

MODELS, LOSSES = plugins.names("models"), plugins.names("losses")
HEATMAP_LOSSES = [name for name in LOSSES if plugins.load_loss(name).output == "heatmap"]
DECODERS = plugins.names("decoders")


def test_the_four_models_and_their_losses_are_there() -> None:
    assert {"vgg", "resnet", "fcn", "unet"} <= set(MODELS)
    assert {"mse", "wing", "bce", "heatmap-mse", "adaptive-wing", "dsnt"} <= set(LOSSES)
    assert set(heatmaps.METHODS) <= set(DECODERS)


def test_names_are_listed_without_torch() -> None:
    code = "import sys; from kptool import plugins; plugins.names('models'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_an_unknown_plugin_is_named_with_its_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no model 'unett'; did you mean 'unet'"):
        plugins.load("models", "unett")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("size", "channels", "keypoints"), [((96, 96), 1, 15), ((50, 71), 3, 4), ((32, 32), 1, 1)])
def test_model_shapes(name: str, size: tuple[int, int], channels: int, keypoints: int) -> None:
    skeleton = Skeleton(tuple(f"p{k}" for k in range(keypoints)))
    config, _ = configure(name, skeleton, size, channels, {"width": 4})
    model = KeypointModel(config).eval()
    images = torch.randint(0, 256, (2, channels, *size), dtype=torch.uint8)
    raw = model(images)
    expected = (2, keypoints, 2) if model.plugin.output == "coordinates" else (2, keypoints, *model.heatmap_size)
    assert tuple(raw.shape) == expected
    points, scores, std = model.points(images)
    assert tuple(points.shape) == (2, keypoints, 2)
    assert torch.isfinite(points).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores.shape == std.shape
    assert (std >= 0.5).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_can_overfit_a_handful(name: str) -> None:
    """Gradients reach every parameter, and a few steps on one batch reduce the loss considerably."""
    torch.manual_seed(0)
    skeleton = Skeleton(("a", "b"))
    config, _ = configure(name, skeleton, (32, 32), 1, {"width": 8})
    model = KeypointModel(config)
    images = torch.rand(4, 1, 32, 32) * 255
    points = torch.tensor([[[8.0, 9.0], [20.0, 22.0]]]).repeat(4, 1, 1) + torch.arange(4).view(4, 1, 1)
    from kptool.training.augmentation import Batch
    from kptool.training.targets import Targets

    batch = Batch(images, points, torch.ones(4, 2, dtype=torch.bool))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses, targets = [], Targets(model)
    for _ in range(60):
        target, where = targets(batch)
        loss = model.loss.function(model(images), target, where).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_recipe_that_fits(name: str) -> None:
    assert name in RECIPES
    config, _ = configure(name, FACE15, (96, 96), 1, {})
    assert KeypointModel(config).loss.output == plugins.load_model(name).output


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_least_at_the_truth_and_differentiable(name: str) -> None:
    loss = plugins.load_loss(name)
    points = torch.tensor([[[7.3, 8.6], [4.0, 11.2]]])
    target, perfect, near, far = _outputs(name, points)
    values = [
        loss.function(output, target, points if loss.output == "heatmap" else target) for output in (perfect, near, far)
    ]
    assert all(value.shape == (1, 2) for value in values)
    assert (values[0] <= values[1]).all()
    assert (values[1] < values[2]).all()
    leaf = near.clone().requires_grad_()
    loss.function(leaf, target, points if loss.output == "heatmap" else target).sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.abs().sum() > 0


def _outputs(name: str, points: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The target, and raw outputs that are perfect, one pixel off and four pixels off."""
    loss = plugins.load_loss(name)
    shifted = [points, points + 1.0, points + 4.0]
    if loss.output == "coordinates":
        target, *outputs = (p / 8 - 1 for p in (points, *shifted))
        return (target, *outputs)
    maps = [torch.from_numpy(heatmaps.render(p.numpy(), (16, 16), 1.5)) for p in shifted]
    raw = {"bce": lambda m: torch.logit(m.clamp(1e-4, 1 - 1e-4)), "dsnt": lambda m: m.clamp_min(1e-12).log()}.get(
        name, lambda m: m
    )
    return (maps[0], *map(raw, maps))


@pytest.mark.parametrize("name", HEATMAP_LOSSES)
def test_activations_give_a_map_that_peaks_near_one(name: str) -> None:
    points = torch.tensor([[[7.0, 8.0], [5.0, 9.0]]])
    _, perfect, _, _ = _outputs(name, points)
    activation = plugins.load_loss(name).activation
    assert activation is not None
    maps = activation(perfect, 1.5)
    assert torch.allclose(maps.amax((-2, -1)), torch.ones(1, 2), atol=0.02)


def test_wing_equals_its_formula() -> None:
    from kptool.losses.wing import EPSILON, W, wing

    error = torch.tensor([0.5 * W, 2 * W])
    expected = [W * math.log(1 + 0.5 * W / EPSILON), 2 * W - (W - W * math.log(1 + W / EPSILON))]
    output = error.view(2, 1, 1).repeat(1, 1, 2)
    assert wing(output, torch.zeros_like(output), output)[:, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_adaptive_wing_is_continuous_where_its_branches_meet() -> None:
    from kptool.losses.adaptive_wing import THETA, adaptive_wing

    target = torch.full((1, 1, 3, 3), 0.7)
    below, above = (adaptive_wing(target - THETA + step, target, target) for step in (1e-4, -1e-4))
    assert torch.allclose(below, above, rtol=1e-3)


@pytest.mark.parametrize("name", sorted(set(DECODERS) & set(heatmaps.METHODS)))
def test_decoders_in_torch_equal_the_core(name: str) -> None:
    """Within 1e-3 pixels, on clean, noisy, truncated and degenerate maps."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-1, 33, (40, 3, 2)).astype(np.float32)
    maps = heatmaps.render(points, (32, 32), 1.7)
    maps[10:] += rng.normal(0, 0.01, maps[10:].shape).astype(np.float32)
    maps[0] = 0
    maps[1] = 0.25
    maps[2, :, 5, 5] = np.nan
    maps[3, :, 9, 9] = np.inf
    expected, sure = heatmaps.decode(maps, name)
    found, scores = plugins.load_decoder(name).function(torch.from_numpy(maps))
    assert np.abs(found.numpy() - expected).max() < 1e-3
    assert np.abs(scores.numpy() - sure).max() < 1e-5


@pytest.mark.parametrize("name", plugins.names("datasets"))
def test_datasets_export_a_reader(name: str) -> None:
    reader = plugins.load("datasets", name)
    assert isinstance(reader, Dataset)
    assert reader.summary


def test_a_decoder_that_only_torch_knows_decodes_on_the_cpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder in one new file is used in training, evaluation and prediction, which decode by its name."""
    module = types.ModuleType("kptool.decoders.own_way")
    module.DECODER = plugins.Decoder(lambda maps: (maps.flatten(2)[..., :2] * 7, maps.amax((2, 3)).double()), "mine")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(plugins, "own_names", lambda kind, names=plugins.own_names: (*names(kind), "own-way"))
    maps = torch.rand(3, 2, 5, 6)
    points, scores = decode(maps, "own-way")
    assert torch.equal(points, maps.flatten(2)[..., :2] * 7)
    assert torch.equal(scores, maps.amax((2, 3)))
    config, _ = configure("unet", Skeleton(("a", "b")), (32, 32), 1, {"width": 4, "decoder": "own-way"})
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    for model in (KeypointModel(config).eval(), KeypointModel(replace(config, decoder="gaussian")).eval()):
        points, scores, _ = model.points(images, Inference(decoder="own-way"))
        expected = model.output(images).detach().flatten(2)[..., :2] * 7
        assert torch.allclose((points - model.offset + 0.5) / model.plugin.stride - 0.5, expected, atol=1e-4)
        assert scores.dtype == torch.float32
