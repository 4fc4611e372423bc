"""Stop kptool at random moments and look at what is left: python tests/faults/kill.py [WORK...] [--times 200] [--seed 0].

After every SIGKILL each file must be whole, the one before or the one after, and a later run must leave nothing of an
earlier one lying about. A training that is killed again and again and resumed must end bit for bit as one that never
was: weights, averages, optimizer, history. Every third stop is Ctrl-C or SIGTERM instead, which must exit with 128 and
the signal's number, and say so in a sentence. Prints a JSON report; the exit code is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import forked
import torch

from kptool import checkpoint

Fingerprints = dict[str, str]

_EXTRACT = ["extract", "--count", "24", "--out", "out", "--force", "--heatmaps", "uint8"]
_TRAIN = ["train", "unet", "small/dataset.h5", "--out", "run", "--device", "cpu", "--epochs", "24", "--set", "width=4"]
_PREDICT = ["predict", "out/images", "--no-detect", "--heatmaps", "seen/maps.h5", "--out", "seen", "--json"]
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)


@dataclass
class Bench:
    """A folder to work in, what went wrong so far, and how the runs that were to be stopped ended."""

    folder: Path
    rng: random.Random
    wrong: list[str] = field(default_factory=list)
    ends: Counter[int] = field(default_factory=Counter)

    def whole(self, arguments: list[str]) -> float:
        """Run kptool to its end; returns the seconds. Raises where it fails: then there is nothing to compare with."""
        ended = forked.run(arguments, self.folder, self.folder / "log")
        if ended.code != 0:
            raise RuntimeError(f"{' '.join(arguments)} ended with {ended.code}: {ended.err}")
        return ended.seconds

    def stopped(self, arguments: list[str], after: float, number: int) -> None:
        """Run kptool and stop it `after` seconds, by every kind of signal in turn."""
        kind = _SIGNALS[number % len(_SIGNALS)]
        ended = forked.run(arguments, self.folder, self.folder / "log", after=after, number=kind)
        self.ends[ended.code] += 1
        # A signal before kptool listens, or after it is done, ends the process itself: to a shell it is the same code.
        if ended.code not in (0, -kind, 128 + kind):
            self.wrong.append(f"{arguments[0]} {number}: exit code {ended.code} after {kind.name}: {ended.err[-300:]}")
        elif ended.code > 0 and (f"stopped by {kind.name}" not in ended.err or "Traceback" in ended.err):
            self.wrong.append(f"{arguments[0]} {number}: it said {ended.err[-300:]!r}")

    def expect(self, good: bool, what: str) -> None:
        """Remember `what` as wrong where it is."""
        if not good:
            self.wrong.append(what)


def fingerprints(folder: Path) -> Fingerprints:
    """The visible files below a folder, each with the hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def litter(folder: Path) -> list[str]:
    """Hidden and temporary files below a folder."""
    return [str(path) for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]


def differences(found: Fingerprints, before: Fingerprints, after: Fingerprints) -> list[str]:
    """Files that are neither the one before nor the one after, and files that are missing."""
    wrong = [name for name, value in found.items() if value not in (before.get(name), after.get(name))]
    return wrong + [name for name in before if name in after and name not in found]


def stop_extract(bench: Bench, times: int) -> None:
    """Replace one extraction by another, and back, stopped on the way."""
    out, states, longest = bench.folder / "out", {}, 0.0
    for seed in ("1", "2"):
        longest = bench.whole([*_EXTRACT, "--seed", seed])
        states[seed] = fingerprints(out)
    for number in range(times):
        before, after = ("2", "1") if number % 2 == 0 else ("1", "2")
        bench.stopped([*_EXTRACT, "--seed", after], bench.rng.uniform(0, 1.1 * longest), number)
        for name in differences(fingerprints(out), states[before], states[after]):
            bench.wrong.append(f"extract {number}: {name} is neither the old nor the new one")
        bench.whole([*_EXTRACT, "--seed", after])
        bench.expect(fingerprints(out) == states[after], f"extract {number}: the next run did not repair it")
        bench.expect(not litter(out), f"extract {number}: left {litter(out)}")


