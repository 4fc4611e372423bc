"""Inference backends: ONNX Runtime on the CPU, torch on any device.

Both take images of the model's input size and return points in their pixels. ONNX Runtime loads in a tenth of torch's
time, so on the CPU a graph exported from the same weights and stored beside them is preferred.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import CheckpointError, ConfigError
from kptool.base.geometry import from_heatmap, to_heatmap
from kptool.network.cards import PRIOR, Card, parse_card, read_card
from kptool.network.label_shift import AS_LABELLED, FEATURE
from kptool.network.presence import KEY
from kptool.network.shape_prior import ShapePrior
from kptool.predict import sessions

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
BATCH = 64


@dataclass(frozen=True)
class Output:
    """Model output: points (N, K, 2) and radius90 (N, K) in pixels of the images, scores (N, K) in 0..1; float32.

    Points are as labelled, i.e. they include the labels' offset from the features, which `card.shift` describes. Scores are
    calibrated where `card.presence` is known, else heights of peaks.

    heatmaps: float32 (N, K, h, w) if requested; None for direct regression, which has none.
    """

    points: Floats
    scores: Floats
    radius90: Floats
    heatmaps: Floats | None = None

    def take(self, chosen: NDArray[np.bool_]) -> Output:
        """The output of the images that are `chosen` (N,)."""
        maps = None if self.heatmaps is None else self.heatmaps[chosen]
        return Output(self.points[chosen], self.scores[chosen], self.radius90[chosen], maps)

    def replaced(self, index: Sequence[int], other: Output) -> Output:
        """This output with the images at `index` taken from `other`."""
        parts = [self.points.copy(), self.scores.copy(), self.radius90.copy()]
        for mine, new in zip(parts, (other.points, other.scores, other.radius90), strict=True):
            mine[index] = new
        maps = None if self.heatmaps is None else self.heatmaps.copy()
        if maps is not None and other.heatmaps is not None:
            maps[index] = other.heatmaps
        return Output(parts[0], parts[1], parts[2], maps)


class Backend(Protocol):
    """Runs a model. `name` is "onnxruntime" or "torch"; `has_heatmaps` is False for direct regression."""

    card: Card
    name: str
    has_heatmaps: bool

    def run(self, images: NDArray[np.uint8], *, heatmaps: bool = False) -> Output:
        """Predict on images uint8 (N, H, W) or (N, C, H, W) of the model's input size."""


def load(path: Path, device: str = "auto", *, flip: bool = False) -> Backend:
    """Load a weights file, or a graph written by ``kptool export``.

    On the CPU, a graph exported from the same weights and stored beside them replaces them. `flip` averages with the
    prediction for the mirrored image, which needs torch. Raises CheckpointError if the file is not one of kptool's,
    ConfigError if a graph does not support the options or the device is not available.
    """
    if device not in ("auto", "cpu"):  # checking these two does not need torch
        from kptool.system import devices

        devices.pick(device)
    if path.suffix == ".onnx":
        if flip or device not in ("auto", "cpu"):
            raise ConfigError(f"{path} runs on the CPU and without --tta; give the weights it was made from instead")
        return OnnxBackend(path)
    if not flip and (device == "cpu" or (device == "auto" and not _has_gpu())):
        backend = _beside(path)
        if backend is not None:
            return backend
    return TorchBackend(path, device, flip=flip)


def _beside(path: Path) -> Backend | None:
    """A graph that was made from the weights `path` and lies beside them; one that is damaged is named, and passed over."""
    from kptool.predict.maps_backend import SUFFIX, MapsBackend

    kinds: dict[str, type[MapsBackend | OnnxBackend]] = {SUFFIX: MapsBackend, ".onnx": OnnxBackend}
    for suffix, kind in kinds.items():
        graph = path.with_suffix(suffix)
        if not graph.is_file():
            continue
        try:
            backend = kind(graph)
            if backend.weights == weights_hash(path):
                backend.run(blank(backend.card))  # some broken graphs fail only when they run
                backend.card = read_card(path)  # a graph exported by an older kptool may lack the label shift
                return backend
        except CheckpointError as error:
            log.warning("%s; using the weights %s with torch instead", error, path)
    return None


