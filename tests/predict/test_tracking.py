"""Tracks: optimal assignment, crossings, instances that are lost and come back."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kptool.base.geometry import Box
from kptool.predict.tracking import Tracker, assign, extent

SHAPE = np.array([[-10, -10], [10, -10], [0, 2], [0, 12]], np.float32)
OTHER = np.array([[-10, -8], [11, -12], [2, 3], [-4, 14]], np.float32)


@dataclass(frozen=True)
class Thing:
    """An instance as the tracker sees it."""

    box: Box
    keypoints: NDArray[np.float32]


def thing(x: float, y: float, shape: NDArray[np.float32] = SHAPE, scale: float = 1) -> Thing:
    return Thing(
        (x - 15 * scale, y - 15 * scale, 30 * scale, 30 * scale), shape * np.float32(scale) + np.float32([x, y])
    )


def best(costs: NDArray[np.float64], limit: float) -> float:
    """The least total by trying everything; rows and columns that are left out cost `limit` in pairs."""
    rows, columns = costs.shape
    if rows > columns:
        return best(costs.T, limit)
    picks = itertools.permutations(range(columns), rows)
    return min(sum(min(costs[row, column], limit) for row, column in enumerate(pick)) for pick in picks)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_an_assignment_is_the_best(rows: int, columns: int, seed: int) -> None:
    costs = np.random.default_rng(seed).choice([0.1, 0.2, 0.35, 0.5, 0.8, 1.1, np.inf], (rows, columns))
    pairs = assign(costs, 1.0)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(costs[pair] < 1 for pair in pairs)
    total = sum(costs[pair] for pair in pairs) + min(rows, columns) - len(pairs)
    assert total == pytest.approx(best(costs, 1.0))


def test_the_best_pair_does_not_come_first() -> None:
    assert assign(np.array([[0.1, 0.2], [0.2, 0.9]]), 1.0) == [(0, 1), (1, 0)]
    assert assign(np.zeros((0, 3)), 1.0) == []


def test_the_extent() -> None:
    assert extent(thing(5, 5)) == pytest.approx(np.hypot(20, 22))
    unknown = np.full((4, 2), np.nan, np.float32)
    assert extent(Thing((0, 0, 9, 4), unknown)) == 6
    unknown[1] = 3
    assert extent(Thing((0, 0, 9, 4), unknown)) == 6


@pytest.mark.parametrize("rate", [10, 50])
@pytest.mark.parametrize("hidden", [0.0, 0.2])
def test_two_that_cross_keep_their_numbers(rate: int, hidden: float) -> None:
    """One goes right and one left, 6 px apart where they meet, and where they meet only one is detected."""
    tracker, rng = Tracker(), np.random.default_rng(0)
    for frame in range(2 * rate):
        time = frame / rate
        x = 50 * (time - 1)
        both = [thing(100 + x, 50), thing(100 - x, 56)]
        noisy = [Thing(one.box, one.keypoints + rng.normal(0, 0.5, (4, 2)).astype(np.float32)) for one in both]
        order = [0, 1] if frame == 0 or rng.random() < 0.5 else [1, 0]
        if abs(time - 1) < hidden / 2:
            order = [1]
        assert tracker.update([noisy[i] for i in order], time) == order, time


def test_a_number_comes_back_within_the_gap() -> None:
    def after(pause: float, gap: float) -> int:
        tracker = Tracker(gap)
        for frame in range(10):
            tracker.update([thing(50 + frame, 50), thing(300, 50)], frame / 25)
        assert tracker.update([thing(300, 50)], 9.5 / 25) == [1]
        (number,) = tracker.update([thing(62, 50)], 9 / 25 + pause)
        return number

    assert after(0.9, 1.0) == 0
    assert after(1.1, 1.0) == 2
    assert after(1.1, 2.0) == 0
    assert after(0.1, 0.0) == 2


def test_a_moving_instance_is_found_again_where_it_went_on() -> None:
    """Hidden for two seconds, in which it moves by three times its extent."""
    tracker = Tracker(3.0)
    for frame in range(26):
        assert tracker.update([thing(50 + 1.8 * frame, 50)], frame / 25) == [0]
    for frame in range(26, 75):
        assert tracker.update([], frame / 25) == []
    assert tracker.update([thing(50 + 1.8 * 75, 50)], 3.0) == [0]
    assert tracker.update([thing(50, 50)], 3.04) == [1]


def test_what_is_far_away_or_of_another_size_is_new() -> None:
    tracker = Tracker()
    assert tracker.update([thing(50, 50)], 0.0) == [0]
    assert tracker.update([thing(90, 50)], 0.04) == [1]
    assert tracker.update([thing(50, 50), thing(90, 50)], 0.08) == [0, 1]
    assert tracker.update([thing(90, 50, scale=10)], 0.12) == [2]
    assert tracker.update([], 0.16) == []


def test_the_keypoints_tell_apart_what_has_one_box() -> None:
    tracker = Tracker()
    assert tracker.update([thing(50, 50), thing(50, 50, OTHER)], 0.0) == [0, 1]
    assert tracker.update([thing(51, 50, OTHER), thing(50, 51)], 0.04) == [1, 0]


def test_missing_keypoints_do_not_end_a_track() -> None:
    tracker = Tracker()
    assert tracker.update([thing(50, 50), thing(120, 50)], 0.0) == [0, 1]
    some = thing(52, 50).keypoints.copy()
    some[1:] = np.nan
    assert tracker.update([thing(121, 50), Thing(thing(52, 50).box, some)], 0.04) == [1, 0]
    none = np.full_like(some, np.nan)
    assert tracker.update([Thing(thing(54, 50).box, none)], 0.08) == [0]
    assert tracker.update([thing(56, 50)], 0.12) == [0]
