"""What tests that run on any device share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

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
_WAITING = {
    torch.tensor,
    torch.as_tensor,
    torch.nonzero,
    torch.masked_select,
    torch.linalg.inv,
    torch.linalg.svd,
    torch.linalg.matrix_norm,
    Tensor.new_tensor,
    Tensor.item,
    Tensor.tolist,
    Tensor.cpu,
    Tensor.nonzero,
    Tensor.masked_select,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
}
"""What copies between the host and a GPU, which waits for it."""


class _NothingThatWaits(TorchFunctionMode):
    """Makes an error of what would wait for a GPU."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        asking = sys._getframe(1).f_globals.get("__name__", "")
        if function in _WAITING and not asking.startswith("torch.optim"):  # whose steps are counted on the CPU there
            raise AssertionError(f"{function.__name__} waits for the device")
        if function is Tensor.__getitem__:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            for each in index:
                if isinstance(each, list) or (isinstance(each, Tensor) and each.dtype == torch.bool):
                    raise AssertionError("an index that is a list or a mask waits for the device")
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def never_waiting(device: torch.device) -> Iterator[None]:
    """Makes whatever waits for the GPU an error; on the CPU, whatever is known to wait for one."""
    if device.type != "cuda":
        with _NothingThatWaits():
            yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
