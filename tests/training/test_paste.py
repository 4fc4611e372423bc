"""Instances that are pasted into other pictures: their boxes, what they cover, and what stays."""

from __future__ import annotations

import torch

from kptool.training.paste import Boxed, paste


def batch(seed: int = 0) -> Boxed:
    """Four dark pictures with a bright square each at another place; the last slot of boxes is free."""
    images = torch.full((4, 1, 64, 80), 10.0)
    boxes, there = torch.zeros(4, 3, 4), torch.zeros(4, 3, dtype=torch.bool)
    for i in range(4):
        x, y = 5 + 4 * i, 8 + 3 * i
        images[i, :, y : y + 16, x : x + 16] = 200
        boxes[i, 0], there[i, 0] = torch.tensor([x - 0.5, y - 0.5, 16, 16]), True
    return Boxed(images, boxes, there, there.clone())


def many(start: Boxed, count: int = 20) -> list[Boxed]:
    return [paste(start, torch.Generator().manual_seed(seed)) for seed in range(count)]


def test_a_pasted_box_holds_what_was_copied() -> None:
    start, pasted = batch(), 0
    for made in many(start):
        for i in range(4):
            if not made.there[i, -1]:
                assert torch.equal(made.images[i], start.images[i])
                continue
            pasted += 1
            x, y, width, height = (made.boxes[i, -1] + torch.tensor([0.5, 0.5, 0, 0])).tolist()
            inner = made.images[i, 0, int(y + 2) : int(y + height - 2), int(x + 2) : int(x + width - 2)]
            assert inner.min() > 190
            assert made.teaches[i, -1]
            assert -0.01 <= x <= 80 - width + 0.01
            assert -0.01 <= y <= 64 - height + 0.01
            old = start.boxes[i, 0].tolist()
            assert (
                made.images[i, 0, int(old[1] + 1) : int(old[1] + 17), int(old[0] + 1) : int(old[0] + 17)] == 200
            ).all()
    assert 20 < pasted < 60  # half of 80, but where there is no room


def test_what_does_not_teach_or_touches_another_is_not_copied() -> None:
    start = batch()
    start.teaches[:] = False
    assert not any(made.there[:, -1].any() for made in many(start))
    start = batch()
    start.boxes[:, 0, 0] -= 30  # cut off by the picture's edge
    assert not any(made.there[:, -1].any() for made in many(start))
    start = batch()
    start.boxes[:, 1] = start.boxes[:, 0] + torch.tensor([17.0, 0, 0, 0])
    start.there[:, 1] = True
    assert not any(made.there[:, -1].any() for made in many(start))


def test_the_same_generator_pastes_the_same_and_changes_nothing_that_was_given() -> None:
    start = batch()
    kept = start.images.clone()
    a, b = (paste(start, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.boxes, b.boxes)
    assert torch.equal(start.images, kept)
    assert not start.there[:, -1].any()
