"""Prediction speed, with torch and ONNX Runtime.

All models one image at a time and batched, untrained, since the time does not depend on the weights; the shipped weights
on both backends, and on a whole picture including face detection.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kptool import plugins
from kptool.base.config import configure
from kptool.base.skeleton import FACE15
from kptool.bench.timing import Row, Work, measure
from kptool.network import cards
from kptool.network.keypoint_model import KeypointModel
from kptool.predict.backends import Backend, TorchBackend
from kptool.predict.maps_backend import SUFFIX, MapsBackend
from kptool.predict.predictor import Predictor


def run(quick: bool = False) -> list[Row]:
    """Milliseconds per image from pixels to points, batched, against one at a time and against the network alone."""
    rows: list[Row] = []
    batch = 16 if quick else 64
    images = torch.randint(0, 256, (batch, 1, 96, 96), dtype=torch.uint8)
    for name in plugins.own_names("models"):
        config, _ = configure(name, FACE15, (96, 96), 1, plugins.defaults(name))
        model = KeypointModel(config).place(torch.device("cpu")).eval()
        times = measure(_works(model, images), seconds=0.2 if quick else 2.0)
        task, each = f"{name}, batches of {batch}", times["batch"].per(batch)
        rows.append(Row.timed("predict, ms per image", task, "one at a time", each, times["one"]))
        rows.append(Row.timed("predict, ms per image", task, "its network alone", each, times["network"].per(batch)))
    return [*rows, *_shipped(images.numpy(), quick)]


def _shipped(images: NDArray[np.uint8], quick: bool) -> list[Row]:
    """The shipped U-Net: ONNX Runtime against torch, and a synthetic 480x360 picture of a face against its crop."""
    path, _ = cards.resolve("unet", Path("no runs of this folder"))
    backends: dict[str, Backend] = {"onnx": MapsBackend(path.with_suffix(SUFFIX)), "torch": TorchBackend(path, "cpu")}
    face = next(iter(plugins.load("datasets", "synthetic").open(None, count=1, seed=3).blocks())).images[0]
    picture = np.full((360, 480), 90, np.uint8)
    picture[60:252, 100:292] = face.repeat(2, 0).repeat(2, 1)
    predictor = Predictor(str(path), "cpu")
    works: dict[str, Work] = {name: partial(backend.run, images) for name, backend in backends.items()}
    works["crop"] = partial(backends["onnx"].run, images[:1])
    works["picture"] = partial(predictor.predict, picture)
    times = measure(works, seconds=0.2 if quick else 2.0)
    each = {name: times[name].per(len(images)) for name in backends}
    return [
        Row.timed(
            "predict, ms per image", f"U-Net that ships, batches of {len(images)}", "torch", each["onnx"], each["torch"]
        ),
        Row.timed(
            "predict, ms per image", "picture of 480x360, face found", "its crop alone", times["picture"], times["crop"]
        ),
    ]


def _works(model: KeypointModel, images: torch.Tensor) -> dict[str, Work]:
    def network() -> None:
        with torch.inference_mode():
            model(images)

    return {"batch": lambda: model.points(images), "one": lambda: model.points(images[:1]), "network": network}
