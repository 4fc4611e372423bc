"""Damage valid inputs in thousands of ways and let kptool read them: python tests/faults/hostile.py [--count 20000].

Every input is read by a separate process, which must keep kptool's promises: at most 10 seconds of processor time and
1 GiB, exit code 0, 1 or 2, no traceback, no file outside the output folder, and one sentence if the input is refused.
Truncated inputs, and files of another kind, must be refused. A minute of wall-clock time counts as a hang, however busy
the machine is. Input n depends only on --seed and n, so --first n --count 1 repeats it. Prints a JSON report; the exit
code is 1 if anything was wrong, and those inputs are saved in --keep.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
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
    os.environ[_name] = "1"  # before NumPy, which other modules import, so that forked can set its thread limits
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import bombs
import h5files
import mutations
import weights
from forked import Ended, load_everything, run
from inputs import Input, inputs

_SECONDS, _HANG, _BYTES = 10, 60, 1 << 30
_BINARY = ("picture", "cache", "model", "last")
_SHM = Path("/dev/shm")


def mutate(given: Input, data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Damaged data, and the kind of damage."""
    if "bomb" in given.kind and rng.random() < 0.8:
        return data, "bomb"
    if given.kind.endswith(".zip") and rng.random() < 0.6:
        return mutations.zipped(data, rng), "zipped"
    if given.kind == "cache" and (share := rng.random()) < 0.7:
        return (h5files.rebuilt(data, rng), "rebuilt") if share < 0.4 else (h5files.damaged(data, rng), "damaged")
    if given.kind == "model.safetensors" and rng.random() < 0.6:
        return weights.rebuilt(data, rng), "rebuilt"
    if given.kind == "last.ckpt" and rng.random() < 0.5:
        return mutations.repacked(data, rng), "repacked"
    ways = mutations.ANY if given.kind.startswith(_BINARY) else mutations.TEXT
    way = rng.choice(ways)
    for _ in range(rng.choice([1, 1, 2])):
        data = way(data, rng) or data[:0]
        if not data:
            break
    if given.kind.endswith(".png") and rng.random() < 0.7:
        data = bombs.repaired(data)
    return data, way.__name__


