"""Tests of example.py; run them with pytest."""

from __future__ import annotations

from pathlib import Path

import torch

from kptool import heatmaps, plugins

plugins.use(Path(__file__).with_name("example.py"))


def test_the_heatmaps_have_the_stated_stride() -> None:
    model = plugins.load_model("example")
    for size in ((96, 96), (50, 71)):
        network = model.build(3, size, 1, 8).eval()
        expected = [-(-side // model.stride) for side in size]
        assert list(network(torch.rand(2, 1, *size)).shape) == [2, 3, *expected]


def test_it_learns_two_images() -> None:
    model = plugins.load_model("example")
    torch.manual_seed(0)
    network = model.build(1, (32, 32), 1, 8)
    images = torch.rand(2, 1, 32, 32)
    points = torch.tensor([[[8.0, 9.0]], [[20.0, 22.0]]]).numpy()
    target = torch.from_numpy(heatmaps.render(points, (32, 32), 1.5, stride=model.stride))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = (network(images) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
