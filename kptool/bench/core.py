"""Rendering and decoding with one thread, against memory bandwidth and against peers.

The floors that memory bandwidth sets: memset of the same bytes for rendering, numpy's max over the same array for decoding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.bench import peaks, peers
from kptool.bench.timing import Row, Work, measure, one_torch_thread


@dataclass(frozen=True)
class Workload:
    """`samples` x `keypoints` heatmaps of `size` (H, W). W0 and W1 exceed any CPU cache, W2 fits into one."""

    name: str
    samples: int
    keypoints: int
    size: tuple[int, int]
    sigma: float

    def points(self, seed: int = 0) -> NDArray[np.float64]:
        """Random points (samples, keypoints, 2), far enough from borders for peers that do not handle borders."""
        margin = 6 * self.sigma
        low, high = np.full(2, margin), np.array(self.size[::-1]) - 1 - margin
        return np.random.default_rng(seed).uniform(low, high, (self.samples, self.keypoints, 2))


W0 = Workload("W0 256x15x96x96", 256, 15, (96, 96), 2.0)
W1 = Workload("W1 64x68x256x256", 64, 68, (256, 256), 3.0)
W2 = Workload("W2 32x17x64x48", 32, 17, (64, 48), 2.0)
SMALL = Workload("small 32x15x96x96", 32, 15, (96, 96), 2.0)


def run(quick: bool = False) -> list[Row]:
    """All rows. `quick` takes seconds: small workloads, and no peers that need compilation."""
    seconds = 0.15 if quick else 1.0
    rows: list[Row] = []
    for load in (SMALL, W2) if quick else (W0, W1, W2):
        rows += [*render_floors(load, seconds), *decode_floors(load, seconds)]
    peer_load = SMALL if quick else W0
    rows += [*render_peers(peer_load, seconds, compiled=not quick), *decode_peers(peer_load, seconds)]
    return rows + peaks.run(quick)


def _against(group: str, floor: str, floor_work: Work, works: dict[str, Work], seconds: float) -> Iterator[Row]:
    """Each of `works` against the floor, measured alternately."""
    times = measure({floor: floor_work, **works}, seconds=seconds)
    for name in works:
        yield Row.timed(group, name, floor, times[name], times[floor])


def render_floors(load: Workload, seconds: float) -> Iterator[Row]:
    """Rendering against memset: by type into a buffer, into a new array, and with a persistent renderer."""
    scenes = [load.points(seed) for seed in range(2)]
    shape = (load.samples, load.keypoints, *load.size)
    buffers = {dtype: np.zeros(shape, dtype) for dtype in heatmaps.DTYPES}
    renderer = heatmaps.Renderer(load.samples, load.keypoints, load.size, load.sigma, threads=1)
    turn = [0]

    def persistent() -> None:
        turn[0] ^= 1
        renderer(scenes[turn[0]])

    def into(dtype: str) -> Work:
        return lambda: heatmaps.render(scenes[0], load.size, load.sigma, dtype=dtype, out=buffers[dtype], threads=1)

    single = buffers["float32"]
    works: dict[str, Work] = {f"render {dtype}": into(dtype) for dtype in heatmaps.DTYPES}
    works["render float32, new array"] = lambda: heatmaps.render(scenes[0], load.size, load.sigma, threads=1)
    works["Renderer, next batch"] = persistent
    yield from _against(
        load.name, "memset of float32", lambda: ctypes.memset(single.ctypes.data, 0, single.nbytes), works, seconds
    )
    assert np.array_equal(renderer(scenes[1]), heatmaps.render(scenes[1], load.size, load.sigma))


def decode_floors(load: Workload, seconds: float) -> Iterator[Row]:
    """Decoding against numpy's max: every method on float32, the fast ones also on the smaller types."""
    points = load.points()
    maps = {dtype: heatmaps.render(points, load.size, load.sigma, dtype=dtype) for dtype in heatmaps.DTYPES}

    def work(method: str, dtype: str) -> Work:
        return lambda: heatmaps.decode(maps[dtype], method, threads=1)

    kinds = [(method, "float32") for method in heatmaps.METHODS]
    kinds += [(method, dtype) for method in ("argmax", "centroid") for dtype in ("float16", "uint8")]
    works = {f"decode {method} {dtype}": work(method, dtype) for method, dtype in kinds}
    yield from _against(load.name, "numpy max of float32", lambda: maps["float32"].max(), works, seconds)
    found, _ = heatmaps.decode(maps["float32"])
    assert np.abs(found - points).max() < 1e-3


