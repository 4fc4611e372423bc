"""Fits the power law error(n) = a + b * n**-c to errors by number of training images n, and extrapolates it.

Errors of neural networks follow such a law over a wide range of n (Hestness et al., Deep learning scaling is predictable,
empirically, arXiv 1712.00409): a is the irreducible error, c the rate at which the rest falls. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError

Floats = NDArray[np.floating[Any]]

MOST = 4.0
"""The largest extrapolation, as a multiple of the measured images: beyond it a forecast is not reliable."""
LEVEL = 0.95
HARDLY, NOTHING = 0.02, 0.005
"""Shares of the error: a gain whose interval ends below the first is not worth the labels; one whose interval begins below
the second may be none."""
_DRAWS = 500
_EXPONENTS = np.geomspace(0.05, 3.0, 300)
_UNKNOWNS = 3


@dataclass(frozen=True)
class Law:
    """error(n) = a + b * n**-c, with a, b >= 0 and 0.05 <= c <= 3."""

    a: float
    b: float
    c: float

    def __call__(self, count: Any) -> Any:
        """The error at `count` images, a number or an array."""
        return self.a + self.b * np.asarray(count, np.float64) ** -self.c


@dataclass(frozen=True)
class Forecast:
    """The effect of `more` images: the error now and then, the gain, and its 95 % interval from `low` to `high`."""

    more: int
    images: int
    now: float
    then: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Fitted:
    """A law fitted to M points with `images` (M,), the laws fitted to bootstrap draws, and a verdict on twice the images.

    verdict: "gain", more images help; "flat", they hardly do; "noisy", the points do not tell.
    """

    images: NDArray[np.int64]
    law: Law
    draws: tuple[Law, ...]
    verdict: str

    def band(self, counts: Floats) -> tuple[Floats, Floats]:
        """The 95 % interval, low and high, of the error at `counts`."""
        return _interval(np.array([draw(counts) for draw in self.draws]))

    def forecast(self, more: int) -> Forecast:
        """The effect of `more` images. Raises ConfigError beyond the range of `check_reach`."""
        now = int(self.images.max())
        check_reach(now, more)
        low, high = _interval(np.array([draw(now) - draw(now + more) for draw in self.draws]))
        here, there = float(self.law(now)), float(self.law(now + more))
        return Forecast(more, now + more, here, there, here - there, float(low), float(high))


def check_reach(images: int, more: int) -> None:
    """Raise ConfigError unless `more` is at least 1 and makes at most 4 times the measured `images`."""
    most = int((MOST - 1) * images)
    if not 1 <= more <= most:
        raise ConfigError(
            f"from {images} images, a curve extends to at most {MOST:g} times as many, which is 1 to {most} more; got {more}"
        )


def enough(images: NDArray[np.int64]) -> bool:
    """Whether points at `images` (M,) determine a law with three unknowns, and their noise: 3 sizes, 4 points."""
    return len(np.unique(images)) >= _UNKNOWNS and len(images) > _UNKNOWNS


def fit(images: NDArray[np.int64], errors: Floats, *, seed: int = 0) -> Fitted:
    """Fit the law to `errors` (M,) measured with `images` (M,), which may repeat. Raises ConfigError unless `enough`."""
    counts, measured = np.asarray(images, np.float64), np.asarray(errors, np.float64)
    if not enough(images):
        raise ConfigError(
            f"a curve takes at least 3 sizes and 4 points; got {len(np.unique(counts))} and {len(counts)}"
        )
    law = _fit(counts, measured[None], 1 / measured)[0]
    draws = tuple(_bootstrap(counts, measured, law, np.random.default_rng(seed)))
    fitted = Fitted(np.asarray(images, np.int64), law, draws, "")
    twice = fitted.forecast(int(counts.max()))
    verdict = "flat" if twice.high < HARDLY * twice.now else "noisy" if twice.low < NOTHING * twice.now else "gain"
    return Fitted(fitted.images, law, draws, verdict)


def _bootstrap(counts: Floats, measured: Floats, law: Law, rng: np.random.Generator) -> list[Law]:
    """Laws fitted to points resampled around `law` with the relative residuals.

    Residuals of a fit are too small; they are scaled by sqrt(M / (M - unknowns)) (Davison & Hinkley, Bootstrap Methods and
    their Application, section 6.2).
    """
    expected = law(counts)
    residuals = (measured / expected - 1) * np.sqrt(len(counts) / (len(counts) - _UNKNOWNS))
    drawn = expected * (1 + rng.choice(residuals - residuals.mean(), (_DRAWS, len(counts))))
    return _fit(counts, drawn, 1 / expected)


def _fit(counts: Floats, measured: Floats, weights: Floats) -> list[Law]:
    """The laws fitted to the rows of `measured` (D, M): weighted least squares for every candidate exponent."""
    largest = counts.max()
    decay = weights * (counts / largest) ** -_EXPONENTS[:, None]
    target = weights * measured
    a, b, loss = _two_columns(weights, decay, target)
    best = loss.argmin(1)
    rows = np.arange(len(measured))
    c = _EXPONENTS[best]
    return [Law(*map(float, each)) for each in zip(a[rows, best], b[rows, best] * largest**c, c, strict=True)]


def _two_columns(first: Floats, second: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """target (D, M) ~ a * first (M,) + b * second (E, M) with a, b >= 0: a, b and the squared residual, (D, E) each.

    With two columns, the constrained minimum is the unconstrained one or lies at a = 0 or b = 0.
    """
    ff, fs, ss = first @ first, second @ first, (second * second).sum(1)
    tf, ts, tt = (target @ first)[:, None], target @ second.T, (target * target).sum(1)[:, None]
    determinant = np.maximum(ff * ss - fs * fs, 1e-300)

    def residual(a: Floats, b: Floats) -> Floats:
        return np.asarray(tt - 2 * (a * tf + b * ts) + a * a * ff + 2 * a * b * fs + b * b * ss)

    free = (tf * ss - ts * fs) / determinant, (ts * ff - tf * fs) / determinant
    candidates = [free, (np.zeros_like(ts), ts / ss), (np.broadcast_to(tf / ff, ts.shape), np.zeros_like(ts))]
    choices = [(a, b, np.where((a >= 0) & (b >= 0), residual(a, b), np.inf)) for a, b in candidates]
    best = np.argmin([loss for _, _, loss in choices], axis=0)[None]
    a, b, loss = (np.take_along_axis(np.array(parts), best, 0)[0] for parts in zip(*choices, strict=True))
    return a, b, loss


def _interval(draws: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval, low and high, over the first axis."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
