"""The parts of benchmarks/gpu.py that time single operations: steps, loops, rendering, decoding, precision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from kptool import heatmaps, plugins
from kptool.base.config import ModelConfig, TrainConfig, configure
from kptool.bench import timing
from kptool.bench import train as plain
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import read_truth
from kptool.network import checkpoint, keypoint_model
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs, Pending, TrainingSet
from kptool.training.recording import Recorder
from kptool.training.trainer import Trainer

WEIGHTS = Path(keypoint_model.__file__).parent.parent / "weights" / "unet.safetensors"


@dataclass
class Bench:
    """Faces on the device, and how long to time each work."""

    device: torch.device
    batch: int
    seconds: float
    model: ModelConfig
    config: TrainConfig
    data: TrainingSet
    found: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, cache: Path, device: torch.device, batch: int, seconds: float) -> Bench:
        """From the training images of a cache."""
        with Cache(cache) as opened:
            info, train = opened.info, opened.index("train")
            truth = read_truth(opened, train)
            data = TrainingSet.upload(opened.read("images", train), truth.points, truth.visibility, device, truth.back)
        model, config = configure("unet", info.skeleton, info.size, info.channels, {"batch_size": batch})
        return cls(device, batch, seconds, model, config, data)

    def trainer(self, model: str = "unet", **changes: Any) -> Trainer:
        """A new training, whose schedule is long."""
        loss = "wing" if plugins.load_model(model).output == "coordinates" else "dsnt"
        width = changes.pop("width", plugins.load_model(model).default_width)
        chosen = replace(self.model, model=model, loss=loss, width=width)
        trainer = Trainer(chosen, replace(self.config, **changes), self.device, Workers())
        trainer.schedule.total = 1_000_000
        trainer.network.train()
        return trainer

    def batches(self, size: int | None = None) -> Iterator[Pending]:
        """Batches without end, whose augmentation is pending."""
        size = size or self.batch
        data = Epochs(self.data, self.model.flip_pairs, self.config.augment, batch_size=size, seed=0)
        number = 0
        while True:
            yield from data.pending(number)
            number += 1

    def augmented(self, size: int | None = None) -> Batch:
        """One augmented batch, for good."""
        return next(self.batches(size)).augmented(torch.Generator(self.device).manual_seed(0))

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def times(self, works: dict[str, Callable[[], object]], repeats: int = 8) -> dict[str, float]:
        """Median milliseconds of each work, of which `repeats` are given to the device before waiting for it."""

        def repeated(work: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                for _ in range(repeats):
                    work()
                self.wait()

            return run

        times = timing.measure({name: repeated(work) for name, work in works.items()}, seconds=self.seconds, least=3)
        found = {name: each.median for name, each in times.items()}
        return {name: value / repeats for name, value in found.items()}


def peak(bench: Bench) -> dict[str, float]:
    """The device's bfloat16 matrix product and its memory, as measured, for comparison."""
    side = 8192 if bench.device.type == "cuda" else 256
    a, b = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    large = torch.empty((1 << 30) if bench.device.type == "cuda" else 1 << 20, dtype=torch.uint8, device=bench.device)
    other = torch.empty_like(large)
    took = bench.times({"product": lambda: a @ b, "copy": lambda: other.copy_(large)})
    bench.found["tflops"] = 2 * side**3 / took["product"] / 1e9
    return {"bf16 TFLOP/s": bench.found["tflops"], "copy GB/s": 2 * large.numel() / took["copy"] / 1e6}


def loop(bench: Bench) -> dict[str, float]:
    """The whole loop beside its step on one resident batch, and beside a plain PyTorch loop of float32."""
    trainer, other, endless = bench.trainer(step="record"), bench.trainer(step="record"), bench.batches()
    fixed = bench.augmented()
    images, points = (part.cpu().numpy() for part in (bench.data.images[:, 0], bench.data.points))
    faces = plain.PlainFaces(images, points, bench.model.sigma)
    usual = plain._plain_loop(faces, bench.trainer(batch_size=min(bench.batch, len(images))))
    took = bench.times(
        {
            "loop": lambda: trainer.train_step(next(endless)),
            "step": lambda: other.train_step(fixed),
            "plain loop": lambda: next(usual),
        }
    )
    took["step / loop"] = took["step"] / took["loop"]
    took["plain loop / loop"] = took["plain loop"] / took["loop"]
    took["images per second"] = 1e3 * bench.batch / took["loop"]
    return took


