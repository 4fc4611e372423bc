"""Training on a device: the four models learn, resume and predict; a step is the CPU's; memory does not grow."""

from __future__ import annotations

import copy
import gc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from devices import ON_EACH_DEVICE, never_waiting
from torch import Tensor, nn

import kptool
from kptool.base.config import ModelConfig, TrainConfig, configure
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import read_truth
from kptool.network import checkpoint
from kptool.network.keypoint_model import Inference, KeypointModel
from kptool.system.workers import Workers
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.recording import WARM
from kptool.training.trainer import Trainer

pytestmark = ON_EACH_DEVICE
MODELS = ("vgg", "resnet", "fcn", "unet")


def settings(faces: Path, model: str, **overrides: Any) -> tuple[ModelConfig, TrainConfig]:
    with Cache(faces) as cache:
        info = cache.info
    return configure(model, info.skeleton, info.size, info.channels, {"width": 8, "batch_size": 12, **overrides})


def epochs(faces: Path, device: torch.device, model: ModelConfig, config: TrainConfig) -> Epochs:
    with Cache(faces) as cache:
        train = cache.index("train")
        truth = read_truth(cache, train)
        data = TrainingSet.upload(cache.read("images", train), truth.points, truth.visibility, device, truth.back)
    return Epochs(data, model.flip_pairs, config.augment, batch_size=config.batch_size, seed=0)


def stepped(faces: Path, device: torch.device, steps: int = 3, model: str = "unet", **overrides: Any) -> Trainer:
    """A trainer after some steps without white noise, of which each device draws its own."""
    chosen, config = settings(faces, model, **{"augment.noise": 0, "augment.elastic": 0, "epochs": 4, **overrides})
    trainer = Trainer(chosen, config, device, Workers())
    data = epochs(faces, device, chosen, config)
    trainer.schedule.total = config.epochs * data.steps
    batches = [batch for number in range(4) for batch in data.epoch(number)]
    for batch in batches[:steps]:
        trainer.train_step(batch)
    return trainer


@pytest.mark.parametrize(
    ("model", "amp"), [("vgg", "off"), ("resnet", "on"), ("fcn", "on"), ("unet", "off"), ("unet", "on")]
)
def test_each_model_trains_resumes_and_predicts(
    model: str, amp: str, device: torch.device, faces: Path, tmp_path: Path
) -> None:
    fixed = {"amp": amp, "width": 4, "batch_size": 12}
    run = tmp_path / model
    kptool.train(model, faces, out=run, epochs=1, settings=fixed, device=device.type, progress=False)
    kptool.train(model, faces, out=run, epochs=2, settings=fixed, device=device.type, resume=True, progress=False)
    network, card = checkpoint.load_model(run / "model.safetensors", device)
    assert len(checkpoint.load_state(run / "last.ckpt")["history"]) == 2
    images = torch.zeros((2, 1, *card.config.size), dtype=torch.uint8, device=device)
    for inference in (Inference(), Inference(flip=True)):
        assert all(bool(found.isfinite().all()) for found in network.points(images, inference))


@pytest.mark.parametrize("model", MODELS)
def test_steps_are_the_cpu_s(model: str, device: torch.device, faces: Path) -> None:
    """Weights, their average, the offset and the optimizer after three steps in float32, to what sums in another order cost."""
    here = stepped(faces, device, model=model, amp="off")
    there = stepped(faces, torch.device("cpu"), model=model, amp="off")
    assert here.step == there.step == 3
    for name, value in there.average.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(here.average.state_dict()[name].cpu(), value, atol=5e-3, rtol=5e-2), name


def test_bfloat16_learns_like_float32(device: torch.device, faces: Path) -> None:
    rmse = {}
    for amp in ("on", "off"):
        trainer = stepped(faces, device, steps=12, amp=amp, lr=3e-3)
        data = epochs(faces, device, trainer.model.config, trainer.config).data
        trainer.measure_training(data)
        rmse[amp] = trainer.train_rmse
    assert rmse["on"] == pytest.approx(rmse["off"], rel=0.25)


def test_a_prediction_in_bfloat16_is_near_one_in_float32(device: torch.device) -> None:
    network, _ = checkpoint.load_model(Path(kptool.__file__).parent / "weights" / "unet.safetensors", device)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 1, 96, 96), np.uint8)).to(device)
    exact = network.points(images)[0]
    with torch.autocast(device.type, torch.bfloat16):
        rough = network.points(images)[0]
    assert float((rough - exact).abs().median()) < 0.5  # noise has no keypoints; benchmarks/gpu.py measures faces


def test_float32_has_all_its_bits(device: torch.device, faces: Path) -> None:
    """A network in float32 is nearer to itself in float64 than TF32's ten bits allow."""
    config, _ = settings(faces, "unet")
    network = KeypointModel(config).place(device).eval()
    with torch.no_grad():
        images = network.stem(torch.rand((2, 1, *config.size), device=device) * 255)
        single, double = network.network(images), copy.deepcopy(network.network).double()(images.double())
    assert float((single - double).abs().max() / double.abs().max()) < 1e-5


