"""Shared fixtures: running the command line in-process, and small synthetic data sets."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    if "PYTEST_XDIST_WORKER" in os.environ:  # one test process runs per core, so more threads would compete
        os.environ.setdefault(_name, "1")

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kptool import plugins
from kptool.base.face68 import LANDMARKS
from kptool.base.skeleton import FACE15
from kptool.cache.extraction import Options, extract

SHARED_FACES = Path(__file__).parents[2] / "shared" / "data" / "faces15"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file stay in one process until another is idle, so its fixtures are made once."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` as `make` fills it, shared by all processes that run tests; none of them may change it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder, done = base / f"{name}-shared", base / f"{name}.done"
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@dataclass
class Ran:
    """The result of a finished command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def kptool(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``kptool ARGUMENTS...`` in this process."""
    from kptool.cli import output
    from kptool.cli.main import main

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code: object = 0
        try:
            main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
        output.print_messages()  # so that --quiet does not last
        captured = capsys.readouterr()
        return Ran(int(code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def refused(kptool: Any) -> Any:
    """Run a command that must fail with exit code 2 and one sentence, and return the sentence."""

    def run(*arguments: object) -> str:
        ran = kptool(*arguments)
        assert ran.code == 2, ran
        assert ran.out == ""
        remarks = (
            "kptool: using ",
            "kptool: do not rely on ",
            "kptool: training unet on ",
            "kptool: no SOURCE was given",
            "# ",  # how many pictures there are
        )
        lines = [line for line in ran.err.splitlines() if not line.startswith(remarks)]
        assert len(lines) == 1, ran.err
        assert "Traceback" not in ran.err
        return str(lines[0])

    return run


def kaggle_csv(path: Path, rows: int = 6, *, side: int = 8, partial: int = 0, seed: int = 0) -> Path:
    """A training.csv of random pictures, left and right as in faces; the last `partial` rows have two keypoints."""
    rng = np.random.default_rng(seed)
    half = rng.uniform(0.6, [0.4 * side, side - 2], (len(FACE15.names), 2))  # x relative to the middle
    shape = half * [0, 1]
    for left, right in FACE15.flip_pairs:
        shape[[left, right]] = half[left] * [[1, 1], [-1, 1]]
    shape += [side / 2 - 0.5, 0.5]
    header = [f"{name}_{axis}" for name in FACE15.names for axis in "xy"] + ["Image"]
    lines = [",".join(header)]
    for row in range(rows):
        cells = [f"{value:.6f}" for value in (shape + rng.uniform(-0.1, 0.1, shape.shape)).ravel()]
        if row >= rows - partial:
            cells[4:] = [""] * 26
        lines.append(",".join([*cells, " ".join(map(str, rng.integers(0, 256, side * side)))]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 48 synthetic faces of 48x48 pixels, made once."""

    def make(out: Path) -> None:
        source = plugins.load("datasets", "synthetic").open(None, count=48, size=(48, 48), seed=1)
        extract(source, out, Options(val=0.25, sigma=1.5, stride=2))

    return once(tmp_path_factory, "faces", make) / "dataset.h5"


@pytest.fixture(scope="session")
def run_folder(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny U-Net trained for two epochs on `faces`."""
    from kptool.base.config import configure
    from kptool.cache.store import Cache
    from kptool.training import run

    def make(folder: Path) -> None:
        with Cache(faces) as cache:
            info = cache.info
        fast = {"width": 4, "epochs": 2, "batch_size": 12, "prior": False}  # it is unsure of everything
        run.train(
            faces, folder / "unet", *configure("unet", info.skeleton, info.size, info.channels, fast), device="cpu"
        )

    return once(tmp_path_factory, "runs", make) / "unet"


@pytest.fixture(scope="session")
def graph(run_folder: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of `graphs.unet`, beside its weights and what the command line said."""
    import graphs

    return once(tmp_path_factory, "graph", lambda folder: graphs.unet(run_folder, faces, folder)) / "model.onnx"


@pytest.fixture(scope="session")
def labelled_graph(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of `graphs.resnet`, beside its weights."""
    import graphs

    return once(tmp_path_factory, "labelled", lambda folder: graphs.resnet(faces, folder)) / "model.onnx"


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder of real faces; tests that need it are skipped where it is missing."""
    if not SHARED_FACES.is_dir():
        pytest.skip("the folder of real faces is not beside this checkout")
    return SHARED_FACES


@pytest.fixture
def timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks run each thing once to warm up and once to measure it: their results are compared, and no time is."""
    from kptool.bench import timing

    of = timing.Time.of

    def once(works: Any, *, seconds: float = 0, least: int = 1) -> dict[str, timing.Time]:
        for work in works.values():
            work()
        return {name: of([1.0], [1.0]) for name in works}

    for name in ("cache", "core", "peaks", "predict", "train"):
        monkeypatch.setattr(importlib.import_module(f"kptool.bench.{name}"), "measure", once)


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, by path."""
    return {
        str(Path(root, name).relative_to(folder)): Path(root, name).read_bytes()
        for root, _, names in os.walk(folder)
        for name in names
    }


def synthetic(count: int, seed: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    source = plugins.load("datasets", "synthetic").open(None, count=count, seed=seed)
    blocks = list(source.blocks())
    return np.concatenate([b.images for b in blocks]), np.concatenate([b.keypoints for b in blocks])


def collage(width: int, height: int, places: list[tuple[int, int, float]]) -> tuple[Image.Image, NDArray[np.float64]]:
    """Synthetic faces pasted at (x, y) with a side in pixels, and the positions of their keypoints."""
    images, points = synthetic(len(places))
    picture, truth = Image.new("L", (width, height), 90), []
    order = [FACE15.names.index(name) for name in LANDMARKS]
    for image, keypoints, (x, y, side) in zip(images, points, places, strict=True):
        picture.paste(Image.fromarray(image).resize((int(side), int(side))), (x, y))
        truth.append((keypoints[order] + 0.5) * (side / 96) - 0.5 + [x, y])
    return picture, np.array(truth)


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with the weights of an untrained network."""
    from kptool.base.config import ModelConfig
    from kptool.network import cards, checkpoint
    from kptool.network.keypoint_model import KeypointModel

    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    config = ModelConfig("unet", FACE15.names, FACE15.flip_pairs, width=2)
    checkpoint.save_weights(path, KeypointModel(config), cards.Card(config))
    return path.read_bytes()
