"""Inference by a graph that ends with heatmaps, which the C++ core decodes: faster to load and to run than one that decodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps as core
from kptool.base.errors import CheckpointError
from kptool.base.geometry import from_heatmap
from kptool.network.cards import PRIOR, Card, parse_card
from kptool.network.shape_prior import ShapePrior
from kptool.predict.backends import BATCH, Floats, Output, calibrated, open_session, radius_quantiles, stack

SUFFIX = ".maps.onnx"
"""How the names of such graphs end, beside the weights that they were made from."""


class MapsBackend:
    """Runs a graph of `kptool.predict.export.write_maps`, images uint8 (n, C, h, w) of the model's size -> heatmaps."""

    name, has_heatmaps = "onnxruntime", True

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self._path, self._threads = path, threads
        self._session = open_session(path, threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card: Card = parse_card(path, metadata)
        self.weights: str = metadata.get("weights", "")
        config = self.card.config
        given = [(put.name, put.shape[1:]) for put in self._session.get_inputs()]
        made = [put.name for put in self._session.get_outputs()]
        if given != [("images", [config.channels, *config.size])] or made != ["heatmaps"]:
            raise CheckpointError(f"{path} is not a graph of heatmaps written by kptool; remove it")
        self.prior = ShapePrior.of(self.card.data.get(PRIOR), len(config.names))
        """chooses between the peaks of unsure heatmaps"""

    def __reduce__(self) -> tuple[Callable[[Path, int, Card], MapsBackend], tuple[Path, int, Card]]:
        """Pickle the path: an ONNX Runtime session cannot cross processes, so the other one opens the file again."""
        return _open, (self._path.absolute(), self._threads, self.card)

    def run(self, images: NDArray[np.uint8], *, heatmaps: bool = False) -> Output:
        """See `Backend.run`."""
        stacked = stack(images)
        parts = [self._maps(stacked[start : start + BATCH]) for start in range(0, len(stacked), BATCH)]
        maps = np.concatenate(parts) if len(parts) > 1 else parts[0]
        stride = round(self.card.config.size[0] / maps.shape[2])
        peaks, scores = core.decode(maps, self.card.config.decoder, threads=self._threads)
        if self.prior is not None:
            peaks = self.prior.revise(peaks, maps.max((2, 3)).clip(0, 1), lambda i, k: maps[i, k])
        offset = self.card.shift.offset
        off = np.float32(0) if offset is None else offset.astype(np.float32)
        points = (from_heatmap(peaks, stride) + off).astype(np.float32)
        radius = radius_quantiles(self.card) * spread(maps) * np.float32(stride)
        return Output(points, calibrated(scores.clip(0, 1), self.card), radius, maps if heatmaps else None)

    def _maps(self, images: NDArray[np.uint8]) -> Floats:
        """Heatmaps (n, K, h, w). Raises CheckpointError if the graph fails, or returns anything else."""
        try:
            (maps,) = self._session.run(["heatmaps"], {"images": images})
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise CheckpointError(f"{self._path} cannot be run; remove it") from error
        if maps.ndim != 4 or maps.shape[:2] != (len(images), len(self.card.config.names)) or maps.dtype != np.float32:
            raise CheckpointError(f"{self._path} does not output heatmaps; remove it")
        found: Floats = maps
        return found


def spread(maps: Floats) -> Floats:
    """`kptool.network.keypoint_model.heatmap_std` of arrays, float32 (N, K)."""
    heights = maps.clip(0)
    columns, rows = (np.einsum(f"nkyx,nkyx->nk{axis}", heights, heights) for axis in "xy")
    total = rows.sum(2).clip(1e-12)
    variance = np.zeros_like(total)
    for marginal in (columns, rows):
        at = np.arange(marginal.shape[2], dtype=np.float32)
        variance += (marginal @ np.square(at)) / total - np.square((marginal @ at) / total)
    found: Floats = np.sqrt(variance.clip(0.25)).astype(np.float32)
    return found


def _open(path: Path, threads: int, card: Card) -> MapsBackend:
    backend = MapsBackend(path, threads=threads)
    backend.card = card
    return backend
