"""The learning-rate schedule, adjusted while training runs."""

from __future__ import annotations

import itertools

import pytest

from kptool.base.config import TrainConfig
from kptool.training.optimizer import learning_rate
from kptool.training.schedule import Schedule, epochs_within


def test_a_plan_that_stays_is_the_plain_curve() -> None:
    schedule = Schedule(100)
    assert [schedule.position(step) for step in range(101)] == list(range(101))
    schedule.lay_out(30, 100)
    assert schedule == Schedule(100)


def test_a_curve_laid_out_anew_goes_on_from_its_rate_and_ends_at_zero() -> None:
    config, schedule = TrainConfig(lr=1.0), Schedule(1000)
    before = learning_rate(schedule.position(400), schedule.total, config)
    schedule.lay_out(400, 600)
    rates = [learning_rate(schedule.position(step), schedule.total, config) for step in range(400, 601)]
    assert rates[0] == pytest.approx(before, rel=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert all(a > b for a, b in itertools.pairwise(rates))
    schedule.lay_out(500, 800)  # there was more time than expected
    assert schedule.progress(500) == pytest.approx(0.7, abs=1e-9)
    assert schedule.progress(800) == 1


def test_a_schedule_is_restored_as_it_was() -> None:
    schedule = Schedule(100)
    schedule.lay_out(30, 60)
    assert Schedule.restore(schedule.state()) == schedule
    for wrong in ({"total": 0, "start": 0, "done": 0.0}, {"total": 5, "start": 9, "done": 0.5}, {"total": 5}):
        with pytest.raises((ValueError, KeyError)):
            Schedule.restore(wrong)


@pytest.mark.parametrize(
    ("budget", "spent", "durations", "most", "planned"),
    [
        (100, 10, [10.0], 40, 9),  # 90 seconds left are 8 epochs of 10 seconds, with a reserve
        (100, 10, [10.0], 5, 5),
        (100, 99, [10.0] * 9, 40, 9),
        (10, 25, [25.0], 40, 1),
        (100, 40, [25.0, 5.0, 5.0, 5.0], 40, 15),  # the first epoch is always slow
    ],
)
def test_the_epochs_that_fit(budget: float, spent: float, durations: list[float], most: int, planned: int) -> None:
    assert epochs_within(budget, spent, durations, most) == planned
