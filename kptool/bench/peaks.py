"""Finding every peak of maps with several objects, with one thread, against memory bandwidth and against peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.bench.peers import available
from kptool.bench.timing import Row, measure, one_torch_thread

_SIGMA, _OBJECTS, _THRESHOLD, _DISTANCE, _MOST = 2.0, 8, 0.3, 2, 100
Maps = NDArray[np.float32]


def skimage_peaks(maps: Maps) -> Callable[[], Any]:
    """`peak_local_max` of scikit-image, which returns pixels, map by map."""
    from skimage import feature

    find: Any = feature.peak_local_max
    settings = {"min_distance": _DISTANCE, "threshold_abs": _THRESHOLD, "num_peaks": _MOST, "exclude_border": False}
    return lambda: [find(one, **settings)[:, ::-1] for one in maps[:, 0]]


def torch_peaks(maps: Maps) -> Callable[[], Any]:
    """The usual way on a GPU, here on the CPU: a maximum filter by pooling, and the highest that it leaves as they are."""
    import torch

    tensor, width = torch.from_numpy(maps), maps.shape[3]

    def find() -> list[Any]:
        highest = torch.nn.functional.max_pool2d(tensor, 2 * _DISTANCE + 1, 1, _DISTANCE)
        kept = torch.where((highest == tensor) & (tensor >= _THRESHOLD), tensor, 0.0)
        scores, index = kept.flatten(1).topk(_MOST)
        points = torch.stack([index % width, index // width], 2)
        return [point[score > 0].numpy() for point, score in zip(points, scores, strict=True)]

    return find


PEERS = {"scikit-image peak_local_max": ("skimage", skimage_peaks), "torch max_pool2d and topk": ("torch", torch_peaks)}


def scenes(samples: int, size: tuple[int, int]) -> Maps:
    """Maps (samples, 1, H, W), each with Gaussians at random places: most pixels are zero."""
    points = np.random.default_rng(0).uniform(8, np.array(size[::-1]) - 9, (samples, _OBJECTS, 1, 2))
    maps: Maps = heatmaps.render(points, size, _SIGMA)
    return maps


def run(quick: bool = False) -> list[Row]:
    """All rows; `quick` takes a second."""
    samples, size = (8, (128, 128)) if quick else (64, (256, 256))
    return list(_rows(scenes(samples, size), 0.15 if quick else 1.0))


def _rows(maps: Maps, seconds: float) -> Iterator[Row]:
    group = f"peaks {'x'.join(map(str, maps.shape))}, {_OBJECTS} objects"

    def find(method: str) -> tuple[Any, ...]:
        return heatmaps.find_peaks(maps, _THRESHOLD, _DISTANCE, _MOST, method=method, threads=1)

    works = {f"find_peaks {method}": (lambda method=method: find(method)) for method in ("argmax", "gaussian")}
    floor = "numpy max of float32"
    times = measure({floor: maps.max, **works}, seconds=seconds)
    for name in works:
        yield Row.timed(group, name, floor, times[name], times[floor])
    coords, _, counts = find("argmax")
    with one_torch_thread():
        for name, (package, make) in PEERS.items():
            if not available(package):
                continue
            peer = make(maps)
            for n, points in enumerate(peer()):
                ours = {tuple(point) for point in coords[n, 0, : counts[n, 0]].tolist()}
                assert ours == {tuple(map(float, point)) for point in points}, f"{name} does not agree"
            times = measure({"ours": works["find_peaks gaussian"], name: peer}, seconds=seconds)
            yield Row.timed(group, "find_peaks gaussian", name, times["ours"], times[name])