def render_peers(load: Workload, seconds: float, *, compiled: bool) -> Iterator[Row]:
    """Rendering float32 against each installed peer, on the same terms of memory: results that are kept, so that each takes
    fresh pages; into a given array, of peers that can; results that are dropped at once, so that an allocator may use their
    memory again, as kptool's does. Asserts that results agree within 1e-5.
    """
    points = load.points()
    given = np.zeros((load.samples, load.keypoints, *load.size), np.float32)

    def new() -> NDArray[np.float32]:
        return heatmaps.render(points, load.size, load.sigma, threads=1)

    def into() -> NDArray[np.float32]:
        return heatmaps.render(points, load.size, load.sigma, out=given, threads=1)

    ours = new()
    with one_torch_thread():
        for name, (package, make) in peers.RENDERERS.items():
            if not peers.available(package) or ("compile" in name and not compiled):
                continue
            peer: Callable[[], Any] = make(points, *load.size, load.sigma)
            _check_agreement(name, np.asarray(peer()).reshape(ours.shape), ours)
            pairs: dict[str, tuple[Work, Work]] = {DROPPED: (new, peer)}
            if name in peers.RENDERERS_INTO:
                filler = peers.RENDERERS_INTO[name](points, *load.size, load.sigma)
                _check_agreement(name, np.asarray(filler()).reshape(ours.shape), ours)
                pairs[INTO] = (into, filler)
            found = [_pair(load, name, terms, *works, seconds=seconds) for terms, works in pairs.items()]
            heatmaps.clear_pool()
            found.append(_pair(load, name, KEPT, _keeping(new), _keeping(peer), seconds=0.0))
            yield from sorted(found, key=lambda row: row.ratio)


KEPT, INTO, DROPPED = "results kept", "into a given array", "results dropped at once"


def _pair(load: Workload, name: str, terms: str, ours: Work, theirs: Work, *, seconds: float) -> Row:
    """A row of two ways of rendering on the same terms of memory."""
    times = measure({"ours": ours, name: theirs}, seconds=seconds, least=5)
    return Row.timed(f"{load.name}, peers", f"render float32, {terms}", name, times["ours"], times[name])


def _keeping(work: Callable[[], Any]) -> Work:
    """The work, with all results kept as long as this is."""
    results: list[Any] = []
    return lambda: results.append(work())


def _check_agreement(name: str, theirs: NDArray[np.float32], ours: NDArray[np.float32]) -> None:
    theirs = theirs / theirs.max((2, 3), keepdims=True) * ours.max((2, 3), keepdims=True)
    drawn = theirs > 0 if "mmpose" in name else True  # it is 0 beyond three sigma
    assert np.abs(theirs - ours)[drawn].max() < 1e-5, f"{name} does not agree"


def decode_peers(load: Workload, seconds: float) -> Iterator[Row]:
    """Decoding against each installed peer with the same definition; asserts that points agree within 0.05 pixels.

    Peers that average over the whole map are compared with the windowed centroid too, which is faster and more accurate.
    """
    maps = heatmaps.render(load.points(), load.size, load.sigma)
    group = f"{load.name}, peers"
    with one_torch_thread():
        for name, (package, method, make) in peers.DECODERS.items():
            if not peers.available(package):
                continue
            peer: Callable[[], Any] = make(maps)
            assert np.abs(np.asarray(peer()) - heatmaps.decode(maps, method)[0]).max() < 0.05, f"{name} does not agree"
            works = {"ours": _decoding(maps, method), "window": _decoding(maps, "centroid"), name: peer}
            times = measure(works, seconds=seconds)
            yield Row.timed(group, f"decode {method}", name, times["ours"], times[name])
            if method == "centroid-global":
                note = "another definition: a window about the peak"
                yield Row.timed(group, "decode centroid", name, times["window"], times[name], note)


def _decoding(maps: NDArray[np.float32], method: str) -> Work:
    return lambda: heatmaps.decode(maps, method, threads=1)
