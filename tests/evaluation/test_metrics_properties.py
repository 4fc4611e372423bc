"""Every metric equals its definition, computed element by element in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kptool.base.skeleton import FACE15
from kptool.evaluation import metrics

SETTINGS = settings(max_examples=40, deadline=None)
LEFT, RIGHT = (FACE15.names.index(f"{side}_eye_outer_corner") for side in ("left", "right"))


@dataclass(frozen=True)
class Case:
    """Points of a few faces, some unlabelled, with predictions that are near, far or exact."""

    predicted: np.ndarray
    truth: np.ndarray
    visibility: np.ndarray
    names: tuple[str, ...]

    def measure(self) -> metrics.Metrics:
        return metrics.measure(self.predicted, self.truth, self.visibility, self.names)

    def distances(self, n: int) -> list[float]:
        pairs = zip(self.predicted[n].tolist(), self.truth[n].tolist(), self.visibility[n], strict=True)
        return [math.dist(p, t) for p, t, seen in pairs if seen]

    def scale(self, n: int) -> float:
        """The normalisation of an image's NME: the outer eye corners, else the box of labelled points, else 1."""
        if self.names == FACE15.names and self.visibility[n, LEFT] and self.visibility[n, RIGHT]:
            between = math.dist(self.truth[n, LEFT].tolist(), self.truth[n, RIGHT].tolist())
            if between >= 1:
                return between
        x, y = self.truth[n][self.visibility[n] > 0].astype(float).T
        area = (max(x) - min(x)) * (max(y) - min(y))
        return math.sqrt(area) if len(x) > 2 and area >= 1 else 1.0

    def images(self) -> list[int]:
        return [n for n in range(len(self.truth)) if self.visibility[n].any()]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = draw(st.sampled_from([FACE15.names, ("a", "b", "c"), ("a",)]))
    count, size = draw(st.integers(1, 5)), draw(st.sampled_from([1.5, 20, 300]))
    truth = rng.uniform(0, size, (count, len(names), 2))
    predicted = truth + size * 10 ** rng.uniform(-4, 0, (count, 1, 1)) * rng.normal(size=truth.shape)
    visibility = rng.integers(0, 3, truth.shape[:2]).astype(np.uint8)
    if draw(st.booleans()):
        visibility[rng.integers(count)] = 0
    visibility[0, 0] = 1  # or there is nothing to measure
    kind = draw(st.sampled_from([np.float32, np.float64]))
    return Case(predicted.astype(kind), truth.astype(kind), visibility, names)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


@SETTINGS
@given(cases())
def test_every_number_is_its_definition(case: Case) -> None:
    found, images = case.measure(), case.images()
    pooled = [(n, d) for n in images for d in case.distances(n)]
    nme = [mean(case.distances(n)) / case.scale(n) for n in images]
    close = 1e-5 if case.truth.dtype == np.float32 else 1e-12
    assert found.images == len(images)
    assert found.rmse == pytest.approx(math.sqrt(mean([d**2 for _, d in pooled]) / 2), rel=close)
    assert found.nme == pytest.approx(mean(nme), rel=close)
    assert found.auc == pytest.approx(mean([max(0.0, 1 - e / 0.08) for e in nme]), rel=100 * close, abs=100 * close)
    assert found.failure_rate == mean([float(e > 0.08) for e in nme])
    assert found.pck == {
        name: mean([float(d / case.scale(n) <= level) for n, d in pooled])
        for name, level in (("0.05", 0.05), ("0.1", 0.1), ("0.2", 0.2))
    }
    for k, name in enumerate(case.names):
        own = [math.dist(case.predicted[n, k], case.truth[n, k]) for n in images if case.visibility[n, k]]
        expected = math.sqrt(mean([d**2 for d in own]) / 2) if own else None
        assert found.per_keypoint[name] == (None if expected is None else pytest.approx(expected, rel=10 * close))


@SETTINGS
@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=9), st.integers(1, 40))
def test_the_cumulative_curve_counts_what_is_at_or_below(nme: list[float], steps: int) -> None:
    thresholds, share = metrics.cumulative_errors(np.array(nme), steps)
    assert thresholds == pytest.approx([0.08 * i / steps for i in range(steps + 1)])
    assert share.tolist() == [mean([float(e <= t) for e in nme]) for t in thresholds]


@SETTINGS
@given(cases())
def test_the_mean_shape_is_the_mean(case: Case) -> None:
    shape = metrics.mean_shape(case.truth, case.visibility)
    for k in range(len(case.names)):
        seen = case.truth[case.visibility[:, k] > 0, k].astype(float)
        expected = [mean(list(axis)) for axis in seen.T] if len(seen) else [math.nan] * 2
        assert shape[k].tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True)
