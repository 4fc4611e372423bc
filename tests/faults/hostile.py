"""Damage valid inputs in thousands of ways and let kptool read them: python tests/faults/hostile.py [--count 20000].

Every input is read by a process of its own, and must end as kptool promises: within 10 seconds and 1 GiB, with exit code
0, 1 or 2, no traceback, no file outside the output folder, one sentence where it is refused; what is cut off or something
else altogether is refused. Prints a JSON report; the exit code is 1 where anything was wrong, and those inputs are kept
in --keep.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import os
import pkgutil
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KPTOOL_THREADS"):
    os.environ[_name] = "1"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import h5files  # noqa: E402
import mutations  # noqa: E402
from inputs import Input, inputs  # noqa: E402

import kptool  # noqa: E402
from kptool.cli.main import main as kptool_main  # noqa: E402

_SECONDS, _BYTES = 10, 1 << 30
_BINARY = ("picture", "cache", "model", "last")


def load_everything() -> None:
    """Import all of kptool once, so that the processes that are forked need not."""
    for module in pkgutil.walk_packages(kptool.__path__, "kptool."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def mutate(given: Input, data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Damaged data, and in which way."""
    if given.kind.endswith(".zip") and rng.random() < 0.6:
        return mutations.zipped(data, rng), "zipped"
    if given.kind == "cache" and rng.random() < 0.5:
        return h5files.rebuilt(data, rng), "rebuilt"
    ways = mutations.ANY if given.kind.startswith(_BINARY) else mutations.TEXT
    way = rng.choice(ways)
    for _ in range(rng.choice([1, 1, 2])):
        data = way(data, rng) or data[:0]
        if not data:
            break
    return data, way.__name__


def run(command: tuple[str, ...], opened: str, case: Path, log: Path) -> tuple[int, float, int]:
    """Run kptool in a forked process; returns its wait status, seconds and peak memory in bytes."""
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        _become(command, opened, case, log)
    _, status, used = os.wait4(child, 0)
    return status, time.perf_counter() - started, used.ru_maxrss * 1024


def _become(command: tuple[str, ...], opened: str, case: Path, log: Path) -> None:
    code = 70
    try:
        signal.alarm(_SECONDS + 5)
        resource.setrlimit(resource.RLIMIT_DATA, (4 * _BYTES, 4 * _BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(case)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(log / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        kptool_main(["--debug", *(argument.format(opened) for argument in command)])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def judge(given: Input, way: str, command: tuple[str, ...], ran: tuple[int, float, int], log: Path) -> str:
    """What is wrong with how a command ended; nothing, if all is well."""
    status, seconds, peak = ran
    err = (log / "err").read_text(errors="replace")
    if os.WIFSIGNALED(status):
        return f"died of signal {os.WTERMSIG(status)}"
    code = os.WEXITSTATUS(status)
    if code not in (0, 1, 2):
        return f"exit code {code}: {err.strip().splitlines()[-1:]}"
    if seconds > _SECONDS:
        return f"took {seconds:.1f} s"
    if peak > _BYTES:
        return f"took {peak >> 20} MiB"
    out = (log / "out").read_text(errors="replace")
    if code == 2 and (not err.strip() or (out and command[0] != "predict")):  # which goes on with other pictures
        return f"was refused with {out[:80]!r} on stdout and {err[:80]!r} on stderr"
    garbage = way == "replaced" or (given.whole and way == "truncated")
    if code == 0 and garbage:
        return "was accepted"
    if out and "--json" in command:
        try:
            json.loads(out, parse_constant=_no_constant)
        except ValueError as error:
            return f"printed no valid json: {error}"
    return ""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no json")


def strays(case: Path, before: set[Path]) -> list[str]:
    """Files that were made outside the folder `out`."""
    now = {path for path in case.rglob("*") if "out" not in path.relative_to(case).parts[:1]}
    return [str(path.relative_to(case)) for path in now - before]


def main() -> int:
    """Damage, run, judge, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", help="only inputs whose kind begins so")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for inputs that went wrong")
    options = parser.parse_args()
    rng, wrong = random.Random(options.seed), []
    codes: dict[str, dict[str, int]] = collections.defaultdict(lambda: collections.defaultdict(int))
    worst = {"seconds": 0.0, "mebibytes": 0}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name), Path(name) / "log"
        log.mkdir()
        (folder / "valid").mkdir()
        given = [one for one in inputs(folder / "valid") if one.kind.startswith(options.kind)]
        load_everything()
        for number in range(options.count):
            one = given[number % len(given)]
            case = folder / "case" / "inner"
            shutil.copytree(one.folder, case)
            data, way = mutate(one, (case / one.damaged).read_bytes(), rng)
            (case / one.damaged).write_bytes(data)
            before = set(case.parent.rglob("*"))
            command = rng.choice(one.commands)
            ran = run(command, one.opened, case, log)
            problem = judge(one, way, command, ran, log)
            outside = set(case.parent.rglob("*")) - before
            stray = [p for p in outside if not p.is_relative_to(case / "out")]
            problem = problem or (f"made {stray[0].relative_to(case.parent)}" if stray else "")
            codes[one.kind][str(os.waitstatus_to_exitcode(ran[0]))] += 1
            worst = {
                "seconds": max(worst["seconds"], round(ran[1], 2)),
                "mebibytes": max(worst["mebibytes"], ran[2] >> 20),
            }
            if problem:
                wrong.append(
                    {"number": number, "kind": one.kind, "way": way, "command": command[0], "problem": problem}
                )
                _keep(options.keep, number, one, case, log)
            shutil.rmtree(case.parent)
            _progress(number + 1, options.count, len(wrong))
    report: dict[str, Any] = {"inputs": options.count, "seed": options.seed, "exit codes": codes, "worst": worst}
    report |= {"seconds": round(time.perf_counter() - started), "wrong": wrong}
    print(json.dumps(report, indent=1))
    return int(bool(wrong))


def _keep(folder: Path | None, number: int, one: Input, case: Path, log: Path) -> None:
    if folder is not None:
        place = folder / f"{number}-{one.kind}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(case / one.damaged, place / Path(one.damaged).name)
        shutil.copy(log / "err", place / "err.txt")


def _progress(done: int, total: int, wrong: int) -> None:
    if sys.stderr.isatty() or done % 1000 == 0:
        print(f"{done} of {total}, {wrong} wrong", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
