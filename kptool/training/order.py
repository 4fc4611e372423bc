"""The order in which an epoch visits its samples: shuffled, but so that images need not be in memory."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kptool.cache.stored_images import LANES


def shuffled(chunk: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """An order (N,) of samples that are stored in the chunks `chunk` (N,), ascending numbers on the CPU.

    Up to `window` chunks, a multiple of LANES, are shuffled as a whole. More are put in a random order and dealt to LANES
    lanes, and in each lane every `window` / LANES chunks are shuffled; the sample at position p is the next one of lane
    p % LANES, so that hardly more than `window` chunks are needed at once. Processes that take every n-th sample of the order
    read different chunks where n divides LANES. The order depends on neither their number nor the memory.
    """
    order = torch.randperm(len(chunk), generator=generator)
    names, inverse = np.unique(chunk.numpy(), return_inverse=True)
    if len(names) <= window:
        return order
    place = torch.randperm(len(names), generator=generator)[torch.from_numpy(inverse)]
    order = order[(place[order] // window).argsort(stable=True)]
    lane = place[order] % LANES
    wanted = lane + LANES * torch.from_numpy(_count_before(lane.numpy()))
    fits = wanted < len(order)  # lanes differ in length: the rest of the longer ones fills the gaps
    free = torch.ones(len(order), dtype=torch.bool)
    free[wanted[fits]] = False
    mixed = torch.empty_like(order)
    mixed[wanted[fits]] = order[fits]
    mixed[free] = order[~fits]
    return mixed


def _count_before(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal values precede each value (n,)."""
    by_value = np.argsort(values, kind="stable")
    ordered = values[by_value]
    counts = np.empty(len(values), np.int64)
    counts[by_value] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return counts
