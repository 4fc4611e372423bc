"""Run kptool in forked processes, so that hundreds of commands share a single start-up."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import pkgutil
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KPTOOL_THREADS"):
    os.environ[_name] = "1"  # before torch and NumPy: their thread pools would not survive a fork

import typer
from PIL import Image

import kptool
import kptool.cli.main

_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code, or minus the number of the signal that killed it; wall-clock and processor time in
    seconds; peak memory in bytes; output.
    """

    code: int
    seconds: float
    processor: float
    peak: int
    out: str
    err: str


_NOT_LOADED = ("kptool.templates", "kptool.network.gpu_")
"""Texts, and what is written in Triton, which torch for CPUs comes without."""


def load_everything() -> None:
    """Import all of kptool, and the modules that it and typer import lazily."""
    for module in pkgutil.walk_packages(kptool.__path__, "kptool."):
        if not module.name.endswith("__main__") and not module.name.startswith(_NOT_LOADED):
            importlib.import_module(module.name)
    for late in ("h5py", "matplotlib.figure", "onnxruntime", "pandas", "torch", "torch._dynamo"):
        importlib.import_module(late)
    Image.init()
    built = typer.main.get_command(kptool.cli.main.app)
    typer.main.get_command = lambda app: built  # slower to import than many a command to run
    for command in built.commands:
        quiet = io.StringIO()
        with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet), contextlib.suppress(SystemExit):
            kptool.cli.main.main([command, "--help"] if command == "bench" else [command, "--no-such-option"])
    gc.collect()
    gc.freeze()  # otherwise the first collection in each process copies all memory


def start(arguments: list[str], folder: Path, log: Path, prepare: Callable[[], object] = lambda: None) -> int:
    """Start kptool in `folder`, its output in `log`; returns the process id. The child calls `prepare` first."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # else one could arrive while the child still runs our code
    child = os.fork()
    if child == 0:
        _become(arguments, folder, log, prepare)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    return child


def finish(child: int, log: Path, started: float) -> Ended:
    """Wait for a process started by `start`."""
    _, status, used = os.wait4(child, 0)
    out, err = ((log / name).read_text(errors="replace") for name in ("out", "err"))
    seconds, processor = time.perf_counter() - started, used.ru_utime + used.ru_stime
    return Ended(os.waitstatus_to_exitcode(status), seconds, processor, used.ru_maxrss * 1024, out, err)


def run(
    arguments: list[str],
    folder: Path,
    log: Path,
    *,
    after: float | None = None,
    number: int = signal.SIGKILL,
    prepare: Callable[[], object] = lambda: None,
) -> Ended:
    """Run kptool to its end, or send it signal `number` after `after` seconds."""
    started = time.perf_counter()
    child = start(arguments, folder, log, prepare)
    if after is not None:
        while time.perf_counter() - started < after:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.001)
        else:
            os.kill(child, number)
    return finish(child, log, started)


def _become(arguments: list[str], folder: Path, log: Path, prepare: Callable[[], object]) -> None:
    code: object = 70
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # like SIGTERM before or after kptool handles it
        os.chdir(folder)
        log.mkdir(parents=True, exist_ok=True)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(log / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        prepare()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        kptool.cli.main.main(arguments)
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
