"""The core used from many threads at once, and in processes forked while it is in use."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool import _core, heatmaps

# Since 3.12, Python warns about forking with threads running, which is what is tested here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]
LIMIT = 60  # seconds; anything still running after that is a deadlock
POINTS = np.random.default_rng(0).uniform(0, 95, (64, 15, 2))
SIZE = (96, 96)


def both(points: NDArray[Any] = POINTS, threads: int = 2) -> tuple[NDArray[Any], NDArray[Any]]:
    """Maps from the memory pool, drawn by several threads, and their points."""
    maps = heatmaps.render(points, SIZE, threads=threads)
    return maps, heatmaps.decode(maps, threads=threads)[0]


def equals(expected: tuple[NDArray[Any], NDArray[Any]]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(both(), expected, strict=True))


def in_fork(work: Callable[[], bool]) -> None:
    """Run `work` in a forked process; fails if it returns False, raises, or does not end."""
    child = os.fork()
    if child == 0:
        code = 2
        with contextlib.suppress(BaseException):
            code = 0 if work() else 1
        os._exit(code)
    end = time.monotonic() + LIMIT
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the forked process hangs")
        time.sleep(0.002)
    assert os.waitstatus_to_exitcode(done[1]) == 0


@contextlib.contextmanager
def busy(work: Callable[[], object]) -> Iterator[None]:
    """Call `work` repeatedly in another thread."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_many_threads_get_what_one_gets() -> None:
    """Pool, renderers, decoders and parsers, all at once."""
    rng = np.random.default_rng(1)
    batches = [rng.uniform(-5, 100, (40, 5, 2)) for _ in range(8)]
    expected = [both(points, threads=1) for points in batches]
    text = b"".join(b"%d,%d\n" % (i, 2 * i) for i in range(2000))

    def work(turn: int) -> bool:
        points, (maps, coords) = batches[turn % 8], expected[turn % 8]
        got, found = both(points, threads=1 + turn % 3)
        draw = heatmaps.Renderer(40, 5, SIZE, threads=1 + turn % 3)
        draw(batches[(turn + 1) % 8])
        floats = np.empty((2000, 2))
        assert _core.parse_rows(text, 2, -1, 0, floats, np.empty((2000, 0), np.uint8), True)[0] == 2000
        same = np.array_equal(got, maps) and np.array_equal(found, coords) and np.array_equal(draw(points), maps)
        return same and bool((floats[:, 1] == 2 * np.arange(2000)).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(48), timeout=LIMIT))


def test_one_renderer_in_many_threads_draws_one_call_after_the_other() -> None:
    draw = heatmaps.Renderer(64, 15, SIZE)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(draw, [POINTS + i for i in range(30)], timeout=LIMIT))
    assert np.array_equal(draw(POINTS), heatmaps.render(POINTS, SIZE))


def test_maps_that_change_while_they_are_decoded_still_give_points_inside() -> None:
    maps = np.zeros((1, 1, 1024, 1024), np.float32)
    small = np.zeros((1, 1, 1024, 1024), np.uint8)

    def change() -> None:
        for array in (maps, small):
            array[...] = 1
            array[0, 0, 5] = 2
            array[...] = 0

    with busy(change):
        for _ in range(60):
            for array in (maps, small):
                for method in heatmaps.METHODS:
                    coords, _ = heatmaps.decode(array, method)
                    assert ((coords >= -0.5) & (coords <= 1023.5)).all()


def test_a_fork_after_use() -> None:
    """Also in a fork of a forked process."""
    expected = both()
    draw = heatmaps.Renderer(64, 15, SIZE)
    draw(POINTS[::-1])

    def work() -> bool:
        if not (equals(expected) and np.array_equal(draw(POINTS), expected[0])):
            return False
        in_fork(lambda: equals(expected) and np.array_equal(draw(POINTS), expected[0]))
        heatmaps.clear_pool()
        return equals(expected)

    in_fork(work)
    assert equals(expected)


def test_a_fork_while_another_thread_renders_and_decodes() -> None:
    expected = both()
    with busy(both):
        for _ in range(15):
            in_fork(lambda: equals(expected))


def test_a_fork_while_another_thread_draws_with_the_same_renderer() -> None:
    """The child inherits a locked mutex without an owner, and half-drawn maps."""
    expected = heatmaps.render(POINTS, SIZE)
    draw = heatmaps.Renderer(64, 15, SIZE, threads=2)
    with busy(lambda: [draw(points) for points in (POINTS, 95 - POINTS)]):
        for _ in range(15):
            in_fork(lambda: np.array_equal(draw(POINTS), expected))


def _pooled(seed: int) -> NDArray[Any]:
    return both(np.random.default_rng(seed).uniform(0, 95, (40, 5, 2)))[1]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(method: str) -> None:
    expected = [_pooled(seed) for seed in range(6)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map_async(_pooled, range(6)).get(LIMIT)
    assert all(np.array_equal(got, want) for got, want in zip(results, expected, strict=True))


LOADER = """
import numpy as np, torch
from kptool import heatmaps

class Faces(torch.utils.data.Dataset):
    def __init__(self):
        self.points = np.random.default_rng(0).uniform(0, 95, (24, 5, 2))
        self.draw = heatmaps.Renderer(1, 5, (96, 96))
    def __len__(self):
        return len(self.points)
    def __getitem__(self, i):
        one = self.points[i : i + 1]
        maps = heatmaps.render(one, (96, 96), threads=2)
        assert np.array_equal(maps, self.draw(one))
        return torch.from_numpy(maps[0]), torch.from_numpy(heatmaps.decode(maps, threads=2)[0][0])

def batches(workers):
    loader = torch.utils.data.DataLoader(faces, 4, num_workers=workers, multiprocessing_context="fork" if workers else None)
    return [tensor for epoch in range(2) for batch in loader for tensor in batch]

faces = Faces()
big = heatmaps.render(np.tile(faces.points, (4, 1, 1)), (96, 96), threads=2)
torch.mm(torch.ones(300, 300), torch.ones(300, 300))  # starts torch's own threads
alone, workers = batches(0), batches(2)
assert len(alone) == len(workers) == 24 and all(map(torch.equal, alone, workers))
"""


def test_workers_of_a_data_loader() -> None:
    command = [sys.executable, "-P", "-W", "ignore::DeprecationWarning", "-c", LOADER]
    ran = subprocess.run(command, timeout=2 * LIMIT, check=False, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 0, ran.stderr
