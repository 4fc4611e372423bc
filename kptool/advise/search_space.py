"""The search space of `kptool tune`: a range for each setting, around the model's recipe.

Every range contains the recipe's value, so that the recipe itself can be a trial.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kptool import plugins
from kptool.base.config import ModelConfig, TrainConfig
from kptool.base.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import Trial as OptunaTrial

Value = str | int | float


class _Span(NamedTuple):
    """A numeric range, from `low` to `high` times the recipe's value, at most `cap`."""

    low: float
    high: float
    cap: float
    log: bool = False


_SPANS = {
    "lr": _Span(1 / 8, 8, 10, log=True),
    "weight_decay": _Span(1 / 32, 8, 10, log=True),
    "sigma": _Span(1 / 2, 2, 50, log=True),
    "augment.rotation": _Span(0, 3, 180),
    "augment.scale": _Span(0, 3, 0.8),
    "augment.shift": _Span(0, 3, 0.5),
    "augment.light": _Span(0, 2, 1),
    "augment.erase": _Span(0, 2, 1),
    "augment.stretch": _Span(0, 3, 0.8),
    "augment.elastic": _Span(0, 3, 0.08),
    "augment.blur": _Span(0, 2, 1),
    "augment.noise": _Span(0, 3, 1),
}
KEYS = ("lr", "weight_decay", "loss", "width", "sigma", *(key for key in _SPANS if key.startswith("augment.")))
"""Every setting that can be searched."""
_ON_REQUEST = {"augment.stretch", "augment.elastic", "augment.blur", "augment.noise"}
"""Searched only on request: with few trials, every further dimension makes the search less thorough."""
_WIDEST = 512


@dataclass(frozen=True)
class Dimension:
    """A searched setting: a number from `low` to `high` (an integer if `step` is set), or one of `choices`.

    recipe: the recipe's value. log: whether the range is logarithmic.
    """

    key: str
    recipe: Value
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: int | None = None
    choices: tuple[str, ...] = ()

    def suggest(self, trial: OptunaTrial) -> Value:
        """The trial's value for this setting; drawn by the study's sampler if the trial has none yet."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if self.step is not None:
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=self.step)
        return self.rounded(trial.suggest_float(self.key, self.low, self.high, log=self.log))

    def rounded(self, value: Value) -> Value:
        """`value` as it is used and reported: floats are rounded to three significant digits."""
        return float(f"{value:.3g}") if isinstance(value, float) and value != self.recipe else value

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(self.choices)
        every = f" in steps of {self.step}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{every}{', log' if self.log else ''}"


def space(
    model: ModelConfig, config: TrainConfig, *, fixed: Collection[str] = (), only: Collection[str] = ()
) -> tuple[Dimension, ...]:
    """The dimensions to search around a recipe (`model`, `config`): those named in `only`, else the default ones.

    `fixed` settings are left out. Raises ConfigError for a setting that cannot be searched or is in both `only` and
    `fixed`, and if nothing is left to search.
    """
    heatmaps = plugins.load_model(model.model).output == "heatmap"
    for key in only:
        _check(key, model.model, heatmaps, fixed)
    wanted = only or [key for key in KEYS if key not in _ON_REQUEST and key not in fixed]
    found = (_dimension(key, model, config) for key in KEYS if key in wanted and (heatmaps or key != "sigma"))
    dimensions = tuple(each for each in found if each is not None)
    for key in set(only) - {each.key for each in dimensions}:
        raise ConfigError(f"--search: {key} has no range around the recipe of {model.model}; leave it out")
    if not dimensions:
        raise ConfigError(
            f"no setting is left to search for {model.model}; remove some from --set, or name others with --search"
        )
    return dimensions


def _check(key: str, model: str, heatmaps: bool, fixed: Collection[str]) -> None:
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"--search: {key!r} cannot be searched{hint}; known: {', '.join(sorted(KEYS))}")
    if key in fixed:
        raise ConfigError(f"{key} is in both --search and --set; remove it from one of them")
    if key == "sigma" and not heatmaps:
        raise ConfigError(f"--search: {model} predicts coordinates, so it has no sigma; leave it out")


def _dimension(key: str, model: ModelConfig, config: TrainConfig) -> Dimension | None:
    """The range of a setting; None if there is none around the recipe's value."""
    if key == "loss":
        return _losses(model)
    if key == "width":
        return _widths(model.width)
    span, value = _SPANS[key], float(read(key, model, config))
    if value == 0:
        return None
    return Dimension(key, value, value * span.low, min(value * span.high, span.cap), span.log)


def _losses(model: ModelConfig) -> Dimension | None:
    """The losses that fit the model's output."""
    output = plugins.load_model(model.model).output
    fitting = tuple(name for name in plugins.names("losses") if plugins.load_loss(name).output == output)
    return Dimension("loss", model.loss, choices=fitting) if len(fitting) > 1 else None


def _widths(width: int) -> Dimension:
    """0.5 to 1.5 times a width, in steps of a quarter of it."""
    step = max(1, width // 4)
    low = max(1, width - 2 * step)
    count = min(width + 2 * step, _WIDEST) - low
    return Dimension("width", width, low, low + count // step * step, step=step)


def read(key: str, model: ModelConfig, config: TrainConfig) -> Value:
    """The value of a setting by its ``--set`` name, such as ``lr`` or ``augment.rotation``."""
    home, _, name = key.rpartition(".")
    owner = config.augment if home else config if hasattr(config, name) else model
    value: Value = getattr(owner, name)
    return value
