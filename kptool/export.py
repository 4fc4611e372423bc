"""A trained model as one ONNX graph: images in, points out, nothing left for others to get wrong.

images uint8 (n, C, H, W), any size -> resize -> normalise -> network -> activation -> sub-pixel decoder
    -> points float32 (n, K, 2) in the given images' pixels, scores (n, K), radius90 (n, K), heatmaps (n, K, h, w)

Points are where the features are, or where labels would be; the graph's metadata say which, under the key ``points``.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kptool import checkpoint, plugins
from kptool.cache import Cache
from kptool.cards import Card
from kptool.config import ModelConfig
from kptool.detector import Detector, normalised_to_pixels, spread
from kptool.errors import ConfigError
from kptool.files import atomic
from kptool.networks import OnnxNetwork, TorchNetwork, radius_factors, weights_hash
from kptool.shifts import FEATURE

TOLERANCE = 0.01
"""Pixels: the largest difference between the graph and torch that is let through."""


@dataclass(frozen=True)
class Exported:
    """What was written: the file, its size in bytes, and the largest difference to torch, in pixels and in scores."""

    path: Path
    size: int
    images: int
    largest_difference: float
    largest_score_difference: float
    points: str


class Graph(nn.Module):
    """The computation of `Detector.points`, with the resizing before it, in operations that ONNX has."""

    def __init__(self, detector: Detector, card: Card, *, as_labelled: bool = False) -> None:
        super().__init__()
        self.points = card.shift.points(as_labelled)
        off = card.shift.vector() if self.points == FEATURE else np.float32(0)
        self.register_buffer("shift", detector.offset - torch.from_numpy(np.asarray(off)))
        self.shift: Tensor
        self.detector = detector
        self.decoder = plugins.load_decoder(detector.config.decoder).function
        self.register_buffer("factors", torch.from_numpy(radius_factors(card)))
        self.factors: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = self.detector.config.size
        small = resize(images.float(), height, width)
        output = self.detector.output(small)
        if self.detector.model.output == "coordinates":
            points = normalised_to_pixels(output, (height, width)) + self.shift
            ones = torch.ones_like(points[..., 0])
            return self._back(points, images), ones, self.factors * ones * self._stretch(images)
        found, scores = self.decoder(output)
        stride = self.detector.model.stride
        points = (found + 0.5) * stride - 0.5 + self.shift
        radius = self.factors * spread(output) * stride
        return self._back(points, images), scores.clamp(0, 1), radius * self._stretch(images), output

    def _scale(self, images: Tensor) -> Tensor:
        """Pixels of the given images for each of the network's, x and y."""
        height, width = self.detector.config.size
        sides = [torch.full((1,), images.shape[axis], dtype=torch.float32) for axis in (3, 2)]
        return torch.cat(sides) / torch.tensor([width, height])

    def _back(self, points: Tensor, images: Tensor) -> Tensor:
        return (points + 0.5) * self._scale(images) - 0.5

    def _stretch(self, images: Tensor) -> Tensor:
        return self._scale(images).amax(0)


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Images (n, C, H, W) -> (n, C, height, width), edges to edges: bilinear, averaging where it shrinks.

    As two matrix products, since the resizing of ONNX differs between runtimes where it averages.
    """
    down, across = (_weights(torch.arange(images.shape[axis]), side) for axis, side in ((2, height), (3, width)))
    return down.to(images.device) @ images @ across.T.to(images.device)


def _weights(source: Tensor, target: int) -> Tensor:
    """The matrix (target, source) of a triangle filter, as wide as two source pixels or two target pixels."""
    scale = torch.full((1,), source.shape[0], dtype=torch.float32) / target
    centre = (torch.arange(target) + 0.5) * scale - 0.5
    distance = (source[None].float() - centre[:, None]).abs() / scale.clamp_min(1)
    weight = (1 - distance).clamp_min(0)
    return weight / weight.sum(1, keepdim=True)


def export(
    weights: Path,
    out: Path,
    pictures: NDArray[np.uint8] | None = None,
    *,
    half: bool = False,
    as_labelled: bool = False,
) -> Exported:
    """Write the model in `weights` as a graph to `out`, all or nothing, once it has shown that it equals torch.

    `pictures` uint8 (n, H, W) or (n, C, H, W), of the model's size, are what it is compared on; random ones where there
    are none. Its points are where the features are, or with `as_labelled` where labels would be. `half` stores weights
    in float16, half the size; the arithmetic stays in float32. Raises ConfigError where a package is missing, or where
    the graph differs by more than `TOLERANCE`.
    """
    require_packages()
    detector, card = checkpoint.load_detector(weights)
    config = detector.config
    if pictures is None:
        shape = (8, config.channels, *config.size)
        pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with atomic(out) as temporary:
        _write(Graph(detector, card, as_labelled=as_labelled).eval(), card, weights_hash(weights), temporary, half)
        difference, scores = compare(temporary, weights, pictures)
        if not difference <= TOLERANCE:
            raise ConfigError(
                f"the graph of {weights} differs from torch by {difference:.4f} pixels and {TOLERANCE} are allowed;"
                " nothing was written"
            )
    return Exported(out, out.stat().st_size, len(pictures), difference, scores, card.shift.points(as_labelled))


def compare(graph: Path, weights: Path, pictures: NDArray[np.uint8]) -> tuple[float, float]:
    """The largest difference between a graph and torch, in pixels and in scores, over pictures of the model's size."""
    ours, theirs = OnnxNetwork(graph).run(pictures), TorchNetwork(weights, "cpu").run(pictures)
    points = float(np.abs(ours.points - theirs.points).max())
    return points, float(np.abs(ours.scores - theirs.scores).max())


def read_images(cache: Path, config: ModelConfig, count: int = 64) -> NDArray[np.uint8] | None:
    """Up to `count` images of a cache, spread over it; None where they are not of the model's kind."""
    with Cache(cache) as opened:
        if (opened.info.size, opened.info.channels) != (config.size, config.channels):
            return None
        return opened.read("images", np.unique(np.linspace(0, len(opened) - 1, count).astype(int)))


def require_packages() -> None:
    """Raise ConfigError where what writes ONNX files is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError("exporting needs two more packages: pip install 'kptool[export]'") from error


def _write(graph: Graph, card: Card, weights: str, path: Path, half: bool) -> None:
    import onnx

    config = graph.detector.config
    example = torch.zeros(2, config.channels, config.size[0] + 1, config.size[1] + 2, dtype=torch.uint8)
    n, h, w = (torch.export.Dim(name) for name in ("n", "height", "width"))
    names = ["points", "scores", "radius90", "heatmaps"]
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own internals
        logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=18,
                input_names=["images"],
                output_names=names[: 4 if graph.detector.model.output == "heatmap" else 3],
                dynamic_shapes=({0: n, 2: h, 3: w},),
            )
        finally:
            logger.setLevel(level)
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    if half:
        _halve(proto)
    onnx.helper.set_model_props(proto, {"kptool": card.to_json(), "weights": weights, "points": graph.points})
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))


def _strip(proto: Any) -> None:
    """Remove what the exporter notes of itself, lines of this machine's files among it."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]


def _halve(proto: Any) -> None:
    """Store large tensors as float16, made float32 again when the graph is loaded."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = proto.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 256:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