def limited() -> None:
    """Resource limits of this process, well above those that are checked, to protect the machine."""
    signal.alarm(_HANG)
    resource.setrlimit(resource.RLIMIT_CPU, (2 * _SECONDS, 2 * _SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (4 * _BYTES, 4 * _BYTES))


def judge(given: Input, way: str, command: tuple[str, ...], ran: Ended) -> str:
    """What is wrong with how a command ended; empty if nothing is."""
    if ran.code < 0:
        return f"died of {signal.Signals(-ran.code).name}"
    if ran.code not in (0, 1, 2):
        return f"exit code {ran.code}: {ran.err.strip().splitlines()[-1:]}"
    if ran.processor > _SECONDS:
        return f"took {ran.processor:.1f} s"
    if ran.peak > _BYTES:
        return f"took {ran.peak >> 20} MiB"
    last = ran.err.strip().splitlines()[-1:]
    if "Traceback" in ran.err or (ran.code == 2 and not (last and last[0].startswith("kptool: "))):
        return f"was refused with {ran.err[-200:]!r}"
    if ran.code == 2 and (not ran.err.strip() or (ran.out and command[0] != "predict")):  # continues with others
        return f"was refused with {ran.out[:80]!r} on stdout and {ran.err[:80]!r} on stderr"
    if ran.code == 0 and (way == "replaced" or (given.whole and way == "truncated")):
        return "was accepted"
    if ran.out and "--json" in command:
        try:
            json.loads(ran.out, parse_constant=_no_constant)
        except ValueError as error:
            return f"printed no valid json: {error}"
    return ""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no json")


def strays(place: Path, allowed: Path, before: set[Path]) -> str:
    """Describe a file below `place` that was created outside the folder `allowed`."""
    made = set(place.rglob("*")) - before
    return next((f"made {p.relative_to(place)}" for p in sorted(made) if not p.is_relative_to(allowed)), "")


def one_case(one: Input, rng: random.Random, folder: Path) -> tuple[str, tuple[str, ...], Ended, str]:
    """Damage `one` inside `folder` and run a command on it; returns damage, command, outcome and what is wrong."""
    log, case = folder / "log", folder / "case" / "inner"
    shutil.rmtree(case.parent, ignore_errors=True)
    shutil.copytree(one.folder, case)
    data, way = mutate(one, (case / one.damaged).read_bytes(), rng)
    if one.kind == "yolo" and not data:
        way = "emptied"  # which is a picture without labelled objects
    (case / one.damaged).write_bytes(data)
    before = set(case.parent.rglob("*"))
    command = rng.choice(one.commands)
    ran = run([word.format(one.opened) for word in command], case, log, prepare=limited)
    return way, command, ran, judge(one, way, command, ran) or strays(case.parent, case / "out", before)


class Report:
    """Statistics of the inputs so far."""

    def __init__(self, keep: Path | None) -> None:
        self.keep, self.wrong = keep, list[dict[str, Any]]()
        self.codes: dict[str, dict[str, int]] = collections.defaultdict(lambda: collections.defaultdict(int))
        self.worst = dict[str, dict[str, Any]]()

    def add(
        self, number: int, one: Input, way: str, command: tuple[str, ...], ran: Ended, problem: str, case: Path
    ) -> None:
        """Add one input."""
        self.codes[one.kind][str(ran.code)] += 1
        for what, value in (
            ("seconds", ran.processor),
            ("seconds on the clock", ran.seconds),
            ("mebibytes", ran.peak >> 20),
        ):
            if value > self.worst.get(what, {"value": 0})["value"]:
                about = {"number": number, "kind": one.kind, "command": command[0]}
                self.worst[what] = {"value": round(value, 2), **about}
        if problem:
            found = {"number": number, "kind": one.kind, "way": way, "command": command[0], "problem": problem}
            self.wrong.append(found)
            print(json.dumps(found), file=sys.stderr, flush=True)
            self._keep(number, one, case, ran)

    def _keep(self, number: int, one: Input, case: Path, ran: Ended) -> None:
        if self.keep is not None:
            place = self.keep / f"{number}-{one.kind}"
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(case / one.damaged, place / Path(one.damaged).name)
            (place / "err.txt").write_text(ran.err)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        total: collections.Counter[str] = collections.Counter()
        for each in self.codes.values():
            total.update(each)
        return {"all": total, "exit codes": self.codes, "worst": self.worst, "wrong": self.wrong}


def made(folder: Path) -> list[Input]:
    """The valid inputs in `folder`, written if they are not there."""
    listed = folder / "inputs.json"
    if listed.is_file():
        rows = json.loads(listed.read_text())
        return [
            Input(**{**row, "folder": Path(row["folder"]), "commands": tuple(map(tuple, row["commands"]))})
            for row in rows
        ]
    found = list(inputs(folder))
    listed.write_text(json.dumps([dataclasses.asdict(one) for one in found], default=str))
    return found


def main() -> int:
    """Damage, run, judge, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", help="only inputs whose kind begins so")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for inputs that went wrong")
    parser.add_argument(
        "--inputs", type=Path, default=None, help="a folder to keep the valid inputs in for another time"
    )
    options = parser.parse_args()
    started, report, done = time.perf_counter(), Report(options.keep), 0
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))  # report what was done so far
    with tempfile.TemporaryDirectory(dir=_SHM if _SHM.is_dir() else None) as name:
        folder = Path(name)
        valid = options.inputs or folder / "valid"
        (folder / "log").mkdir()
        valid.mkdir(exist_ok=True)
        given = [one for one in made(valid) if one.kind.startswith(options.kind)]
        load_everything()
        for number in range(options.first, options.first + options.count):
            if stopped:
                break
            rng = random.Random(f"{options.seed} {number}")
            one = rng.choices(given, [each.share for each in given])[0]
            report.add(number, one, *one_case(one, rng, folder), folder / "case" / "inner")
            done += 1
            if (number + 1) % 500 == 0:
                print(f"{number + 1} inputs, {len(report.wrong)} wrong", file=sys.stderr, flush=True)
    document = {"inputs": done, "seed": options.seed, "seconds": round(time.perf_counter() - started)}
    print(json.dumps({**document, **report.document()}, indent=1))
    return int(bool(report.wrong))


if __name__ == "__main__":
    sys.exit(main())
