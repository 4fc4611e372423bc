"""Tests of example.py; run them with pytest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from kptool import heatmaps, plugins

plugins.use(Path(__file__).with_name("example.py"))


def test_it_finds_the_centres_of_gaussians() -> None:
    truth = np.array([[[8.3, 9.6], [20.0, 14.2]]], np.float32)
    maps = torch.from_numpy(heatmaps.render(truth, (24, 32), 1.5))
    points, scores = plugins.load_decoder("example").function(maps)
    assert np.abs(points.numpy() - truth).max() < 0.1
    assert scores.shape == (1, 2)
    assert ((scores > 0.8) & (scores <= 1)).all()
