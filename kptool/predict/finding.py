"""Where the instances in a picture are: a trained finder, run by ONNX Runtime or torch on the letterboxed picture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from kptool.base.errors import CheckpointError
from kptool.base.geometry import Box, apply_affine, fit_box, image_box, invert_affine
from kptool.data import images
from kptool.evaluation.detection import distinct
from kptool.network.finder_config import KEY, FinderConfig, finder_beside
from kptool.predict import sessions
from kptool.predict.backends import weights_hash

if TYPE_CHECKING:
    from kptool.network.finder import Finder

log = logging.getLogger(__name__)

_LEAST = 1.0
"""Smallest width and height of a found box, pixels of the picture."""

Candidates = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Images uint8 (N, C, H, W) -> boxes (N, M, 4) in their pixels and scores (N, M)."""


@dataclass(frozen=True)
class Found:
    """An instance in a picture. box: (x, y, width, height) in its pixels, x and y its left and top edges. score: 0..1."""

    box: Box
    score: float


class InstanceFinder:
    """A finder of a run: `find` gives the instances of a picture whose score is at least `threshold`."""

    def __init__(self, config: FinderConfig, run: Candidates) -> None:
        self.config, self._run = config, run
        self.threshold = config.threshold

    def find(self, picture: NDArray[np.uint8]) -> list[Found]:
        """The instances in a picture uint8 (H, W) or (H, W, 3), from left to right."""
        size = (picture.shape[0], picture.shape[1])
        affine = fit_box(image_box(size), self.config.size)
        shown = images.fitted(picture, affine, self.config.size, self.config.channels)
        boxes, scores = (part[0] for part in self._run(shown.reshape(1, self.config.channels, *self.config.size)))
        likely = scores >= self.threshold
        boxes, scores = boxes[likely].astype(np.float64), scores[likely]
        kept = distinct(boxes, scores)
        corners = np.stack([boxes[kept, :2], boxes[kept, :2] + boxes[kept, 2:]], 1)
        moved = apply_affine(invert_affine(affine), corners)
        sides = np.maximum(moved[:, 1] - moved[:, 0], _LEAST)
        found = [
            Found((x, y, w, h), float(score))
            for (x, y), (w, h), score in zip(moved[:, 0].tolist(), sides.tolist(), scores[kept], strict=True)
        ]
        return sorted(found, key=lambda each: each.box[0])


def load(weights: Path, device: str = "auto") -> InstanceFinder | None:
    """The finder beside a weights file or graph; None if there is none.

    On the CPU, a graph exported from the same weights and stored beside them replaces them. Raises CheckpointError for a
    damaged file.
    """
    path = finder_beside(weights)
    if path.suffix == ".onnx":
        return InstanceFinder(*_graph(path)[:2]) if path.is_file() else None
    if not path.is_file():
        return None
    graph = path.with_suffix(".onnx")
    if device in ("auto", "cpu") and graph.is_file():
        try:
            config, run, made_from = _graph(graph)
            if made_from == weights_hash(path):
                return InstanceFinder(config, run)
        except CheckpointError as error:
            log.warning("%s; using the weights %s with torch instead", error, path)
    return _with_torch(path, device)


def _with_torch(path: Path, device: str) -> InstanceFinder:
    from kptool.network.finder import load_finder
    from kptool.system import devices

    network = load_finder(path, devices.pick(device))
    return InstanceFinder(network.config, run_torch(network))


def settings(path: Path) -> FinderConfig:
    """The settings of a finder's weights or graph. Raises CheckpointError for a damaged file."""
    if path.suffix == ".onnx":
        return _graph(path)[0]
    try:
        with safe_open(path, framework="np") as file:
            return FinderConfig.parse(path, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable finder of kptool's ({error})") from error


def run_torch(network: Finder) -> Candidates:
    """How to run a finder with torch, on the device that it is on."""
    import torch

    place = next(network.parameters()).device

    def run(shown: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        boxes, scores = network.find(torch.from_numpy(np.array(shown)).to(place))  # a copy: pixels may be read-only
        return boxes.cpu().numpy(), scores.cpu().numpy()

    return run


def run_graph(path: Path) -> Candidates:
    """How to run an exported finder with ONNX Runtime."""
    return _graph(path)[1]


def _graph(path: Path) -> tuple[FinderConfig, Candidates, str]:
    """The settings of an exported finder, how to run it, and the hash of the weights it was made from."""
    import onnxruntime

    again = "export it again with `kptool export`"
    try:
        session = onnxruntime.InferenceSession(
            str(path), sessions.options(0), providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise CheckpointError(f"{path} is not a readable graph; {again}") from error
    metadata = session.get_modelmeta().custom_metadata_map
    config = FinderConfig.parse(path, {KEY: metadata.get(KEY, "")})

    def run(shown: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            boxes, scores = session.run(["boxes", "scores"], {"images": np.ascontiguousarray(shown)})
        except Exception as error:  # no common base class, as above
            raise CheckpointError(f"{path} cannot be run; {again}") from error
        fits = (
            boxes.shape == (len(shown), scores.shape[1], 4) and np.isfinite(boxes).all() and np.isfinite(scores).all()
        )
        if not fits:
            raise CheckpointError(f"{path} does not output boxes; {again}")
        return boxes, scores

    return config, run, metadata.get("weights", "")
