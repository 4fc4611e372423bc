"""What tests that run on any device share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def never_waiting(device: torch.device) -> Iterator[None]:
    """Makes whatever waits for the GPU an error; a CPU waits for nothing."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
