"""Export of a run's finder as an ONNX graph with the peaks inside.

images uint8 (n, C, h, w) of the finder's size, letterboxed -> normalise -> network -> peaks
    -> boxes float32 (n, 100, 4), left and top edge, width, height, in the images' pixels, and scores (n, 100), 0 for none
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kptool.base.errors import ConfigError
from kptool.evaluation.detection import overlaps
from kptool.network.finder import Finder, candidates, load_finder
from kptool.network.finder_config import KEY
from kptool.predict import finding
from kptool.predict.backends import weights_hash
from kptool.predict.export import quiet_exporter, strip
from kptool.system.files import atomic

SAME = 0.999
"""Least intersection over union of a graph's box with torch's."""
_COMPARED = 0.1
"""Lowest score of the boxes that are compared: those below are noise, which may differ in their order."""


@dataclass(frozen=True)
class ExportedFinder:
    """The exported file, the number of boxes compared with torch, and the lowest overlap of a pair (1 without any)."""

    path: Path
    boxes: int
    overlap: float


class Graph(nn.Module):
    """`Finder.find` in operations that ONNX supports."""

    def __init__(self, finder: Finder) -> None:
        super().__init__()
        self.finder = finder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (n, C, h, w) -> boxes and scores; see the module."""
        return candidates(self.finder(images).float())


def export_finder(weights: Path, out: Path, shown: NDArray[np.uint8] | None = None) -> ExportedFinder:
    """Write the finder in `weights` as a graph to `out`, atomically and only if its boxes equal torch's.

    They are compared on `shown`, uint8 (n, C, h, w) of its size; on noise if there is none. Raises ConfigError if they differ.
    """
    finder = load_finder(weights)
    if shown is None or not len(shown):
        noise = np.random.default_rng(0).integers(0, 256, (2, finder.config.channels, *finder.config.size))
        shown = noise.astype(np.uint8)
    with atomic(out) as temporary:
        _write(Graph(finder).eval(), weights_hash(weights), temporary)
        ours, theirs = finding.run_graph(temporary), finding.run_torch(finder)
        lowest, count = _lowest_overlap(ours(shown), theirs(shown))
        if lowest < SAME:
            raise ConfigError(
                f"a box of the graph of {weights} overlaps torch's by only {lowest:.3f}; nothing was written"
            )
    return ExportedFinder(out, count, lowest)


def _lowest_overlap(
    ours: tuple[NDArray[np.float32], NDArray[np.float32]], theirs: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> tuple[float, int]:
    """The lowest overlap of torch's boxes with the nearest of the graph's, and their number."""
    lowest, count = 1.0, 0
    for mine, scores, other, known in zip(*ours, *theirs, strict=True):
        expected = other[known >= _COMPARED]
        if len(expected):
            found = overlaps(expected.astype(np.float64), mine[scores > 0].astype(np.float64))
            lowest = min(lowest, float(found.max(1, initial=0).min()))
            count += len(expected)
    return lowest, count


def _write(graph: Graph, weights: str, path: Path) -> None:
    """Trace the graph, with the number of images left variable, and save it; `weights` is their hash."""
    import onnx

    config = graph.finder.config
    example = torch.zeros(2, config.channels, *config.size, dtype=torch.uint8)
    with quiet_exporter():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=18,
            input_names=["images"],
            output_names=["boxes", "scores"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )
    assert program is not None
    proto = program.model_proto
    strip(proto)
    onnx.helper.set_model_props(proto, {KEY: config.to_json(), "weights": weights})
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))