def step(bench: Bench) -> dict[str, float]:
    """A step by batch size and width: recorded, operation by operation, with the augmentation, and as a share of the peak."""
    found: dict[str, float] = {}
    sizes = ((32, 32), (256, 32), (1024, 32), (256, 128)) if bench.device.type == "cuda" else ((4, 8),)
    for size, width in sizes:
        fixed, endless = bench.augmented(size), bench.batches(size)
        recorded, plain, whole = (
            bench.trainer(width=width, batch_size=size, step=each) for each in ("record", "plain", "record")
        )
        with FlopCounterMode(display=False) as counter:
            plain.loss(fixed).backward()  # type: ignore[no-untyped-call]
        work: dict[str, Callable[[], object]] = {
            "step": partial(recorded.train_step, fixed),
            "plain step": partial(plain.train_step, fixed),
            "with augmentation": lambda whole=whole, endless=endless: whole.train_step(next(endless)),
        }
        took = bench.times(work, 4)
        flops, name = counter.get_total_flops(), f"batch {size}, width {width}"
        found |= {f"{name}: {key}": value for key, value in took.items()}
        found[f"{name}: TFLOP/s"] = flops / took["step"] / 1e9
        if "tflops" in bench.found:
            found[f"{name}: share of peak"] = found[f"{name}: TFLOP/s"] / bench.found["tflops"]
    if bench.device.type == "cuda":
        found["memory, GB"] = torch.cuda.max_memory_allocated(bench.device) / 1e9
    return found


def compiled(bench: Bench) -> dict[str, float]:
    """A step whose network is compiled beside the same step as it is, both recorded; and the first call, which compiles."""
    usual, fixed = bench.trainer(step="record"), bench.augmented()
    other = bench.trainer(step="compile" if bench.device.type == "cuda" else "record")
    begun = time.perf_counter()
    other.train_step(fixed)
    bench.wait()
    first = time.perf_counter() - begun
    took = bench.times({"step": lambda: usual.train_step(fixed), "compiled": lambda: other.train_step(fixed)})
    took["step / compiled"] = took["step"] / took["compiled"]
    return took | {"first step, s": first}


def render_and_loss(bench: Bench) -> dict[str, float]:
    """Targets and loss beside the loss alone, with its backward pass, on the network's output; also of drawn targets, as
    losses take them that have no form for separable ones."""
    trainer, fixed, record = bench.trainer(), bench.augmented(), Recorder(bench.device)
    raw = torch.randn(
        (bench.batch, len(bench.model.names), *trainer.model.heatmap_size), device=bench.device, requires_grad=True
    )
    loss, factors, drawn = trainer.model.loss, trainer.targets.factors(fixed), trainer.targets(fixed)
    assert loss.separable is not None
    losses: dict[str, Callable[[], torch.Tensor]] = {
        "render and loss": lambda: trainer.targets.losses(loss, raw, fixed),
        "loss": lambda: loss.separable(raw, *factors),  # type: ignore[misc]
        "drawn targets and loss": lambda: loss.function(raw, *trainer.targets(fixed)),
        "loss of drawn targets": lambda: loss.function(raw, *drawn),
    }

    def backward(name: str) -> torch.Tensor:
        raw.grad = None
        total = losses[name]().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    took = bench.times({name: partial(record, name, partial(backward, name)) for name in losses})
    took["render and loss / loss"] = took["render and loss"] / took["loss"]
    return took


def decoding(bench: Bench) -> dict[str, float]:
    """Decoding 256x15x96x96 heatmaps beside reading them once."""
    count, repeats = (256, 32) if bench.device.type == "cuda" else (8, 1)
    rng = np.random.default_rng(0)
    points = rng.uniform(5, 90, (count, 15, 2)).astype(np.float32)
    maps = torch.from_numpy(np.asarray(heatmaps.render(points, (96, 96), 2.0))).to(bench.device)
    works: dict[str, Callable[[], object]] = {"read": lambda: maps.amax((2, 3))}
    for name in heatmaps.METHODS:
        works[name] = partial(plugins.load_decoder(name).function, maps)
    took = bench.times(works, repeats)
    return took | {f"{name} / read": took[name] / took["read"] for name in heatmaps.METHODS}


def precision(bench: Bench) -> dict[str, float]:
    """How far points in half precision lie from those in float32, in pixels, on the cache's faces, by the shipped weights."""
    model, _ = checkpoint.load_model(WEIGHTS, bench.device)
    images = bench.data.images[: bench.batch]
    exact, found = model.points(images)[0], dict[str, float]()
    for name, kind in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        with torch.autocast(bench.device.type, kind):
            off = (model.points(images)[0] - exact).norm(dim=-1)
        found |= {f"{name}, mean": float(off.mean()), f"{name}, largest": float(off.max())}
    return found


def prediction(bench: Bench) -> dict[str, float]:
    """Images per second of a prediction, decoding included, by precision."""
    model, _ = checkpoint.load_model(WEIGHTS, bench.device)
    images = bench.data.images[: bench.batch]

    def half() -> None:
        with torch.autocast(bench.device.type, torch.bfloat16):
            model.points(images)

    took = bench.times({"float32": lambda: model.points(images), "bfloat16": half}, 1)
    return {f"{name}, images/s": 1e3 * len(images) / value for name, value in took.items()}


PARTS: dict[str, Callable[[Bench], dict[str, float]]] = {
    "peak": peak,
    "loop": loop,
    "step": step,
    "compiled": compiled,
    "render and loss": render_and_loss,
    "decoding": decoding,
    "precision": precision,
    "prediction": prediction,
}
