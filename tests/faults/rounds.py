"""Shared by `kill.py`, `disk.py` and `together.py`: a working folder for repeated runs, and the checks of its files."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forked
import torch

from kptool.network import checkpoint

Fingerprints = dict[str, str]

EXTRACT = ["extract", "--count", "24", "--out", "out", "--force", "--heatmaps", "uint8"]
SMALL = ["extract", "--count", "40", "--size", "48", "--out", "small", "--force", "--sigma", "1.5"]
TRAIN = ["train", "unet", "small/dataset.h5", "--out", "run", "--device", "cpu", "--epochs", "12", "--set", "width=4"]
PREDICT = ["predict", "out/images", "--no-detect", "--heatmaps", "seen/maps.h5", "--out", "seen", "--json"]


@dataclass
class Rounds:
    """A working folder, the errors found so far, and how the disturbed runs ended."""

    folder: Path
    rng: random.Random
    wrong: list[str] = field(default_factory=list)
    ends: Counter[int] = field(default_factory=Counter)

    def whole(self, arguments: list[str]) -> float:
        """Run kptool to its end; returns the seconds. Raises if it fails: there is then nothing to compare with."""
        ended = forked.run(arguments, self.folder, self.folder / "log")
        if ended.code != 0:
            raise RuntimeError(f"{' '.join(arguments)} ended with {ended.code}: {ended.err}")
        return ended.seconds

    def expect(self, good: bool, what: str) -> None:
        """Record `what` as wrong if there is anything."""
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
    """Files that are neither old nor new, and missing files."""
    wrong = [name for name, value in found.items() if value not in (before.get(name), after.get(name))]
    return wrong + [name for name in before if name in after and name not in found]


def state(run: Path) -> dict[str, Any]:
    """Everything in a run that must be reproduced bit for bit. Raises if a file is damaged."""
    last = checkpoint.load_state(run / "last.ckpt")
    weights = checkpoint.load_model(run / "model.safetensors")[0].state_dict() if last["epoch"] else {}
    history = [{key: value for key, value in row.items() if "second" not in key} for row in last["history"]]
    if last["epoch"] and not 0 <= len((run / "metrics.csv").read_text().splitlines()) - 1 - last["epoch"] <= 1:
        raise RuntimeError("metrics.csv is not as long as the training")
    parts = ("detector", "average", "optimizer", "step", "epoch", "losses", "schedule")
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


def main(doc: str | None, works: Mapping[str, Callable[[Rounds, int], None]], times: int) -> int:
    """The command line of all three: runs each work, prints a report, and exits with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(works)}; all without it")
    parser.add_argument("--times", type=int, default=times)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    forked.load_everything()
    report = {}
    for name in options.works or works:
        with tempfile.TemporaryDirectory() as folder:
            started, rounds = time.perf_counter(), Rounds(Path(folder), random.Random(options.seed))
            works[name](rounds, options.times)
            report[name] = {
                "times": options.times,
                "exit codes": {str(code): count for code, count in sorted(rounds.ends.items())},
                "wrong": rounds.wrong,
                "seconds": round(time.perf_counter() - started),
            }
    print(json.dumps(report, indent=1))
    return int(any(entry["wrong"] for entry in report.values()))
