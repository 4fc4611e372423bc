"""Prediction speed of the four models, untrained (the time does not depend on the weights): one by one and batched."""

from __future__ import annotations

import torch

from kptool import plugins
from kptool.annotations import FACE15
from kptool.bench.timing import Row, Work, medians
from kptool.config import configure
from kptool.detector import Detector


def run(quick: bool = False) -> list[Row]:
    """Milliseconds per image, pixels to points, batched: against one at a time, and against the network alone."""
    rows: list[Row] = []
    batch = 16 if quick else 64
    images = torch.randint(0, 256, (batch, 1, 96, 96), dtype=torch.uint8)
    for name in plugins.names("models"):
        model, _ = configure(name, FACE15, (96, 96), 1, {"width": plugins.load_model(name).default_width})
        detector = Detector(model).place(torch.device("cpu")).eval()
        times = medians(_works(detector, images), seconds=0.2 if quick else 2.0)
        task, each = f"{name}, batches of {batch}", times["batch"] / batch
        rows.append(Row("predict, ms per image", task, "one at a time", each, times["one"]))
        rows.append(Row("predict, ms per image", task, "its network alone", each, times["network"] / batch))
    return rows


def _works(detector: Detector, images: torch.Tensor) -> dict[str, Work]:
    def network() -> None:
        with torch.inference_mode():
            detector(images)

    return {"batch": lambda: detector.points(images), "one": lambda: detector.points(images[:1]), "network": network}
