"""The process group of torchrun or `srun`, whose processes share work by rank. A single process never imports torch here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kptool.system import slurm


@dataclass(frozen=True)
class Workers:
    """This process's `rank` among `world` processes. Only rank 0 writes files."""

    rank: int = 0
    world: int = 1

    def gather(self, value: Any) -> list[Any] | None:
        """The `value` of every process, by rank, on rank 0; None on the others."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(value, values)
        return values

    def agree(self, value: int) -> int:
        """Rank 0's `value`, on every process."""
        if self.world == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def send(self, value: Any) -> bool:
        """Send `value` to rank 0, which calls `receive`; False if that process has ended."""
        import torch.distributed as dist

        try:
            dist.send_object_list([value], dst=0)
        except RuntimeError:  # the connection is closed; torch raises a subclass
            return False
        return True

    def receive(self, rank: int) -> Any:
        """The next value that process `rank` sends; call it on rank 0."""
        import torch.distributed as dist

        box: list[Any] = [None]
        dist.recv_object_list(box, src=rank)
        return box[0]


def world_size() -> int:
    """The number of processes that torchrun or a step of Slurm's `srun` started; 1 for a single process."""
    slurm.adopt()
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's rank among those that torchrun or a step of Slurm's `srun` started; 0 for a single process."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


@contextlib.contextmanager
def join(backend: str = "gloo") -> Iterator[Workers]:
    """Join the process group that torchrun or `srun` started, over a `backend` of torch.distributed ("gloo" or "nccl").

    A single process joins none.
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
