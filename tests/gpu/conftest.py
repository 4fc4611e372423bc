"""Every test of this folder runs on the CPU, in miniature, and on a CUDA GPU where there is one."""

from __future__ import annotations

import pytest
import torch

GPU = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here")],
)


@pytest.fixture(params=["cpu", GPU])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)
