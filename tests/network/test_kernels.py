"""A kernel for GPUs is used only where a trial shows that it computes what torch does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from kptool import plugins
from kptool.network import kernels
from kptool.network.peaks import PeakDecoder

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    kernels.decoder.cache_clear()
    yield
    kernels.decoder.cache_clear()


def plain() -> PeakDecoder:
    function = plugins.load_decoder("gaussian").function
    assert isinstance(function, PeakDecoder)
    return function


def install(monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    """A module in place of that with the kernels, whose points are `shift` pixels off."""

    def decode(maps: Tensor, name: str) -> tuple[Tensor, Tensor]:
        assert name == "gaussian"
        points, scores = plain().plain(maps)
        return points + shift, scores

    module = ModuleType("kptool.network.gpu_decode")
    module.decode = decode  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kptool.network.gpu_decode", module)


def test_a_kernel_that_agrees_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, 5e-4)
    kernel = kernels.decoder("gaussian", plain().plain, CPU)
    assert kernel is not None
    maps = torch.rand((2, 3, 9, 9), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(kernel(maps)[0], plain().plain(maps)[0] + 5e-4)


def test_a_kernel_that_differs_is_not(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    install(monkeypatch, 0.25)
    assert kernels.decoder("gaussian", plain().plain, CPU) is None
    assert "the gaussian kernel does not work on cpu (it differs by 0.25 heatmap pixels)" in caplog.text
    assert kernels.decoder("gaussian", plain().plain, CPU) is None
    assert len(caplog.records) == 1  # said once


def test_a_kernel_that_fails_is_not(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def decode(maps: Tensor, name: str) -> tuple[Tensor, Tensor]:
        raise RuntimeError("no compiler\nfor this machine")

    install(monkeypatch, 0)
    monkeypatch.setattr(sys.modules["kptool.network.gpu_decode"], "decode", decode)
    assert kernels.decoder("gaussian", plain().plain, CPU) is None
    assert "(no compiler)" in caplog.text


def test_no_kernel_where_triton_is_missing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "kptool.network.gpu_decode", None)
    assert kernels.decoder("gaussian", plain().plain, CPU) is None
    assert not caplog.records
