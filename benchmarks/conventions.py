"""Measure how other toolkits place and scale the Gaussian of a keypoint, for docs/coming-from.md.

    pip install --no-deps -r benchmarks/requirements-toolkits.txt -r benchmarks/requirements.txt deeplabcut==3.0.2
    python benchmarks/conventions.py

Each toolkit renders the same keypoint of a 96x96 image with its own code, at a quarter of the resolution where it has a
stride. Printed are where the peak lies and what sigma is, both in heatmap pixels, and whether the values' peak or sum is
1. Position and sigma are the first two moments, so they assume nothing about the toolkit. The conversions between errors
are checked on isotropic Gaussian noise.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.bench import toolkits

SIDE, STRIDE, SIGMA = 96, 4, 2.0
POINT = np.array([40.0, 52.0])
Maps = NDArray[np.float64]


def moments(heatmap: Maps) -> tuple[float, float, float, float, float]:
    """x and y of the centre of mass, the standard deviation along x, the largest value and the sum of (h, w)."""
    y, x = np.mgrid[: heatmap.shape[0], : heatmap.shape[1]]
    total = float(heatmap.sum())
    cx, cy = float((x * heatmap).sum() / total), float((y * heatmap).sum() / total)
    return cx, cy, float(np.sqrt(((x - cx) ** 2 * heatmap).sum() / total)), float(heatmap.max()), total


def ours() -> Maps:
    return heatmaps.render(POINT[None, None], (SIDE, SIDE), SIGMA, stride=STRIDE)[0, 0].astype(float)


def sleap() -> Maps:
    toolkits.sleap_confmaps(POINT[None, None], SIDE, SIDE, SIGMA)  # leaves the stub that the module needs
    grid = lambda height, width, stride: (torch.arange(0.0, width, stride), torch.arange(0.0, height, stride))  # noqa: E731
    sys.modules["sleap_nn.data.utils"].make_grid_vectors = grid  # type: ignore[attr-defined]
    module = toolkits.load("sleap_nn", "data", "confidence_maps")
    module.make_grid_vectors = grid
    point = torch.tensor(POINT, dtype=torch.float32).view(1, 1, 1, 2)
    return module.generate_confmaps(point, (SIDE, SIDE), SIGMA, STRIDE)[0, 0].double().numpy()


def lightning() -> Maps:
    generate = toolkits.load("lightning_pose", "data", "heatmaps").generate_heatmaps
    small = SIDE // STRIDE
    return generate(torch.tensor(POINT).float().view(1, 1, 2), SIDE, SIDE, (small, small), SIGMA)[0, 0].double().numpy()


def mmpose(udp: bool) -> Maps:
    module = toolkits.load("mmpose", "codecs/utils", "gaussian_heatmap")
    small, seen = SIDE // STRIDE, np.ones((1, 1), np.float32)
    scale = (SIDE - 1) / (small - 1) if udp else SIDE / small
    name = "generate_udp_gaussian_heatmaps" if udp else "generate_unbiased_gaussian_heatmaps"
    sigma: float = int(SIGMA) if udp else SIGMA
    return getattr(module, name)((small, small), POINT[None, None] / scale, seen, sigma)[0][0].astype(float)


def deeplabcut() -> Maps:
    found = importlib.util.find_spec("deeplabcut")
    if found is None or not found.submodule_search_locations:
        raise ImportError("deeplabcut")
    folder, name = Path(found.submodule_search_locations[0]), "deeplabcut"
    for part in ("", "pose_estimation_pytorch", "models", "target_generators"):
        name, folder = (f"{name}.{part}", folder / part) if part else (name, folder)
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    generator = importlib.import_module(f"{name}.heatmap_targets").HeatmapGaussianGenerator
    made = generator(num_heatmaps=1, pos_dist_thresh=17, generate_locref=False)
    small = SIDE // STRIDE
    outputs = {"heatmap": torch.zeros(1, 1, small, small)}
    labels = {"keypoints": torch.tensor([[[[*POINT, 2.0]]]])}
    return made(STRIDE, outputs, labels)["heatmap"]["target"][0, 0].double().numpy()


def kornia() -> Maps:
    dsnt = importlib.import_module("kornia.geometry.subpix")
    point = torch.tensor(POINT)
    return dsnt.render_gaussian2d(point, torch.full((2,), SIGMA).double(), (SIDE, SIDE), False).numpy()


def dsntnn() -> Maps:
    make = importlib.import_module("dsntnn").make_gauss
    return make(torch.tensor((2 * POINT + 1) / SIDE - 1).view(1, 1, 2), (SIDE, SIDE), SIGMA)[0, 0].numpy()


def renders() -> Iterator[tuple[str, Callable[[], Maps]]]:
    yield from (("kptool", ours), ("sleap-nn", sleap), ("lightning-pose", lightning))
    yield from (("mmpose MSRAHeatmap", lambda: mmpose(False)), ("mmpose UDPHeatmap", lambda: mmpose(True)))
    yield from (("DeepLabCut", deeplabcut), ("kornia", kornia), ("dsntnn", dsntnn))


def errors(count: int = 1_000_000) -> None:
    """Per-coordinate RMSE and mean distance of isotropic noise of 1 px, and the factor between them."""
    noise = np.random.default_rng(0).normal(size=(count, 2))
    rmse, distance = float(np.sqrt((noise**2).mean())), float(np.linalg.norm(noise, axis=1).mean())
    root = float(np.sqrt((noise**2).sum(1).mean()))
    print(
        f"isotropic noise of 1 px: RMSE {rmse:.4f}, mean distance {distance:.4f}, root mean square distance {root:.4f}"
    )
    print(f"  expected:               1.0000, sqrt(pi / 2) {np.sqrt(np.pi / 2):.4f}, sqrt(2) {np.sqrt(2):.4f}")


def main() -> None:
    print(f"keypoint at {POINT.tolist()} of {SIDE}x{SIDE}, sigma {SIGMA}, stride {STRIDE}")
    for name, render in renders():
        try:
            x, y, sigma, peak, total = moments(render())
        except ImportError as error:
            print(f"{name:20} not installed ({error})")
            continue
        print(f"{name:20} x {x:.3f}  y {y:.3f}  sigma {sigma:.3f}  peak {peak:.4f}  sum {total:.3f}")
    errors()


if __name__ == "__main__":
    main()