def blank(card: Card) -> NDArray[np.uint8]:
    """One black image of the model's input size, uint8 (1, C, H, W)."""
    config = card.config
    return np.zeros((1, config.channels, *config.size), np.uint8)


def weights_hash(path: Path) -> str:
    """SHA-256 of a weights file, stored in the metadata of a graph exported from it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def radius_quantiles(card: Card) -> Floats:
    """The 90 % radius of each keypoint as a multiple of the heatmap's spread, float32 (K,); NaN if the card lacks it."""
    stored, count = card.metrics.get("radius90"), len(card.config.names)
    if not isinstance(stored, list) or len(stored) != count:
        return np.full(count, np.nan, np.float32)
    if not all(isinstance(quantile, float | int | None) for quantile in stored):
        return np.full(count, np.nan, np.float32)
    quantiles = np.array([np.nan if quantile is None else quantile for quantile in stored], np.float64)
    return np.where(np.isfinite(quantiles) & (quantiles > 0), quantiles, np.nan).astype(np.float32)


def ellipses(card: Card) -> Floats | None:
    """The 90 % ellipse of each keypoint, see `kptool.evaluation.ellipse`, float64 (K, 3), NaN where its errors are round; None if
    the card has none."""
    stored, count = card.metrics.get("ellipse90"), len(card.config.names)
    if not isinstance(stored, list) or len(stored) != count:
        return None
    found = np.full((count, 3), np.nan)
    for row, each in zip(found, stored, strict=True):
        if isinstance(each, list) and len(each) == 3 and all(isinstance(value, float | int) for value in each):
            row[:] = each
    usable = np.isfinite(found).all(1) & (found[:, :2] > 0).all(1)
    return np.where(usable[:, None], found, np.nan) if usable.any() else None


def calibrated(heights: Floats, card: Card) -> Floats:
    """Scores from heights of peaks (N, K): calibrated as far as the card says how."""
    presence = card.presence
    return heights if presence is None else presence.apply(heights)


class TorchBackend:
    """Runs a weights file with torch, on any device."""

    name = "torch"

    def __init__(self, path: Path, device: str = "auto", *, flip: bool = False) -> None:
        from kptool.network import checkpoint
        from kptool.network.keypoint_model import Inference
        from kptool.system import devices

        self._inference = Inference(flip)
        self.model, self.card = checkpoint.load_model(path, devices.pick(device))
        self._quantiles = radius_quantiles(self.card)
        self.has_heatmaps = self.model.plugin.output == "heatmap"

    def run(self, images: NDArray[np.uint8], *, heatmaps: bool = False) -> Output:
        """See `Backend.run`. Heatmaps are those of the image itself, even if `flip` averages the points."""
        import torch

        from kptool.evaluation import evaluation

        found = evaluation.require_finite(evaluation.run([self.model], images, self._inference))
        maps = None
        if heatmaps and self.has_heatmaps:
            device = self.model.offset.device
            stacked = torch.from_numpy(stack(images))
            with torch.inference_mode():
                parts = [self.model.output(part.to(device)).cpu().numpy() for part in torch.split(stacked, BATCH)]
            maps = np.concatenate(parts)
        return Output(found.points, calibrated(found.scores, self.card), self._quantiles * found.std, maps)


