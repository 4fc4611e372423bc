"""Export of a trained model as one ONNX graph that includes all pre- and postprocessing.

images uint8 (n, C, H, W), any size -> letterbox -> normalise -> network -> activation -> sub-pixel decoder
    -> points float32 (n, K, 2) in the given images' pixels, scores (n, K), radius90 (n, K), heatmaps (n, K, h, w)

Points are the features' positions, or the labels'; the graph's metadata say which, under the key ``points``. Scores are
calibrated (see `kptool.network.presence`) where the metadata hold ``scores`` = ``presence``, else heights of peaks.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kptool import plugins
from kptool.base.errors import ConfigError
from kptool.base.version import install
from kptool.evaluation import evaluation
from kptool.network import checkpoint
from kptool.network.cards import Card
from kptool.network.keypoint_model import KeypointModel, heatmap_std, normalised_to_pixels
from kptool.network.label_shift import FEATURE
from kptool.network.presence import FLOOR, KEY
from kptool.predict import agreement, halving
from kptool.predict.agreement import Difference
from kptool.predict.backends import radius_quantiles, weights_hash
from kptool.predict.letterbox import letterbox
from kptool.predict.maps_backend import MapsBackend
from kptool.system.files import atomic

TOLERANCE = 0.01
"""The largest difference allowed between the graph's points and torch's, in pixels of the model's input."""


@dataclass(frozen=True)
class Exported:
    """The exported file, its size in bytes, and the result of comparing it with torch on `images` images.

    points: which points the graph outputs, see `kptool.network.label_shift`. half: mean and largest displacement of the
    points on those images caused by float16 weights, pixels; None for float32 weights.
    """

    path: Path
    size: int
    images: int
    difference: Difference
    points: str
    half: tuple[float, float] | None = None


class Graph(nn.Module):
    """Letterboxing and `KeypointModel.points` in operations that ONNX supports."""

    def __init__(self, model: KeypointModel, card: Card, *, as_labelled: bool = False) -> None:
        super().__init__()
        self.points = card.shift.points(as_labelled)
        off = card.shift.vector() if self.points == FEATURE else np.float32(0)
        self.register_buffer("shift", model.offset - torch.from_numpy(np.asarray(off)))
        self.shift: Tensor
        self.model = model
        self.decoder = plugins.load_decoder(model.config.decoder).function
        self.register_buffer("quantiles", torch.from_numpy(radius_quantiles(card)))
        self.quantiles: Tensor
        self.presence = card.presence
        shift = np.zeros(1) if self.presence is None else self.presence.shift
        self.register_buffer("known", torch.from_numpy(np.isfinite(shift)))
        self.register_buffer("odds", torch.from_numpy(np.nan_to_num(shift).astype(np.float32)))
        self.known: Tensor
        self.odds: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images uint8 (n, C, H, W) -> points, scores, radius90 and, for heatmap models, heatmaps; see the module."""
        size = self.model.config.size
        box = letterbox(images, size)
        output = self.model.output(box.images)
        if self.model.plugin.output == "coordinates":
            points = normalised_to_pixels(output, size) + self.shift
            ones = torch.ones_like(points[..., 0])
            return box.back(points), ones, (self.quantiles * ones / box.scale).float()
        found, scores = self.decoder(output)
        stride = self.model.stride
        points = (found + 0.5) * stride - 0.5 + self.shift  # geometry.from_heatmap
        radius = self.quantiles * heatmap_std(output) * stride
        return box.back(points), self._scores(scores.clamp(0, 1)), (radius / box.scale).float(), output

    def _scores(self, heights: Tensor) -> Tensor:
        """`Presence.apply`."""
        if self.presence is None:
            return heights
        odds = self.presence.scale * heights.clamp_min(FLOOR).log() + self.odds
        return torch.where(self.known, odds.sigmoid(), heights)


def export(
    weights: Path,
    out: Path,
    pictures: NDArray[np.uint8] | None = None,
    *,
    half: bool = False,
    as_labelled: bool = False,
) -> Exported:
    """Write the model in `weights` as a graph to `out`, atomically and only if its results equal torch's.

    The comparison runs on `pictures`, uint8 (n, H, W) or (n, C, H, W) of the model's input size, as they are and
    stretched to other aspects; on synthetic faces if there are none. The graph's points are the features' positions, or
    with `as_labelled` the labels'. `half` stores weights in float16, which halves the file; arithmetic stays in float32,
    and torch uses the same rounded weights in the comparison. Raises ConfigError if `out` does not end in .onnx, a
    package is missing, a weight is out of float16's range, or the graph differs by more than `TOLERANCE`.
    """
    check_name(out)
    require_packages()
    model, card = checkpoint.load_model(weights)
    model.prior = None  # `OnnxBackend` applies it to the graph's heatmaps
    shown = agreement.synthetic(model.config).images if pictures is None else pictures
    stored = halving.rounded(model) if half else model
    with atomic(out) as temporary:
        _write(Graph(stored, card, as_labelled=as_labelled).eval(), card, weights_hash(weights), temporary, half)
        found = agreement.difference(temporary, stored, shown)
        if not found.points <= TOLERANCE:
            worst = max(found.aspects, key=lambda name: found.aspects[name])
            raise ConfigError(
                f"the graph of {weights} differs from torch by {found.points:.4f} pixels (on {worst} pictures) and"
                f" {TOLERANCE} are allowed; nothing was written"
            )
    cost = agreement.displacement(model, stored, shown) if half else None
    return Exported(out, out.stat().st_size, len(shown), found, card.shift.points(as_labelled), cost)


class Maps(nn.Module):
    """A heatmap model from images of its own size to heatmaps, for `kptool.predict.maps_backend`."""

    def __init__(self, model: KeypointModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8 (n, C, h, w) -> heatmaps (n, K, h, w) with a peak of about 1."""
        return self.model.output(images)


