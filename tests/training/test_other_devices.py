"""What Apple's and Intel's GPUs need of training and prediction: no float64, and nothing that only CUDA has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import settings
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kptool.cache.store import Cache
from kptool.system import devices
from kptool.system.workers import Workers
from kptool.training import split
from kptool.training.batches import Epochs
from kptool.training.trainer import Trainer


class Doubles(TorchDispatchMode):
    """Notes the operations that compute with float64, which Apple's GPUs do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.seen = 0

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, result)) if isinstance(each, torch.Tensor)]
        self.seen += len(tensors)
        if any(each.dtype in (torch.float64, torch.complex128) for each in tensors):
            self.found.add(str(function))
        return result


@pytest.mark.parametrize("model", ["unet", "fcn", "vgg", "resnet"])
def test_no_step_computes_in_double_precision(faces: Path, model: str) -> None:
    """Augmentation with all its parts, rendering, loss, step, average, label offset, decoding."""
    config = {"augment.elastic": 0.03, "augment.upright": 0.5, "batch_size": 6}
    chosen, training = settings(faces, model, **config)
    with Cache(faces) as cache:
        data = split.Split.load(cache, torch.device("cpu"))
    trainer = Trainer(chosen, training, torch.device("cpu"), Workers())
    trainer.schedule.total = 10
    images = data.shown(chosen, training)
    epochs = Epochs(images, chosen.flip_pairs, training.augment, batch_size=6, seed=0)
    with Doubles() as mode:
        for _, batch in zip(range(2), epochs.epoch(0), strict=False):
            trainer.train_step(batch)
        trainer.measure_training(images)
        trainer.average.points(data.train.images[:4])
    assert mode.seen > 1000
    assert mode.found == set()


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_a_device_that_torch_has_is_offered(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """By name only: `auto` takes what was tested."""
    if kind == "mps":
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    else:
        monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
        monkeypatch.setattr(torch.xpu, "device_count", lambda: 2)
    assert devices.available()[kind] == (1 if kind == "mps" else 2)
    assert devices.pick("auto").type == "cpu"


def test_memory_of_intels_gpus_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.xpu, "mem_get_info", lambda device: (3 << 30, 8 << 30), raising=False)
    assert devices.free_memory(torch.device("xpu", 0)) == 3 << 30
    assert devices.free_memory(torch.device("mps")) is None
    assert devices.free_memory(torch.device("cpu")) is None
