"""Peers that are part of large toolkits, loaded as single modules, so that the toolkits' dependencies are not needed.

A wheel installed with ``pip install --no-deps`` is enough; see ``benchmarks/requirements-toolkits.txt``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[Any]
Points = NDArray[Any]


def load(package: str, folder: str, module: str) -> Any:
    """Import a module from a package's folder without running the package's ``__init__``."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ImportError(package)
    alias = f"_kptool_peer_{package}"
    parent = ModuleType(alias)
    parent.__path__ = [str(Path(found.submodule_search_locations[0], folder))]
    sys.modules[alias] = parent
    return importlib.import_module(f"{alias}.{module}")


def mmpose_udp(points: Points, height: int, width: int, sigma: float) -> Callable[[], Maps]:
    """mmpose's UDP codec, one picture at a time; its maps are 0 beyond three sigma."""
    generate = load("mmpose", "codecs/utils", "gaussian_heatmap").generate_udp_gaussian_heatmaps
    seen = np.ones((1, points.shape[1]), np.float32)
    return lambda: np.stack([generate((width, height), each[None], seen, sigma)[0] for each in points])


def sleap_confmaps(points: Points, height: int, width: int, sigma: float) -> Callable[[], Any]:
    """sleap-nn's make_confmaps."""
    import torch

    needed = ModuleType(
        "sleap_nn.data.utils"
    )  # the real module imports all of the toolkit for a function not used here
    needed.make_grid_vectors = None  # type: ignore[attr-defined]
    sys.modules.setdefault("sleap_nn.data.utils", needed)
    make = load("sleap_nn", "data", "confidence_maps").make_confmaps
    p, x, y = torch.from_numpy(points.astype(np.float32)), torch.arange(width).float(), torch.arange(height).float()
    return lambda: make(p, x, y, sigma)


def lightning_heatmaps(points: Points, height: int, width: int, sigma: float) -> Callable[[], Any]:
    """lightning-pose's generate_heatmaps; its maps sum to 1."""
    import torch

    generate = load("lightning_pose", "data", "heatmaps").generate_heatmaps
    p = torch.from_numpy(points.astype(np.float32))
    return lambda: generate(p, height, width, (height, width), sigma)


def mmpose_dark(maps: Maps) -> Callable[[], Points]:
    """mmpose's maxima and DARK, with the authors' smoothing, under which a Gaussian stays a Gaussian."""
    maximum = load("mmpose", "codecs/utils", "post_processing").get_heatmap_maximum
    refine = load("mmpose", "codecs/utils", "refinement").refine_keypoints_dark

    def decode() -> Points:
        return np.stack([refine(maximum(each)[0][None], each.copy(), 11)[0] for each in maps])

    return decode


def rtmlib_dark(maps: Maps) -> Callable[[], Points]:
    """rtmlib's post_dark_udp, starting from numpy's maxima; it smooths over three pixels.

    One picture at a time: it indexes pixels in float32, which is exact only up to 2**24 of them.
    """
    refine = load("rtmlib", "tools/pose_estimation", "post_processings").post_dark_udp

    def decode() -> Points:
        index = maps.reshape(*maps.shape[:2], -1).argmax(-1)
        peaks = np.stack([index % maps.shape[3], index // maps.shape[3]], -1).astype(np.float32)
        return np.stack([refine(each[None], one[None].copy())[0] for each, one in zip(peaks, maps, strict=True)])

    return decode
