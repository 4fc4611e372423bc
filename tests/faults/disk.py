"""Inject disk failures at random moments and check the result: python tests/faults/disk.py [WORK...] [--times 100].

A full disk (ENOSPC from one call on), a failing one (EIO in one call) and a read-only folder are simulated by a
preloaded library, which `cc` builds from failing_disk.c. kptool must end with exit code 2 and one sentence, each file
must be either the old or the new one, and the next run must succeed and leave no temporary files. Prints a JSON
report; the exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path


def with_failing_disk() -> None:
    """Restart this program once with the library preloaded."""
    loaded = os.environ.get("LD_PRELOAD", "")
    if loaded.endswith("failing_disk.so"):
        atexit.register(shutil.rmtree, Path(loaded).parent, ignore_errors=True)
        return
    library = Path(tempfile.mkdtemp()) / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    os.environ["LD_PRELOAD"] = str(library)
    os.execv(sys.executable, [sys.executable, *sys.argv])


if __name__ == "__main__":  # before the slow imports
    with_failing_disk()
sys.path.insert(0, str(Path(__file__).parent))

import forked
from rounds import EXTRACT, PREDICT, SMALL, TRAIN, Rounds, differences, fingerprints, litter, main, same, state

_FAULTS = {"ENOSPC": (errno.ENOSPC, 1), "EIO": (errno.EIO, 0)}


class Disk:
    """Counts calls that change files below a folder, in memory shared with the processes in which it is armed."""

    def __init__(self, folder: Path) -> None:
        self._memory = mmap.mmap(-1, 16)
        self._count = ctypes.c_long.from_buffer(self._memory)
        self._replaceable = ctypes.c_long.from_buffer(self._memory, 8)
        self._arm = ctypes.CDLL(None).fault_arm
        self.folder = folder

    @property
    def calls(self) -> int:
        """Number of calls in the process that was armed last."""
        return self._count.value

    @property
    def replaceable(self) -> bool:
        """Whether the call that failed is one that the program can do without."""
        return bool(self._replaceable.value)

    def armed(self, at: int, error: int = 0, lasting: int = 0) -> Callable[[], object]:
        """A function that makes the `at`-th call of a process fail; 0 only counts."""
        self._count.value = self._replaceable.value = 0
        path = os.fsencode(self.folder)
        return lambda: self._arm(ctypes.byref(self._count), ctypes.c_long(at), error, lasting, path)


def fail_replacing(rounds: Rounds, times: int, *, work: str) -> None:
    """Run a command that replaces files with different ones and back, under disk failures."""
    disk, out = Disk(rounds.folder), rounds.folder / {"extract": "out", "predict": "seen"}[work]
    modes = {"extract": (["--seed", "1"], ["--seed", "2"]), "predict": ([], ["--tta"])}[work]
    command = {"extract": EXTRACT, "predict": PREDICT}[work]
    rounds.whole([*EXTRACT, "--seed", "1"])
    states = []
    for mode in modes:
        rounds.whole([*command, *mode])
        states.append(fingerprints(out))
    for number in range(times):
        before, after = (1, 0) if number % 2 == 0 else (0, 1)
        fault, arguments = list(_FAULTS)[number // 2 % 2], [*command, *modes[after]]
        what = f"{work} {number}: {fault}"
        what = fail(rounds, disk, arguments, fault, what, lambda after=after: fingerprints(out) == states[after])
        for name in differences(fingerprints(out), states[before], states[after]):
            rounds.wrong.append(f"{what}: {name} is neither the old nor the new one")
        rounds.whole(arguments)
        rounds.expect(fingerprints(out) == states[after], f"{what}: the next run did not repair it")
        rounds.expect(not litter(out), f"{what}: left {litter(out)}")


def fail_train(rounds: Rounds, times: int) -> None:
    """Training resumes after a disk failure and gives the same result as without one."""
    rounds.whole(SMALL)
    disk = Disk(rounds.folder)
    command, run = [*TRAIN, "--epochs", "4"], rounds.folder / "run"
    rounds.whole([*command, "--force"])
    undisturbed = state(run)
    for number in range(times):
        shutil.rmtree(run)
        fault = list(_FAULTS)[number % 2]
        what = f"train {number}: {fault}"
        what = fail(rounds, disk, [*command, "--force"], fault, what, lambda: same(state(run), undisturbed))
        rounds.whole([*command, "--resume" if (run / "last.ckpt").exists() else "--force"])
        rounds.expect(same(state(run), undisturbed), f"{what}: it did not go on as if nothing had happened")
        rounds.expect(not litter(run), f"{what}: left {litter(run)}")


def fail(rounds: Rounds, disk: Disk, arguments: list[str], fault: str, what: str, through: Callable[[], bool]) -> str:
    """Run a command whose disk fails at a random moment; returns `what` with that moment.

    If folders cannot be exchanged in one step, kptool uses another way, and the result must still pass `through`.
    """
    if arguments[0] not in _calls:
        forked.run(arguments, rounds.folder, rounds.folder / "log", prepare=disk.armed(0))
        _calls[arguments[0]] = disk.calls
        shutil.rmtree(rounds.folder / "run", ignore_errors=True)
    at = rounds.rng.randint(1, _calls[arguments[0]])
    ended = forked.run(arguments, rounds.folder, rounds.folder / "log", prepare=disk.armed(at, *_FAULTS[fault]))
    what = f"{what} at call {at} of {_calls[arguments[0]]}"
    rounds.ends[ended.code] += 1
    if disk.calls < at or (ended.code == 0 and disk.replaceable):
        rounds.expect(ended.code == 0 and through(), f"{what}: exit code {ended.code}, {ended.err[-400:]!r}")
    else:
        judge(rounds, ended, what, os.strerror(_FAULTS[fault][0]))
    return what


_calls: dict[str, int] = {}


def judge(rounds: Rounds, ended: forked.Ended, what: str, reason: str) -> None:
    """Record an error if a run did not end with exit code 2 and one sentence with the reason."""
    lines = [line for line in ended.err.splitlines() if line.startswith("kptool: ")]
    said = bool(lines) and reason.lower() in lines[-1].lower() and "Traceback" not in ended.err
    if ended.code != 2 or not said:
        rounds.wrong.append(f"{what}: exit code {ended.code}, it said {ended.err[-400:]!r}")


def read_only(rounds: Rounds, times: int) -> None:
    """Every command that writes, in a read-only folder: only the previous files may be there afterwards."""
    disk = Disk(rounds.folder)
    rounds.whole([*EXTRACT, "--seed", "1"])
    rounds.whole(SMALL)
    commands = {
        **{words[0]: words for words in (EXTRACT, PREDICT)},
        "train": [*TRAIN, "--epochs", "1"],
    }
    commands["convert"] = ["convert", "out/keypoints.csv", "--to", "coco", "--out", "converted"]
    commands["show"] = ["show", "small/dataset.h5", "--out", "shown.png"]
    before = fingerprints(rounds.folder)
    for name, arguments in commands.items():
        ended = forked.run(arguments, rounds.folder, rounds.folder / "log", prepare=disk.armed(1, errno.EROFS, 1))
        rounds.ends[ended.code] += 1
        judge(rounds, ended, f"read-only {name}", os.strerror(errno.EROFS))
        now = {path: value for path, value in fingerprints(rounds.folder).items() if not path.startswith("log/")}
        rounds.expect(
            now == {p: v for p, v in before.items() if not p.startswith("log/")}, f"read-only {name}: changed"
        )


WORKS: dict[str, Callable[[Rounds, int], None]] = {
    "extract": partial(fail_replacing, work="extract"),
    "predict": partial(fail_replacing, work="predict"),
    "train": fail_train,
    "read-only": read_only,
}


if __name__ == "__main__":
    sys.exit(main(__doc__, WORKS, 100))
