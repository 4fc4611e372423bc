"""How many epochs a training has, and where each step lies on the learning rate's curve, while both may still change.

A time budget is met by laying out the rest of the curve anew after each epoch: the epochs so far say how long one takes,
and the learning rate falls from where it is to zero over those that still fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LATEST = 3
"""Epochs whose mean duration predicts the next one's."""
_QUARTERS = 4.0
"""How much more work an image is than one of half its size."""
_SAFETY = 0.97
"""Share of the remaining time that is planned for: epochs differ in length."""


@dataclass
class Schedule:
    """A curve over `total` steps. Where it was laid out anew, `done` of it (0 to 1) lay behind by step `start`."""

    total: int
    start: int = 0
    done: float = 0.0

    def position(self, step: int) -> float:
        """The step of a training that was planned to have `total` steps from its beginning, at whose rate `step` is."""
        if self.start == 0:
            return step
        return self.progress(step) * self.total

    def progress(self, step: int) -> float:
        """The share of the curve, 0 to 1, that lies behind before `step`."""
        if self.start == 0:
            return step / self.total
        return self.done + (1 - self.done) * (step - self.start) / max(1, self.total - self.start)

    def lay_out(self, step: int, total: int) -> None:
        """End at step `total` instead, going on from the learning rate of `step`."""
        if total != self.total:
            self.done, self.start, self.total = self.progress(step), step, total

    def state(self) -> dict[str, Any]:
        """Plain values for a training state."""
        return {"total": self.total, "start": self.start, "done": self.done}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Schedule:
        """The inverse of `state`. Raises ValueError, TypeError or KeyError for anything else."""
        made = cls(int(state["total"]), int(state["start"]), float(state["done"]))
        if not (0 <= made.start <= made.total < 2**53 and made.total > 0 and 0 <= made.done <= 1):
            raise ValueError("the learning-rate schedule is out of range")
        return made


def growth(progress: float, small: float, *, latest_small: bool) -> float:
    """How many times as long as the latest epoch the rest takes on average, if images have half their size until the share
    `small` of a training that has come to `progress`. `latest_small`: whether the latest epoch's had."""
    still = max(0.0, (small - progress) / (1 - progress)) if progress < 1 else 0.0
    return (still + _QUARTERS * (1 - still)) / (1 if latest_small else _QUARTERS)


def typical(durations: Sequence[float], alike: int = _LATEST) -> float:
    """The mean of the latest of `durations`, at least one, of which the last `alike` are of epochs with images of one size."""
    latest = durations[-min(_LATEST, alike) :]
    return sum(latest) / len(latest)


def epochs_within(
    budget: float, spent: float, durations: Sequence[float], most: int, longer: float = 1.0, alike: int = _LATEST
) -> int:
    """How many epochs to plan, those that are done included: as many as fit into `budget` seconds, `most` at most.

    `spent`: seconds so far; `durations`: seconds of each epoch that is done, at least one, validation included; `longer`: how
    many times as long as the latest the others will take; `alike`: see `typical`.
    """
    more = int(max(0.0, budget - spent) * _SAFETY / max(longer * typical(durations, alike), 1e-9))
    return min(most, len(durations) + more)