def stop_predict(bench: Bench, times: int) -> None:
    """Write heatmaps, drawings and a csv over those predicted in another way, and back."""
    if not (bench.folder / "out").exists():
        bench.whole([*_EXTRACT, "--seed", "1"])
    seen, states, longest = bench.folder / "seen", {}, 0.0
    modes: tuple[list[str], list[str]] = ([], ["--tta"])
    for flip in (1, 0):
        longest = bench.whole([*_PREDICT, *modes[flip]])
        states[flip] = fingerprints(seen)
    for number in range(times):
        before, after = (0, 1) if number % 2 == 0 else (1, 0)
        bench.stopped([*_PREDICT, *modes[after]], bench.rng.uniform(0, 1.1 * longest), number)
        for name in differences(fingerprints(seen), states[before], states[after]):
            bench.wrong.append(f"predict {number}: {name} is neither the old nor the new one")
        bench.whole([*_PREDICT, *modes[after]])
        bench.expect(fingerprints(seen) == states[after], f"predict {number}: the next run did not repair it")
        bench.expect(not litter(seen), f"predict {number}: left {litter(seen)}")


def stop_train(bench: Bench, times: int) -> None:
    """Train, stopped and resumed until it is through, as often as it takes; compare with an undisturbed run; again."""
    bench.whole(["extract", "--count", "40", "--out", "small", "--force", "--sigma", "1.5"])
    run = bench.folder / "run"
    longest = bench.whole([*_TRAIN, "--force"])
    undisturbed, stops = state(run), 0
    while stops < times:
        shutil.rmtree(run)
        while True:
            mode = "--resume" if (run / "last.ckpt").exists() else "--force"
            if stops >= times:
                bench.whole([*_TRAIN, mode])
                break
            bench.stopped([*_TRAIN, mode], bench.rng.uniform(0.02, 0.4) * longest, stops)
            stops += 1
            if (run / "last.ckpt").exists() and same(state(run), undisturbed):
                break
        bench.expect(same(state(run), undisturbed), f"train, after {stops} stops: not the undisturbed run")
        bench.whole([*_TRAIN, "--resume"])  # the next run, which sweeps what the last stop left
        bench.expect(not litter(run), f"train, after {stops} stops: left {litter(run)}")


def state(run: Path) -> dict[str, Any]:
    """All of a run that is to be bit for bit the same. Raises where a file is not whole."""
    last = checkpoint.load_state(run / "last.ckpt")
    weights = checkpoint.load_detector(run / "model.safetensors")[0].state_dict() if last["epoch"] else {}
    history = [{key: value for key, value in row.items() if "seconds" not in key} for row in last["history"]]
    if last["epoch"] and not 0 <= len((run / "metrics.csv").read_text().splitlines()) - 1 - last["epoch"] <= 1:
        raise RuntimeError("metrics.csv is not as long as the training")
    parts = ("detector", "average", "optimizer", "step", "epoch", "losses")
    return {**{part: last[part] for part in parts}, "history": history, "weights": weights}


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal, tensors bit for bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    return bool(a == b)


WORKS: dict[str, Callable[[Bench, int], None]] = {
    "extract": stop_extract,
    "predict": stop_predict,
    "train": stop_train,
}


def main() -> int:
    """Stop, look, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all without it")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    forked.load_everything()
    report = {}
    for work in options.works or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            started, bench = time.perf_counter(), Bench(Path(folder), random.Random(options.seed))
            WORKS[work](bench, options.times)
            report[work] = {
                "stops": options.times,
                "exit codes": {str(code): count for code, count in sorted(bench.ends.items())},
                "wrong": bench.wrong,
                "seconds": round(time.perf_counter() - started),
            }
    print(json.dumps(report, indent=1))
    return int(any(entry["wrong"] for entry in report.values()))


if __name__ == "__main__":
    sys.exit(main())
