"""Every loss equals its formula, computed element by element in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kptool import heatmaps, plugins
from kptool.losses import adaptive_wing as awing
from kptool.losses import wing

SETTINGS = settings(max_examples=30, deadline=None)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def mse_reference(output: np.ndarray, target: np.ndarray) -> float:
    return mean([(o - t) ** 2 for o, t in zip(output.flat, target.flat, strict=True)])


def wing_reference(output: np.ndarray, target: np.ndarray) -> float:
    errors = [abs(o - t) for o, t in zip(output.flat, target.flat, strict=True)]
    constant = wing.W - wing.W * math.log(1 + wing.W / wing.EPSILON)
    return mean([wing.W * math.log(1 + e / wing.EPSILON) if e < wing.W else e - constant for e in errors])


def bce_reference(output: np.ndarray, target: np.ndarray) -> float:
    """- t ln s - (1 - t) ln (1 - s), where s = 1 / (1 + e^-o)."""
    pairs = zip(output.flat, target.flat, strict=True)
    return mean([t * math.log1p(math.exp(-o)) + (1 - t) * math.log1p(math.exp(o)) for o, t in pairs])


def adaptive_wing_reference(output: np.ndarray, target: np.ndarray) -> float:
    height, width = target.shape
    total = []
    for y, x in np.ndindex(height, width):
        power, error = awing.ALPHA - target[y, x], abs(target[y, x] - output[y, x])
        share = awing.THETA / awing.EPSILON
        slope = awing.OMEGA / (1 + share**power) * power * share ** (power - 1) / awing.EPSILON
        offset = awing.THETA * slope - awing.OMEGA * math.log(1 + share**power)
        near = awing.OMEGA * math.log(1 + (error / awing.EPSILON) ** power)
        around = target[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max()
        weight = 1 + awing.WEIGHT * (around >= 0.2)
        total.append(weight * (near if error < awing.THETA else slope * error - offset))
    return mean(total)


def dsnt_reference(output: np.ndarray, target: np.ndarray, point: np.ndarray) -> float:
    height, width = output.shape
    weights = [math.exp(o - output.max()) for o in output.flat]
    p = np.array(weights).reshape(height, width) / math.fsum(weights)
    truth = target / max(math.fsum(target.flat), 1e-6)
    x = math.fsum(p[j, i] * i for j, i in np.ndindex(height, width))
    y = math.fsum(p[j, i] * j for j, i in np.ndindex(height, width))
    distance = math.hypot((x - point[0]) * 2 / width, (y - point[1]) * 2 / height)
    divergence = [t * math.log(t / q) for t, q in zip(truth.flat, p.flat, strict=True) if t > 0]
    return math.sqrt(distance**2 + 1e-8) + math.fsum(divergence)


@SETTINGS
@given(st.integers(0, 2**32), st.floats(-4, 1))
@pytest.mark.parametrize(("name", "reference"), [("mse", mse_reference), ("wing", wing_reference)])
def test_losses_on_coordinates(name: str, reference: object, seed: int, size: float) -> None:
    """Errors from far below the wing's knee to far above it."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, (2, 3, 2)).astype(np.float32)
    output = (target + 10**size * rng.normal(size=target.shape)).astype(np.float32)
    found = plugins.load_loss(name).function(*(torch.from_numpy(a) for a in (output, target, target)))
    for n, k in np.ndindex(2, 3):
        exact = reference(output[n, k].astype(float), target[n, k].astype(float))  # type: ignore[operator]
        assert float(found[n, k]) == pytest.approx(exact, rel=1e-5, abs=1e-12)


