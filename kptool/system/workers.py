"""Work that several processes of torchrun share by rank; a process on its own has all of it, and never loads torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workers:
    """This process's number, and how many there are. The first, of rank 0, is the one that writes."""

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


@contextlib.contextmanager
def workers() -> Iterator[Workers]:
    """The processes that torchrun started, connected; or this one alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Workers()
        return
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        yield Workers(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
