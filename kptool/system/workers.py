"""The process group of torchrun, which shares work by rank. A process on its own has all the work and never loads torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kptool.system import slurm


@dataclass(frozen=True)
class Workers:
    """This process's `rank` among `world`. Rank 0 is the one that writes."""

    rank: int = 0
    world: int = 1

    def gather(self, value: Any) -> list[Any] | None:
        """Every process's `value`, by rank, on the first one; None on the others."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(value, values)
        return values

    def send(self, value: Any) -> bool:
        """Hand `value` to the first process, which calls `receive`; False where that process has ended."""
        import torch.distributed as dist

        try:
            dist.send_object_list([value], dst=0)
        except RuntimeError:  # the connection is closed; torch has a class of its own for it, below this one
            return False
        return True

    def receive(self, rank: int) -> Any:
        """The next value that process `rank` sends."""
        import torch.distributed as dist

        box: list[Any] = [None]
        dist.recv_object_list(box, src=rank)
        return box[0]


def world_size() -> int:
    """How many processes torchrun, or a step of Slurm's `srun`, started: 1 for a process on its own."""
    slurm.adopt()
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def join(backend: str = "gloo") -> Iterator[Workers]:
    """Join the process group that torchrun or `srun` started, over a `backend` of torch.distributed ("gloo" or "nccl").

    A process on its own joins nothing.
    """
    world = world_size()
    if world == 1:
        yield Workers()
        return
    import torch.distributed as dist

    dist.init_process_group(backend)
    try:
        yield Workers(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