def test_a_compiled_network_computes_the_same(device: torch.device, faces: Path) -> None:
    config, _ = settings(faces, "unet")
    network = KeypointModel(config).place(device).eval()
    images = torch.rand((2, 1, *config.size), device=device) * 255
    compiled = torch.compile(network, backend="inductor" if device.type == "cuda" else "eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(images), network(images), atol=1e-2, rtol=1e-2)


def test_memory_does_not_grow(device: torch.device, faces: Path) -> None:
    """Of the GPU what torch has allocated, of the CPU the tensors that are alive."""
    trainer = stepped(faces, device, steps=4)
    data = epochs(faces, device, trainer.model.config, trainer.config)
    taken = []
    for number in range(3):
        for batch in data.epoch(number):
            trainer.train_step(batch)
        del batch
        gc.collect()
        alive = sum(issubclass(type(each), Tensor) for each in gc.get_objects())
        taken.append(torch.cuda.memory_allocated(device) if device.type == "cuda" else alive)
    assert max(taken[1:]) <= 1.05 * taken[0]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("step", ["plain", "record"])
@pytest.mark.parametrize("loss", ["dsnt", "bce", "heatmap-mse", "adaptive-wing"])
def test_a_step_waits_for_nothing(step: str, loss: str, small: bool, device: torch.device, faces: Path) -> None:
    trainer = stepped(faces, device, step=step, loss=loss)
    data = epochs(faces, device, trainer.model.config, trainer.config)
    for batch in data.pending(2):
        trainer.train_step(batch, small=small)  # the first ones warm up, and record
    batches = data.pending(3)
    first = next(batches)  # copies the epoch's random numbers to the device
    with never_waiting(device):
        losses = [trainer.train_step(batch, small=small).clone() for batch in (first, *batches)]
    assert bool(torch.stack(losses).isfinite().all())


@pytest.mark.parametrize("model", MODELS)
def test_recorded_steps_compute_what_plain_ones_do(
    model: str, device: torch.device, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Augmentation, white noise, dropout, the rate and the average's decay change from step to step in a recording as well."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    trainers = []
    for step in ("plain", "record"):
        chosen, config = settings(faces, model, step=step, amp="off", epochs=3, lr=1e-3)
        trainer = Trainer(chosen, config, device, Workers())
        data = epochs(faces, device, chosen, config)
        trainer.schedule.total = config.epochs * data.steps
        for number in range(config.epochs):
            small = number == 1 and trainer.model.plugin.output == "heatmap"
            for batch in data.pending(number):
                trainer.train_step(batch, small=small)
        trainers.append(trainer)
    plain, recorded = trainers
    assert data.steps * 2 > WARM + 1  # so that some steps were replayed
    for name, value in plain.average.state_dict().items():
        other = recorded.average.state_dict()[name]
        if device.type == "cpu":
            assert torch.equal(other, value), name
        elif value.is_floating_point():
            assert torch.allclose(other, value, atol=5e-3, rtol=5e-2), name


def test_a_recording_ends_where_layers_are_thawed(device: torch.device, faces: Path) -> None:
    trainer = stepped(faces, device, steps=0, step="record", freeze=1)
    data = epochs(faces, device, trainer.model.config, trainer.config)
    trainer.taken = tuple(name for name, module in trainer.model.named_modules() if isinstance(module, nn.Conv2d))
    weight = next(module.weight for module in trainer.model.modules() if isinstance(module, nn.Conv2d))
    seen = [weight.detach().clone()]
    for number in range(2):
        trainer.epoch = number
        trainer.freeze()
        for repeat in range(3):
            for batch in data.pending(number + repeat):
                trainer.train_step(batch)
        seen.append(weight.detach().clone())
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_a_compiled_step_computes_the_same(device: torch.device, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if device.type != "cuda":  # compiling for the CPU takes longer than all other tests of this file
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain = stepped(faces, device, steps=6, amp="off", step="plain").average.state_dict()
    compiled = stepped(faces, device, steps=6, amp="off", step="compile").average.state_dict()
    for name, value in plain.items():
        if value.is_floating_point():
            assert torch.allclose(compiled[name], value, atol=5e-3, rtol=5e-2), name


def test_one_process_of_a_group_computes_what_one_alone_does(device: torch.device, faces: Path, tmp_path: Path) -> None:
    config, training = settings(faces, "unet", amp="off")
    alone = Trainer(config, training, device, Workers())
    (batch,) = [batch for _, batch in zip(range(1), epochs(faces, device, config, training).epoch(0), strict=False)]
    alone.schedule.total = 10
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        wrapped = copy.deepcopy(alone.model)
        network = nn.parallel.DistributedDataParallel(wrapped)
        network(batch.images).square().mean().backward()
        alone.model(batch.images).square().mean().backward()
    finally:
        dist.destroy_process_group()
    for (name, one), other in zip(alone.model.named_parameters(), wrapped.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-6, rtol=1e-4), name


def test_deterministic_mode_repeats_bit_for_bit(device: torch.device, faces: Path) -> None:
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        first, second = (stepped(faces, device, steps=4).average.state_dict() for _ in range(2))
    finally:
        torch.backends.cudnn.deterministic = before
    assert all(torch.equal(first[name], second[name]) for name in first)
