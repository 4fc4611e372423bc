"""Let the disk fail at random moments and look at what is left: python tests/faults/disk.py [WORK...] [--times 100].

A full disk (ENOSPC, from one call on), a broken one (EIO, one call) and a read-only folder are injected below kptool, by a
library that `cc` makes of failing_disk.c. kptool must end with exit code 2 and a sentence, each file must be the one
before or the one after, and the next run must succeed and leave nothing lying about. Prints a JSON report; the exit code
is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

_FAULTS = {"ENOSPC": (errno.ENOSPC, 1), "EIO": (errno.EIO, 0)}


def with_failing_disk(folder: Path) -> None:
    """Start this program again with the library loaded, once."""
    if "failing_disk" in os.environ.get("LD_PRELOAD", ""):
        return
    library = folder / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    os.environ |= {"LD_PRELOAD": str(library), "KPTOOL_FAULT_FOLDER": str(folder)}
    os.execv(sys.executable, [sys.executable, *sys.argv])


class Disk:
    """Counts, in memory shared with the processes it is armed in, the calls that change files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._memory = mmap.mmap(-1, 8)
        self._count = ctypes.c_long.from_buffer(self._memory)
        self._arm = ctypes.CDLL(None).fault_arm
        self.folder = folder

    @property
    def calls(self) -> int:
        """Calls in the process that was armed last."""
        return self._count.value

    def armed(self, at: int, error: int = 0, lasting: int = 0) -> Callable[[], object]:
        """What makes the `at`-th call of a process fail; 0: none, only count."""
        self._count.value = 0
        path = os.fsencode(self.folder)
        return lambda: self._arm(ctypes.byref(self._count), ctypes.c_long(at), error, lasting, path)


def fail_replacing(bench: kill.Bench, disk: Disk, work: str, times: int) -> None:
    """A command that replaces files by others, and back."""
    out = bench.folder / {"extract": "out", "predict": "seen"}[work]
    modes = {"extract": (["--seed", "1"], ["--seed", "2"]), "predict": ([], ["--tta"])}[work]
    command = {"extract": kill._EXTRACT, "predict": kill._PREDICT}[work]
    bench.whole([*kill._EXTRACT, "--seed", "1"])
    states = []
    for mode in modes:
        bench.whole([*command, *mode])
        states.append(kill.fingerprints(out))
    for number in range(times):
        before, after = (1, 0) if number % 2 == 0 else (0, 1)
        fault, arguments = list(_FAULTS)[number // 2 % 2], [*command, *modes[after]]
        what = f"{work} {number}: {fault}"
        what = fail(bench, disk, arguments, fault, what)
        for name in kill.differences(kill.fingerprints(out), states[before], states[after]):
            bench.wrong.append(f"{what}: {name} is neither the old nor the new one")
        bench.whole(arguments)
        bench.expect(kill.fingerprints(out) == states[after], f"{what}: the next run did not repair it")
        bench.expect(not kill.litter(out), f"{what}: left {kill.litter(out)}")


def fail_train(bench: kill.Bench, disk: Disk, work: str, times: int) -> None:
    """A training goes on where the disk failed, and ends as if it had not."""
    bench.whole(["extract", "--count", "40", "--out", "small", "--force", "--sigma", "1.5"])
    command, run = [*kill._TRAIN, "--epochs", "4"], bench.folder / "run"
    bench.whole([*command, "--force"])
    undisturbed = kill.state(run)
    for number in range(times):
        shutil.rmtree(run)
        fault = list(_FAULTS)[number % 2]
        what = fail(bench, disk, [*command, "--force"], fault, f"train {number}: {fault}")
        bench.whole([*command, "--resume" if (run / "last.ckpt").exists() else "--force"])
        bench.expect(kill.same(kill.state(run), undisturbed), f"{what}: it did not go on as if nothing had happened")
        bench.expect(not kill.litter(run), f"{what}: left {kill.litter(run)}")


def fail(bench: kill.Bench, disk: Disk, arguments: list[str], fault: str, what: str) -> str:
    """Run a command whose disk fails at a random moment; returns `what`, with the moment."""
    if arguments[0] not in _calls:
        forked.run(arguments, bench.folder, bench.folder / "log", prepare=disk.armed(0))
        _calls[arguments[0]] = disk.calls
        shutil.rmtree(bench.folder / "run", ignore_errors=True)
    at = bench.rng.randint(1, _calls[arguments[0]])
    ended = forked.run(arguments, bench.folder, bench.folder / "log", prepare=disk.armed(at, *_FAULTS[fault]))
    what = f"{what} at call {at} of {_calls[arguments[0]]}"
    bench.ends[ended.code] += 1
    if disk.calls >= at:
        judge(bench, ended, what, os.strerror(_FAULTS[fault][0]))
    return what


_calls: dict[str, int] = {}


def judge(bench: kill.Bench, ended: forked.Ended, what: str, reason: str) -> None:
    """Remember where a run did not end with exit code 2 and one sentence that gives the reason."""
    lines = [line for line in ended.err.splitlines() if line.startswith("kptool: ")]
    said = bool(lines) and reason.lower() in lines[-1].lower() and "Traceback" not in ended.err
    if ended.code != 2 or not said:
        bench.wrong.append(f"{what}: exit code {ended.code}, it said {ended.err[-400:]!r}")


def read_only(bench: kill.Bench, disk: Disk, work: str, times: int) -> None:
    """Every command that writes, into a folder where nobody may: nothing is there but what was."""
    bench.whole([*kill._EXTRACT, "--seed", "1"])
    bench.whole(["extract", "--count", "40", "--out", "small", "--force", "--sigma", "1.5"])
    commands = {
        **{words[0]: words for words in (kill._EXTRACT, kill._PREDICT)},
        "train": [*kill._TRAIN, "--epochs", "1"],
    }
    commands["convert"] = ["convert", "out/keypoints.csv", "--to", "coco", "--out", "converted"]
    commands["show"] = ["show", "small/dataset.h5", "--out", "shown.png"]
    before = kill.fingerprints(bench.folder)
    for name, arguments in commands.items():
        ended = forked.run(arguments, bench.folder, bench.folder / "log", prepare=disk.armed(1, errno.EROFS, 1))
        bench.ends[ended.code] += 1
        judge(bench, ended, f"read-only {name}", os.strerror(errno.EROFS))
        now = {path: value for path, value in kill.fingerprints(bench.folder).items() if not path.startswith("log/")}
        bench.expect(now == {p: v for p, v in before.items() if not p.startswith("log/")}, f"read-only {name}: changed")


WORKS: dict[str, Callable[[kill.Bench, Disk, str, int], None]] = {
    "extract": fail_replacing,
    "predict": fail_replacing,
    "train": fail_train,
    "read-only": read_only,
}


def main() -> int:
    """Fail, look, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all without it")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    forked.load_everything()
    report = {}
    for work in options.works or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            started, bench = time.perf_counter(), kill.Bench(Path(folder), random.Random(options.seed))
            WORKS[work](bench, Disk(Path(folder)), work, options.times)
            report[work] = {
                "faults": sum(bench.ends.values()),
                "exit codes": {str(code): count for code, count in sorted(bench.ends.items())},
                "wrong": bench.wrong,
                "seconds": round(time.perf_counter() - started),
            }
    print(json.dumps(report, indent=1))
    return int(any(entry["wrong"] for entry in report.values()))


if __name__ == "__main__":
    with_failing_disk(Path(tempfile.gettempdir()))
    import forked
    import kill

    sys.exit(main())
