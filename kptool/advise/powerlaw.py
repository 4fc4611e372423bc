"""How an error falls with the number of training images: error(n) = a + b * n**-c, fitted and carried a little further.

Errors of networks follow such a law over a wide range of n (Hestness et al., Deep learning scaling is predictable,
empirically, arXiv 1712.00409): a is what no amount of such data takes away, c how fast the rest goes. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError

Floats = NDArray[np.floating[Any]]

MOST = 4.0
"""As many times the measured images as a forecast may reach; beyond, the law is a guess about another data set."""
LEVEL = 0.95
HARDLY, NOTHING = 0.02, 0.005
"""Shares of the error: a gain that is surely below the first is not worth the labels; below the second it may be none."""
_DRAWS = 500
_EXPONENTS = np.geomspace(0.05, 3.0, 300)
_UNKNOWNS = 3


@dataclass(frozen=True)
class Law:
    """error(n) = a + b * n**-c; a and b are not negative, c is 0.05 to 3."""

    a: float
    b: float
    c: float

    def __call__(self, count: Any) -> Any:
        """The error at `count` images."""
        return self.a + self.b * np.asarray(count, np.float64) ** -self.c


@dataclass(frozen=True)
class Forecast:
    """What `more` images would bring: the error now and then, the gain, and the ends of the gain's 95 % interval."""

    more: int
    images: int
    now: float
    then: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Fitted:
    """A law through points (M,), the laws of as many bootstrap draws, and what can be said of twice the images.

    verdict: "gain", more images help; "flat", they surely hardly do; "noisy", the points do not tell.
    """

    images: NDArray[np.int64]
    law: Law
    draws: tuple[Law, ...]
    verdict: str

    def band(self, counts: Floats) -> tuple[Floats, Floats]:
        """The ends of the 95 % interval of the error at `counts`."""
        return _ends(np.array([draw(counts) for draw in self.draws]))

    def forecast(self, more: int) -> Forecast:
        """What `more` images would bring. Raises ConfigError where that is too many to say: see `check_reach`."""
        now = int(self.images.max())
        check_reach(now, more)
        low, high = _ends(np.array([draw(now) - draw(now + more) for draw in self.draws]))
        here, there = float(self.law(now)), float(self.law(now + more))
        return Forecast(more, now + more, here, there, here - there, float(low), float(high))


def check_reach(images: int, more: int) -> None:
    """Raise ConfigError unless `more` images are at least 1, and make at most 4 times those measured."""
    most = int((MOST - 1) * images)
    if not 1 <= more <= most:
        raise ConfigError(
            f"from {images} images a curve reaches to {MOST:g} times as many: 1 to {most} more; got {more}"
        )


def enough(images: NDArray[np.int64]) -> bool:
    """Whether points at `images` (M,) can tell a law with three unknowns, and noise beside it: 3 sizes, 4 points."""
    return len(np.unique(images)) >= _UNKNOWNS and len(images) > _UNKNOWNS


def fit(images: NDArray[np.int64], errors: Floats, *, seed: int = 0) -> Fitted:
    """The law through `errors` (M,) measured with `images` (M,), several of which may be the same.

    Raises ConfigError where they are not `enough`.
    """
    counts, measured = np.asarray(images, np.float64), np.asarray(errors, np.float64)
    if not enough(images):
        raise ConfigError(f"a curve wants 3 sizes and 4 points; got {len(np.unique(counts))} and {len(counts)}")
    law = _fit(counts, measured[None], 1 / measured)[0]
    draws = tuple(_bootstrap(counts, measured, law, np.random.default_rng(seed)))
    fitted = Fitted(np.asarray(images, np.int64), law, draws, "")
    twice = fitted.forecast(int(counts.max()))
    verdict = "flat" if twice.high < HARDLY * twice.now else "noisy" if twice.low < NOTHING * twice.now else "gain"
    return Fitted(fitted.images, law, draws, verdict)


def _bootstrap(counts: Floats, measured: Floats, law: Law, rng: np.random.Generator) -> list[Law]:
    """Laws through points drawn about `law`, each off by one of the points' own relative errors.

    The law has bent towards the points it was fitted to, so what is left is too small by the root of the degrees of
    freedom it took (Davison & Hinkley, Bootstrap Methods and their Application, section 6.2).
    """
    expected = law(counts)
    off = (measured / expected - 1) * np.sqrt(len(counts) / (len(counts) - _UNKNOWNS))
    drawn = expected * (1 + rng.choice(off - off.mean(), (_DRAWS, len(counts))))
    return _fit(counts, drawn, 1 / expected)


def _fit(counts: Floats, measured: Floats, weights: Floats) -> list[Law]:
    """The law through each row of `measured` (D, M): least squares of relative errors, for every exponent in turn."""
    largest = counts.max()
    falling = weights * (counts / largest) ** -_EXPONENTS[:, None]
    target = weights * measured
    a, b, loss = _two_columns(weights, falling, target)
    best = loss.argmin(1)
    rows = np.arange(len(measured))
    c = _EXPONENTS[best]
    return [Law(*map(float, each)) for each in zip(a[rows, best], b[rows, best] * largest**c, c, strict=True)]


def _two_columns(first: Floats, second: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """target (D, M) ~ a * first (M,) + b * second (E, M) with a, b >= 0: a, b and the squared misfit, (D, E) each.

    With two columns the best point is the free one, or lies where a or b is 0.
    """
    ff, fs, ss = first @ first, second @ first, (second * second).sum(1)
    tf, ts, tt = (target @ first)[:, None], target @ second.T, (target * target).sum(1)[:, None]
    determinant = np.maximum(ff * ss - fs * fs, 1e-300)
    free = (tf * ss - ts * fs) / determinant, (ts * ff - tf * fs) / determinant
    bounds = [free, (np.zeros_like(ts), ts / ss), (np.broadcast_to(tf / ff, ts.shape), np.zeros_like(ts))]
    choices = [(a, b, np.where((a >= 0) & (b >= 0), _misfit(a, b, tt, tf, ts, ff, fs, ss), np.inf)) for a, b in bounds]
    best = np.argmin([loss for _, _, loss in choices], axis=0)[None]
    a, b, loss = (np.take_along_axis(np.array(parts), best, 0)[0] for parts in zip(*choices, strict=True))
    return a, b, loss


def _misfit(a: Floats, b: Floats, tt: Floats, tf: Floats, ts: Floats, ff: Any, fs: Floats, ss: Floats) -> Floats:
    return np.asarray(tt - 2 * (a * tf + b * ts) + a * a * ff + 2 * a * b * fs + b * b * ss)


def _ends(draws: Floats) -> tuple[Floats, Floats]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