def write_maps(weights: Path, out: Path, pictures: NDArray[np.uint8], *, half: bool = False) -> float:
    """Write the heatmap model in `weights` as a graph of `Maps` to `out`, atomically and only if its points equal torch's on
    `pictures`, uint8 (n, H, W) or (n, C, H, W). Returns the largest difference in pixels. Raises ConfigError as `export`."""
    require_packages()
    model, card = checkpoint.load_model(weights)
    model.prior = None
    stored = halving.rounded(model) if half else model
    example = torch.zeros(2, model.config.channels, *model.config.size, dtype=torch.uint8)
    about = {"kptool": card.to_json(), "weights": weights_hash(weights)}
    with atomic(out) as temporary:
        _trace(Maps(stored).eval(), example, {0: torch.export.Dim("n")}, ["heatmaps"], about, temporary, half)
        backend = MapsBackend(temporary)
        backend.prior = None
        apart = float(np.abs(backend.run(pictures).points - evaluation.run([stored], pictures).points).max())
        if not apart <= TOLERANCE:
            raise ConfigError(f"the graph of {weights} differs from torch by {apart:.4f} pixels; nothing was written")
    return apart


def check_name(out: Path) -> None:
    """Raise ConfigError if a file's name does not end in .onnx, by which graphs are recognised when they are loaded."""
    if out.suffix != ".onnx":
        raise ConfigError(f"{out} does not end in .onnx; name it {out.with_suffix('.onnx').name or 'model.onnx'}")


def require_packages() -> None:
    """Raise ConfigError if the packages that write ONNX files are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"exporting needs two more packages: {install('export')}") from error


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence torch's warnings and log lines about the exporter's own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _write(graph: Graph, card: Card, weights: str, path: Path, half: bool) -> None:
    """Trace the graph, with batch and picture size left variable, and save it; `weights` is their hash."""
    config = graph.model.config
    example = torch.zeros(2, config.channels, config.size[0] + 1, config.size[1] + 2, dtype=torch.uint8)
    n, h, w = (torch.export.Dim(name) for name in ("n", "height", "width"))
    heatmaps = graph.model.plugin.output == "heatmap"
    names = ["points", "scores", "radius90", "heatmaps"][: 4 if heatmaps else 3]
    about = {"kptool": card.to_json(), "weights": weights, "points": graph.points}
    if graph.presence is not None and heatmaps:
        about["scores"] = KEY
    _trace(graph, example, {0: n, 2: h, 3: w}, names, about, path, half)


def _trace(
    graph: nn.Module,
    example: Tensor,
    variable: dict[int, Any],
    outputs: list[str],
    about: dict[str, str],
    path: Path,
    half: bool,
) -> None:
    """Trace a module, with the `variable` axes of its input, and save it with the metadata `about`."""
    import onnx

    with quiet_exporter():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            verbose=False,
            optimize=False,
            opset_version=18,
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes=(variable,),
        )
        assert program is not None
        _simplify(program)
    proto = program.model_proto
    strip(proto)
    if half:
        halving.store(proto)
    onnx.helper.set_model_props(proto, about)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))


def _simplify(program: Any) -> None:
    """Optimise a traced graph as the exporter would, in half the time.

    The optimiser tries every pattern on every node; constants and repeated expressions, most of the nodes, go first.
    """
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants

    common.InlinePass()(program.model)
    fold_constants(program.model)
    for each in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
    ):
        each(program.model)
    program.optimize()


def strip(proto: Any) -> None:
    """Remove from a graph the exporter's metadata, which include paths of this machine."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
