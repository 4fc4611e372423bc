"""Tests of example.py; run them with pytest."""

from __future__ import annotations

from pathlib import Path

import torch

from kptool import plugins

plugins.use(Path(__file__).with_name("example.py"))


def test_it_is_least_at_the_truth_and_has_a_gradient() -> None:
    loss = plugins.load_loss("example").function
    target = torch.tensor([[[0.1, -0.3], [0.5, 0.2]]])
    exact, near, far = (loss(target + error, target, target) for error in (0.0, 0.05, 0.5))
    assert exact.shape == (1, 2)
    assert (exact < near).all()
    assert (near < far).all()
    output = (target + 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(output, target, target).sum(), output)
    assert torch.isfinite(gradient).all()
    assert (gradient > 0).all()
