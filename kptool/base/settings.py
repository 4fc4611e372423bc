"""What is known about a setting: its meaning and its range, stated once beside the field of a configuration that holds it.

    sigma: Annotated[float, Setting("standard deviation of the targets", 0.3, 50, unit="heatmap pixels")] = 1.5

The checks of the configurations, `kptool settings` and the documentation are derived from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from kptool.base.errors import ConfigError

Number = int | float


@dataclass(frozen=True)
class Setting:
    """A setting's `meaning`, and its range from `low` to `high`.

    above, below: whether `low` and `high` themselves are out of range. choices: the only valid texts. plugins: the
    kind of plugins whose names are valid, which are checked where plugins are loaded. unit: named after the range.
    """

    meaning: str
    low: Number = -math.inf
    high: Number = math.inf
    above: bool = False
    below: bool = False
    choices: tuple[str, ...] = ()
    plugins: Literal["losses", "decoders"] | None = None
    unit: str = ""

    def range(self) -> str:
        """The valid values in words, such as "0.3 to 50 heatmap pixels"; empty if there is no limit."""
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        if math.isinf(self.low):
            return ""
        low = f"{'above' if self.above else 'at least'} {self.low}"
        high = "" if math.isinf(self.high) else f" and {'below' if self.below else 'at most'} {self.high}"
        text = f"{self.low} to {self.high}" if high and not (self.above or self.below) else low + high
        return f"{text} {self.unit}".strip()

    def check(self, key: str, value: Any) -> None:
        """Raise ConfigError, naming `key`, for a value out of range."""
        if self.choices and value not in self.choices:
            raise ConfigError(f"{key} must be {self.range()}; got {value!r}")
        if not math.isinf(self.low) and not (
            (self.low < value if self.above else self.low <= value)
            and (value < self.high if self.below else value <= self.high)
        ):
            raise ConfigError(f"{key} must be {self.range()}; got {value}")


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings among the fields of the dataclass `owner`, by field name, in their order."""
    hints = get_type_hints(owner, include_extras=True)
    return {
        name: each
        for name, hint in hints.items()
        for each in getattr(hint, "__metadata__", ())
        if isinstance(each, Setting)
    }


def check(config: Any, prefix: str = "") -> None:
    """Raise ConfigError for a field of a configuration that is out of its range, named with `prefix`."""
    for name, setting in settings_of(type(config)).items():
        setting.check(prefix + name, getattr(config, name))
