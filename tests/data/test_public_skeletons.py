"""Flip pairs of public skeletons: all of the published pairs or no mirroring, never a part of them or others."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from public_skeletons import NUMBERED, PUBLIC, skeleton

from kptool.data import flips


def things(names: list[str], pairs: set[tuple[int, int]], count: int, seed: int = 0) -> NDArray[np.float64]:
    """Mirror-symmetric objects at all angles and of all sizes, (count, K, 2)."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1.5, (len(names), 2)) * [0, 1]
    for a, b in pairs:
        x, y = rng.uniform(0.2, 1.2), rng.normal(0, 1.5)
        base[a], base[b] = (x, y), (-x, y)
    angle = rng.uniform(0, 2 * np.pi, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    noisy = base + rng.normal(0, 0.05, (count, *base.shape))
    return noisy @ np.swapaxes(turn, 1, 2) * rng.uniform(20, 40, (count, 1, 1)) + 100


@pytest.mark.parametrize("name", PUBLIC)
def test_names_alone(name: str) -> None:
    names, pairs = skeleton(name)
    found = flips.infer(names)
    assert set(found.pairs) == pairs
    assert found.mirror


@pytest.mark.parametrize("name", PUBLIC)
def test_names_and_points(name: str) -> None:
    """Full and one-third hidden objects give all pairs; two objects are too few to decide what lies on the midline."""
    names, pairs = skeleton(name)
    points = things(names, pairs, 60)
    for share in (0.0, 0.35):
        seen = np.where(np.random.default_rng(1).random(points.shape[:2]) < share, 0, 2).astype(np.uint8)
        found = flips.infer(names, points, seen)
        assert (set(found.pairs), found.mirror) == (pairs, True), found.why
    few = flips.infer(names, points[:2], np.full((2, len(names)), 2, np.uint8))
    assert set(few.pairs) == pairs if few.mirror else "too few" in few.why


@pytest.mark.parametrize("name", ["ap10k", "coco", "coco_wholebody", "fly"])
def test_a_pair_whose_names_do_not_say_it_turns_mirroring_off(name: str) -> None:
    names, pairs = skeleton(name)
    a, b = min(pairs)
    names[a], names[b] = "this", "that"
    points = things(names, pairs, 60)
    found = flips.infer(names, points, np.full(points.shape[:2], 2, np.uint8))
    assert (found.pairs, found.mirror) == ((), False)
    assert "this" in found.why, found.why


@pytest.mark.parametrize("name", NUMBERED)
def test_numbers_alone_tell_nothing(name: str) -> None:
    word, count = NUMBERED[name]
    assert not flips.infer([f"{word}{number}" for number in range(count)]).mirror


def test_a_row_of_numbers_beside_sides_is_not_believed_to_lie_in_the_middle() -> None:
    names = ["L_Hip", "R_Hip", *(f"Face_{number}" for number in range(1, 73))]
    found = flips.infer(names)
    assert not found.mirror
    assert "Face_1 to Face_72" in found.why
