"""Images that do not fit into memory: training reads them from the cache, with the result of one that has them in memory."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_train import settings, weights

from kptool.cache import stored_images
from kptool.cache.layout import Info
from kptool.cache.store import Cache, CacheWriter
from kptool.data.annotations import Samples
from kptool.system import memory
from kptool.training import run, split

SIDE = 16


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 1300 images, in 21 chunks, of bright squares whose corner is the keypoint; every tenth is for validation."""
    path = tmp_path_factory.mktemp("many") / "d.h5"
    rng = np.random.default_rng(0)
    corner = rng.integers(2, SIDE - 6, (1300, 2))
    images = rng.integers(0, 60, (1300, SIDE, SIDE), dtype=np.uint8)
    for image, (x, y) in zip(images, corner, strict=True):
        image[y : y + 4, x : x + 4] = 220
    points = np.stack([corner, corner + 3], 1).astype(np.float32)
    info = Info(("first", "last"), (), (SIDE, SIDE), 1, 1.5, 1, "none", 0, 0.1, "", "", "")
    with CacheWriter(path, info) as writer:
        writer.append(Samples(images, points, np.full((1300, 2), 2, np.uint8), np.arange(1300)), None)
        writer.finish((np.arange(1300) % 10 == 3).astype(np.uint8), np.full(1300, -1))
    return path


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_images, "_WINDOW_BYTES", 1)


def chosen(cache: Path, **overrides: object):  # type: ignore[no-untyped-def]
    return settings(cache, **{"batch_size": 52, "epochs": 2, **overrides})


def test_the_result_is_that_of_images_in_memory(many: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bit for bit; the images for validation, of which each chunk holds few, are in memory if they take less than half."""
    total, held_out = 1300 * SIDE * SIDE, 130 * SIDE * SIDE
    results = {}
    for name, room in (("memory", total), ("part", 2 * held_out), ("file", 2 * held_out - 1)):
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            results[name] = run.train(many, tmp_path / name, *chosen(many), device="cpu", memory=room)
        assert ("stay in the cache" in caplog.text) == (name != "memory")
    with Cache(many) as cache:
        kinds = [
            (type(data.train.images), type(data.images))
            for data in (split.Split.load(cache, torch.device("cpu"), None, room) for room in (total, 2 * held_out, 1))
        ]
    stored = stored_images.StoredImages
    assert kinds == [(torch.Tensor, np.ndarray), (stored, np.ndarray), (stored, stored)]
    expected = weights(tmp_path / "memory")
    for name in ("part", "file"):
        found = weights(tmp_path / name)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
        assert results[name].metrics == results["memory"].metrics


def test_resuming_in_the_middle_of_an_epoch_reads_the_rest_of_it(many: Path, tmp_path: Path) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run.train(many, straight, *chosen(many), device="cpu", memory=1)

    def stop(what: str, done: int, total: int | None) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(many, stopped, *chosen(many), device="cpu", memory=1, progress=stop)
    run.train(many, stopped, *chosen(many), device="cpu", memory=1, resume=True)
    assert (straight / "model.safetensors").read_bytes() == (stopped / "model.safetensors").read_bytes()
    columns = ["epoch", "loss", "lr", "rmse"]
    assert pd.read_csv(straight / "metrics.csv")[columns].equals(pd.read_csv(stopped / "metrics.csv")[columns])


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 << 30), ("500m", 500 << 20), ("1.5 GiB", 3 << 29), ("64KB", 1 << 16), (123, 123)]
)
def test_sizes_of_memory(text: str | int, size: int) -> None:
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "8X", "1e9", "0", "9" * 30])
def test_what_is_no_size_of_memory(refused, many: Path, tmp_path: Path, text: str) -> None:  # type: ignore[no-untyped-def]
    said = refused("train", "unet", many, "--out", tmp_path / "run", f"--memory={text}")
    assert "size of memory" in said
    assert "8G" in said


def group(folder: Path, limit: object, used: int, file_pages: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {file_pages}\n")


def test_free_memory_is_within_the_limits_of_all_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of files that were read once are free; 0 is not unknown; processes of a machine share it."""
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "cgroup")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert memory.available() == 4 << 20
    (tmp_path / "cgroup").write_text("0::/job/step/task\n")
    group(tmp_path / "job" / "step" / "task", "max", 1 << 20)
    assert memory.available() == 4 << 20
    group(tmp_path / "job", 3 << 20, 2 << 20)
    assert memory.available() == 1 << 20
    group(tmp_path / "job", 3 << 20, 3 << 20, 2 << 20)
    assert memory.available() == 2 << 20
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.available() == 1 << 19
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2(x4)")
    assert memory.available() == 1 << 20
    group(tmp_path / "job", 3 << 20, 4 << 20)
    assert memory.available() == 0


def test_limits_of_the_first_version_of_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text("5:cpu,cpuacct:/box\n4:memory:/box\n")
    folder = tmp_path / "memory" / "box"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("5000")
    (folder / "memory.usage_in_bytes").write_text("3000")
    (folder / "memory.stat").write_text("cache 9\ntotal_inactive_file 500\n")
    assert memory.available() == 2500


@pytest.mark.long
def test_processes_that_stream_compute_what_they_do_from_memory(many: Path, tmp_path: Path) -> None:
    """Bit for bit, each with its share of the images."""
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "kptool"]
    given = ["train", "unet", str(many), "--set", "width=4", "--batch-size", "52", "--epochs", "2", "--device", "cpu"]
    for name, room in (("stream", "1"), ("memory", "1G")):
        command = [*two, *given, "--memory", room, "--out", str(tmp_path / name)]
        done = subprocess.run(
            command, cwd=tempfile.gettempdir(), capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        assert ("stay in the cache" in done.stderr) == (name == "stream")
    stream, resident = (weights(tmp_path / name) for name in ("stream", "memory"))
    assert all(torch.equal(stream[key], resident[key]) for key in stream)
