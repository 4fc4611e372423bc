"""What tests that run on any device share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

ON_EACH_DEVICE = pytest.mark.parametrize(
    "device",
    [
        pytest.param(torch.device("cpu"), id="cpu"),
        pytest.param(
            torch.device("cuda"),
            id="cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here"),
            ],
        ),
    ],
)
"""On the CPU, in miniature, and on a CUDA GPU where there is one."""


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
