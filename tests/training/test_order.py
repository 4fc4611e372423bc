"""The order of an epoch: every sample once, well mixed, from few chunks at a time, of which each process reads its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kptool.cache.stored_images import LANES
from kptool.training.order import shuffled


def chunks(count: int = 20_000) -> torch.Tensor:
    """The chunks of nine tenths of the samples."""
    index = np.flatnonzero(np.random.default_rng(0).random(count) < 0.9)
    return torch.from_numpy(index // 64)


def order(chunk: torch.Tensor, window: int, seed: int = 1) -> torch.Tensor:
    return shuffled(chunk, window, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("window", [LANES, 2 * LANES, 1000])
def test_every_sample_comes_once(window: int) -> None:
    chunk = chunks()
    assert order(chunk, window).sort().values.equal(torch.arange(len(chunk)))
    assert order(chunk, window).equal(order(chunk, window))
    assert not order(chunk, window).equal(order(chunk, window, 2))


def test_few_chunks_are_shuffled_as_a_whole() -> None:
    chunk = chunks(64 * LANES)
    whole = torch.randperm(len(chunk), generator=torch.Generator().manual_seed(1))
    assert order(chunk, LANES).equal(whole)


@pytest.mark.parametrize("window", [LANES, 2 * LANES])
def test_a_chunk_is_needed_for_about_a_window(window: int) -> None:
    place = chunks()[order(chunks(), window)].numpy()
    last = {chunk: position for position, chunk in enumerate(place)}
    first = {chunk: position for position, chunk in reversed(list(enumerate(place)))}
    assert max(last[chunk] - first[chunk] for chunk in last) < 1.1 * 64 * window


def test_neighbours_in_the_order_are_from_different_chunks() -> None:
    place = chunks()[order(chunks(), 2 * LANES)].numpy()
    assert np.mean([len(set(place[i : i + LANES])) for i in range(0, len(place) - LANES, LANES)]) > 0.97 * LANES


@pytest.mark.parametrize("world", [2, 4, 8])
def test_each_process_reads_its_own_chunks(world: int) -> None:
    place = chunks()[order(chunks(), 2 * LANES)].numpy()
    read = sum(len(set(place[rank::world])) for rank in range(world))
    assert len(set(place)) <= read < 1.05 * len(set(place))
