"""HDF5 files: written atomically whatever signals arrive, and opened although libhdf5 may crash on them."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kptool.base.errors import CacheError
from kptool.cache.store import Cache, CacheWriter, Info
from kptool.data.annotations import Samples
from kptool.system import hdf5, quarantine
from kptool.system.files import atomic
from kptool.system.signals import Stopped, raised

INFO = Info(("a", "b"), (), (8, 8), 1, 2.0, 1, "none", 0, 0.0, "", "", "")
DIES = "import os, signal; os.kill(os.getpid(), signal.{})"


def write(path: Path) -> None:
    block = Samples(
        np.ones((1, 8, 8), np.uint8), np.ones((1, 2, 2), np.float32), np.ones((1, 2), np.uint8), np.zeros(1, np.int64)
    )
    with raised(), atomic(path) as temporary, CacheWriter(temporary, INFO) as file:
        file.append(block, None)
        file.append(block, None)
        file.finish(np.zeros(2, np.uint8), np.zeros(2, np.int64))


def calls(monkeypatch: pytest.MonkeyPatch, at: int = 0, times: int = 1) -> list[str]:
    """Counts the file operations of libhdf5; at call number `at`, `times` signals are sent."""
    seen: list[str] = []

    def counted(name: str) -> Any:
        original = getattr(hdf5._Disk, name)

        def call(disk: Any, value: Any) -> Any:
            seen.append(name)
            for _ in range(times if len(seen) == at else 0):
                os.kill(os.getpid(), signal.SIGTERM)
            return original(disk, value)

        return call

    for name in ("write", "truncate", "readinto"):
        monkeypatch.setattr(hdf5._Disk, name, counted(name))
    return seen


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_while_libhdf5_writes_leaves_the_old_file(tmp_path: Path, times: int) -> None:
    path = tmp_path / "dataset.h5"
    with pytest.MonkeyPatch.context() as patch:
        seen = calls(patch)
        write(path)
        count = len(seen)
    assert count > 10
    before = path.read_bytes()
    for at in range(1, count + 1):
        with pytest.MonkeyPatch.context() as patch:
            calls(patch, at, times)
            with pytest.raises(Stopped):
                write(path)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_a_cache_that_kills_whoever_opens_it_is_refused(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "dataset.h5"
    path.write_bytes(faces.read_bytes())
    monkeypatch.setattr(quarantine, "_CODE", DIES.format(name))
    with pytest.raises(CacheError, match=f"{path} is damaged: libhdf5 crashes on it"):
        Cache(path)


def test_another_process_looks_at_a_file_once_as_it_is(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *given, **options: started.append(given) or run(*given, **options))
    path = tmp_path / "dataset.h5"
    write(path)
    Cache(path).close()
    assert not started, "this process wrote it"
    path.write_bytes(faces.read_bytes())
    for _ in range(2):
        Cache(path).close()
    assert len(started) == 1
    monkeypatch.setattr(quarantine, "_CODE", DIES.format("SIGTERM"))
    os.utime(path, (1, 1))
    for _ in range(2):
        Cache(path).close()  # a stopped subprocess says nothing about the file
    assert len(started) == 3


def test_the_other_process_takes_no_code_from_the_current_folder(in_tmp: Path, faces: Path) -> None:
    for name in ("h5py", "numpy", "kptool"):
        Path(f"{name}.py").write_text("open('proof', 'w')")
    Path("dataset.h5").write_bytes(faces.read_bytes())
    quarantine.check_opens(Path("dataset.h5"))
    assert not Path("proof").exists()


@pytest.mark.parametrize(("at", "value"), [(309333, 190), (309333, 111), (309404, 220)])
def test_damage_that_libhdf5_dies_of_or_never_ends_with_is_refused_or_read(tmp_path: Path, at: int, value: int) -> None:
    """HDF5 2.0 crashes or loops on them; other versions may report an error, or read them."""
    golden = Path(__file__).parents[1] / "golden" / "grey.h5.gz"
    content = bytearray(gzip.decompress(golden.read_bytes()))
    content[at] = value
    path = tmp_path / "dataset.h5"
    path.write_bytes(content)
    known = h5py.version.hdf5_version_tuple[:2] == (2, 0)
    with pytest.raises(CacheError, match="libhdf5 crashes on it") if known else contextlib.suppress(CacheError):
        Cache(path)


def test_signals_wait_only_while_something_is_written(tmp_path: Path) -> None:
    with raised(), CacheWriter(tmp_path / "dataset.h5", INFO), pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)


def test_an_error_in_the_place_of_a_signal_is_the_signal() -> None:
    def replaced() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except Stopped:
            raise ValueError("as C code that asks for a length does") from None

    with pytest.raises(Stopped), raised():
        replaced()
    with pytest.raises(ValueError, match="no signal"), raised():
        raise ValueError("no signal")