class OnnxBackend:
    """Runs a graph written by ``kptool export`` with ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self._path, self._threads = path, threads
        self._session = open_session(path, threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card = parse_card(path, metadata)
        self.weights = metadata.get("weights", "")
        self.points = metadata.get("points", AS_LABELLED)
        """What the graph's own points are; `run` always returns them as labelled."""
        self._shift = self.card.shift.vector() if self.points == FEATURE else np.float32(0)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.has_heatmaps = "heatmaps" in self._outputs
        self.prior = (
            ShapePrior.of(self.card.data.get(PRIOR), len(self.card.config.names)) if self.has_heatmaps else None
        )
        """chooses between the peaks of unsure heatmaps of images of the model's size; the graph does not"""
        self._calibrated = metadata.get("scores") == KEY
        """whether the graph's own scores are; otherwise, `run` calibrates them"""
        expected, config = {"points", "scores", "radius90"}, self.card.config
        inputs = [(put.name, put.shape[1]) for put in self._session.get_inputs() if len(put.shape) > 1]
        if not expected <= set(self._outputs) or inputs != [("images", config.channels)]:
            raise CheckpointError(f"{path} is not a graph written by kptool; export it again with `kptool export`")

    def __reduce__(self) -> tuple[Callable[[Path, int, Card], OnnxBackend], tuple[Path, int, Card]]:
        """Pickle the path: an ONNX Runtime session cannot cross processes, so the other one opens the file again."""
        return _open, (self._path.absolute(), self._threads, self.card)

    def run(self, images: NDArray[np.uint8], *, heatmaps: bool = False) -> Output:
        """See `Backend.run`."""
        stacked = stack(images)
        prior = self.prior if stacked.shape[2:] == self.card.config.size else None
        names = ["points", "scores", "radius90"]
        names += ["heatmaps"] if self.has_heatmaps and (heatmaps or prior is not None) else []
        parts = [self._run(names, stacked[start : start + BATCH]) for start in range(0, len(stacked), BATCH)]
        points, scores, radius, *maps = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        points = points + self._shift * self._scale(stacked)
        if prior is not None:
            points = self._revised(prior, points, maps[0])
        scores = scores if self._calibrated else calibrated(scores, self.card)
        return Output(points, scores, radius, *(maps if heatmaps else ()))

    def _revised(self, prior: ShapePrior, points: Floats, maps: Floats) -> Floats:
        """Points (N, K, 2) in pixels, as `prior` chooses them; those that it leaves are not computed anew.

        The graph's own scores may be calibrated; which peaks are sure is a matter of their heights.
        """
        stride, offset = round(self.card.config.size[0] / maps.shape[2]), self.card.shift.offset
        off = np.float32(0) if offset is None else offset.astype(np.float32)
        peaks = to_heatmap(points - off, stride)
        revised = prior.revise(peaks, maps.max((2, 3)).clip(0, 1), lambda i, k: maps[i, k])
        return np.where(revised == peaks, points, from_heatmap(revised, stride) + off)

    def _scale(self, images: NDArray[np.uint8]) -> np.float32:
        """Image pixels per model input pixel: the graph letterboxes images of any size, keeping their aspect."""
        (height, width), size = images.shape[2:], self.card.config.size
        return np.float32(max(width / size[1], height / size[0]))

    def _run(self, names: list[str], images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The named outputs. Raises CheckpointError if the graph fails, or an output's shape or dtype is wrong."""
        try:
            arrays: list[NDArray[np.float32]] = self._session.run(names, {"images": images})
        except Exception as error:  # no common base class, as above
            raise CheckpointError(f"{self._path} cannot be run; export it again with `kptool export`") from error
        n, k = len(images), len(self.card.config.names)
        shapes = [getattr(array, "shape", None) for array in arrays]
        same = shapes[:3] == [(n, k, 2), (n, k), (n, k)] and all(array.dtype == np.float32 for array in arrays)
        if not same or not all(np.isfinite(array).all() for array in arrays[:2]):
            raise CheckpointError(f"{self._path} does not output keypoints; export it again with `kptool export`")
        return arrays


def open_session(path: Path, threads: int) -> Any:
    """A session of ONNX Runtime on the CPU. Raises CheckpointError if the graph cannot be read."""
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            str(path), sessions.options(threads), providers=["CPUExecutionProvider"], enable_fallback=0
        )  # the fallback would retry the same provider and print to stdout
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise CheckpointError(f"{path} is not a readable graph; export it again with `kptool export`") from error


def _open(path: Path, threads: int, card: Card) -> OnnxBackend:
    backend = OnnxBackend(path, threads=threads)
    backend.card = card
    return backend


def stack(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (N, H, W) or (N, C, H, W) as (N, C, H, W), contiguous."""
    return np.ascontiguousarray(images if images.ndim == 4 else images[:, None])


def _has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded, checked without importing torch."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/dxg").exists()
