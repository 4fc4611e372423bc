"""kptool's own commands, one after the other, in processes that end when they are told to, or with this one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

LOG = "learning.log"
_PATIENCE = 30
"""Seconds that a command may take to end."""


class StoppedError(Exception):
    """The labelling ends, and the command with it."""


class FailedError(Exception):
    """A command failed, with this message."""


class Commands:
    """Runs commands in `folder`, where no kptool.toml is, and appends what they say to a log there. doing: what is being done."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.doing = folder, folder / LOG, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped, self._mutex = threading.Event(), threading.Lock()

    @property
    def stopped(self) -> bool:
        """Whether no command will run any more."""
        return self._stopped.is_set()

    def __call__(self, what: str, *line: str, codes: Sequence[int] = (0,)) -> bytes:
        """The output of a command. Raises FailedError, with what it says last, and StoppedError."""
        self.doing = what
        with self.log.open("ab") as messages:
            messages.write(f"$ kptool {' '.join(line)}\n".encode())
            messages.flush()
            start = messages.tell()
            with _pipe() as alive:
                process = self._start(self.line(line), alive, messages.fileno())
                output, _ = process.communicate()
        if self.stopped:
            raise StoppedError
        if process.returncode not in codes:
            said = self.log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
            raise FailedError(f"{what} failed: {said[-1].removeprefix('kptool: ') if said else f'see {self.log}'}")
        return output

    def line(self, line: Sequence[str]) -> list[str]:
        """The command line of a kptool command; -P: of this kptool, whatever the current folder holds."""
        return [sys.executable, "-P", "-m", "kptool.label.child", *line]

    def stop(self) -> None:
        """End the command that is running, and let none begin."""
        with self._mutex:
            self._stopped.set()
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    def _start(self, line: list[str], alive: int, messages: int) -> subprocess.Popen[bytes]:
        with self._mutex:
            if self.stopped:
                raise StoppedError
            self._process = subprocess.Popen(
                line, stdin=alive, stdout=subprocess.PIPE, stderr=messages, cwd=self.folder
            )
        if os.name == "posix":  # leave the processors to the page and the browser
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, 10)
        return self._process


@contextlib.contextmanager
def _pipe() -> Iterator[int]:
    """The end to read of a pipe whose other end is closed with the context, or by the system with this process."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(writing)
        os.close(reading)