@SETTINGS
@given(st.integers(0, 2**32), st.integers(3, 12), st.integers(3, 12), st.floats(0.5, 3), st.booleans())
@pytest.mark.parametrize("name", ["heatmap-mse", "bce", "adaptive-wing", "dsnt"])
def test_losses_on_heatmaps(name: str, seed: int, height: int, width: int, sigma: float, close: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, [width - 1, height - 1], (1, 2, 2))
    target = heatmaps.render(points, (height, width), sigma)
    output = ((target if close else 0) + rng.normal(0, 0.1 if close else 3, target.shape)).astype(np.float32)
    arrays = (output, target, points.astype(np.float32))
    found = plugins.load_loss(name).function(*(torch.from_numpy(a) for a in arrays))
    for k in range(2):
        o, t = output[0, k].astype(float), target[0, k].astype(float)
        exact = {
            "heatmap-mse": lambda o=o, t=t: mse_reference(o, t),
            "bce": lambda o=o, t=t: bce_reference(o, t),
            "adaptive-wing": lambda o=o, t=t: adaptive_wing_reference(o, t),
            "dsnt": lambda o=o, t=t, k=k: dsnt_reference(o, t, points[0, k]),
        }[name]()
        assert float(found[0, k]) == pytest.approx(exact, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", plugins.names("losses"))
def test_every_loss_has_a_reference(name: str) -> None:
    """Add the formula of a new loss here."""
    assert name in {"mse", "wing", "heatmap-mse", "bce", "adaptive-wing", "dsnt"}


def test_dsnt_of_an_empty_target_is_lowest_for_a_uniform_map() -> None:
    """KL(u || p) = -ln n - mean ln p, whatever the point is."""
    rng = np.random.default_rng(0)
    raw = torch.from_numpy(rng.normal(size=(2, 1, 5, 7)).astype(np.float32)).requires_grad_()
    function = plugins.load_loss("dsnt").function
    empty, nowhere = torch.zeros_like(raw), torch.full((2, 1, 2), 1e4)
    loss = function(raw, empty, nowhere)
    expected = -math.log(35) - torch.log_softmax(raw.flatten(2), -1).mean(-1)
    assert torch.allclose(loss, expected, atol=1e-5)
    assert torch.allclose(function(torch.full_like(raw, 3.0), empty, nowhere), torch.zeros(2, 1), atol=1e-5)
    loss.sum().backward()
    assert torch.allclose(raw.grad, raw.detach().flatten(2).softmax(-1).view_as(raw) - 1 / 35, atol=1e-6)


@SETTINGS
@given(st.integers(0, 2**32), st.integers(3, 12), st.integers(3, 12), st.floats(0.5, 3), st.booleans())
@pytest.mark.parametrize("name", ["bce", "dsnt"])
def test_losses_of_separable_targets(name: str, seed: int, height: int, width: int, sigma: float, peaked: bool) -> None:
    """Those of the targets' outer product, and their gradients; the second target is empty."""
    rng = np.random.default_rng(seed)
    points = torch.from_numpy(rng.uniform(0, [width - 1, height - 1], (1, 3, 2)))
    row, column = (
        torch.exp(-0.5 * ((torch.arange(side) - points[..., axis, None]) / sigma).square())
        for axis, side in enumerate((width, height))
    )
    row[:, 1], column[:, 1] = 0, 0
    target = column[..., None] * row[..., None, :]
    start = target * 9 if peaked else torch.from_numpy(rng.normal(0, 3, target.shape))
    loss = plugins.load_loss(name)
    assert loss.separable is not None
    found = []
    for function, parts in ((loss.function, (target,)), (loss.separable, (column, row))):
        output = start.float().requires_grad_()
        each = function(output, *(part.float() for part in parts), points.float())
        each.sum().backward()
        found.append((each, output.grad))
    # Within a hundredth of the map of the true point, rounding turns the direction of the distance, and its gradient.
    p = start.float().flatten(2).softmax(-1).view(start.shape)
    mean = torch.stack([p.sum(-2) @ torch.arange(float(width)), p.sum(-1) @ torch.arange(float(height))], -1)
    apart = (mean - points.float()).norm(dim=-1) > 0.01 * min(height, width)
    apart[:, 1] = True
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(found[1][1][apart], found[0][1][apart], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("beyond", [0.0, 2.0, 6.0, 12.0, 1000.0])
@pytest.mark.parametrize("shift", [-50.0, 0.0, 50.0])
def test_points_outside_the_map_have_a_bounded_loss(beyond: float, shift: float) -> None:
    """The same from factors, which then sum to little or nothing."""
    points = torch.tensor([[[11 + beyond, 5.0]]])
    row, column = (
        torch.exp(-0.5 * ((torch.arange(side) - points[..., axis, None]) / 2).square())
        for axis, side in enumerate((12, 10))
    )
    output = torch.full((1, 1, 10, 12), shift)
    loss = plugins.load_loss("dsnt")
    assert loss.separable is not None
    drawn = float(loss.function(output, column[..., None] * row[..., None, :], points))
    assert 0 <= drawn < 10
    assert float(loss.separable(output, column, row, points)) == pytest.approx(drawn, abs=1e-4)
