"""Kill kptool at random moments and look at what is left: python tests/faults/kill.py [WORK...] [--times 200] [--seed 0].

After every SIGKILL each file must be whole, the one before or the one after, and a later run must leave nothing of an
earlier one lying about. A training that is killed again and again and resumed must end with the weights, bit for bit,
of one that never was. Prints a JSON report; the exit code is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Fingerprints = dict[str, str]

_EXTRACT = ["extract", "--count", "60", "--out", "out", "--force", "--heatmaps", "uint8"]
_TRAIN = ["train", "unet", "small/dataset.h5", "--out", "run", "--device", "cpu", "--epochs", "40", "--set", "width=4"]
_PREDICT = ["predict", "out/images", "--no-detect", "--heatmaps", "maps.h5", "--json"]


def kptool(arguments: list[str], folder: Path, after: float | None = None) -> float:
    """Run kptool in `folder`, and kill it `after` seconds. Returns how long it ran; raises where it failed by itself."""
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kptool", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            _, errors = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            _, errors = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {errors.decode()}")
    return time.perf_counter() - started


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


def kill_extract(folder: Path, times: int, rng: random.Random) -> list[str]:
    """Replace one extraction by another, and back, killed on the way."""
    states = {}
    for seed in ("1", "2"):
        longest = kptool([*_EXTRACT, "--seed", seed], folder)
        states[seed] = fingerprints(folder / "out")
    wrong = []
    for number in range(times):
        before, after = ("2", "1") if number % 2 == 0 else ("1", "2")
        kptool([*_EXTRACT, "--seed", after], folder, rng.uniform(0, 1.2 * longest))
        wrong += [
            f"extract {number}: {name}"
            for name in differences(fingerprints(folder / "out"), states[before], states[after])
        ]
        kptool([*_EXTRACT, "--seed", after], folder)
        if fingerprints(folder / "out") != states[after]:
            wrong.append(f"extract {number}: the next run did not repair it")
        wrong += [f"extract {number}: left {path}" for path in litter(folder / "out")]
    return wrong


def kill_predict(folder: Path, times: int, rng: random.Random) -> list[str]:
    """Write a heatmap file over another one."""
    if not (folder / "out").exists():
        kptool([*_EXTRACT, "--seed", "1"], folder)
    longest = kptool(_PREDICT, folder)
    whole = fingerprints(folder)["maps.h5"]
    wrong = []
    for number in range(times):
        existed = (folder / "maps.h5").exists() and number % 2 == 0
        if not existed:
            (folder / "maps.h5").unlink(missing_ok=True)
        kptool(_PREDICT, folder, rng.uniform(0, 1.2 * longest))
        if fingerprints(folder).get("maps.h5", whole) != whole:
            wrong.append(f"predict {number}: maps.h5 is not whole")
        if existed and not (folder / "maps.h5").exists():
            wrong.append(f"predict {number}: maps.h5 is gone")
        if number % 10 == 9:
            kptool(_PREDICT, folder)
            wrong += [f"predict {number}: left {p}" for p in litter(folder) if "maps" in p]
    return wrong


def kill_train(folder: Path, times: int, rng: random.Random) -> list[str]:
    """Train, killed and resumed until it is through, as often as it takes; then compare with an undisturbed run."""
    kptool(["extract", "--count", "40", "--out", "small", "--force", "--sigma", "1.5"], folder)
    longest = kptool([*_TRAIN, "--force"], folder)
    undisturbed = weights(folder / "run")
    wrong: list[str] = []
    kills = 0
    while kills < times:
        shutil.rmtree(folder / "run", ignore_errors=True)
        done = False
        while not done and kills < times:
            state = folder / "run" / "last.ckpt"
            kptool([*_TRAIN, "--resume" if state.exists() else "--force"], folder, rng.uniform(0.3, 0.6) * longest)
            kills += 1
            done = epochs(folder / "run") == 40
        if not done:
            kptool([*_TRAIN, "--resume" if (folder / "run" / "last.ckpt").exists() else "--force"], folder)
        if weights(folder / "run") != undisturbed:
            wrong.append(f"train, after {kills} kills: the weights differ from the undisturbed run's")
        wrong += [f"train, after {kills} kills: left {path}" for path in litter(folder / "run")]
    return wrong


def epochs(run: Path) -> int:
    """How many epochs a run's history holds."""
    history = run / "metrics.csv"
    return len(history.read_text().splitlines()) - 1 if history.exists() else 0


def weights(run: Path) -> dict[str, bytes]:
    """The tensors of a run, as bytes."""
    from safetensors import safe_open

    with safe_open(run / "model.safetensors", framework="np") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118 - not a dict


WORKS: dict[str, Callable[[Path, int, random.Random], list[str]]] = {
    "extract": kill_extract,
    "predict": kill_predict,
    "train": kill_train,
}


def main() -> int:
    """Kill, look, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all without it")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report = {}
    for work in options.works or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            wrong = WORKS[work](Path(folder), options.times, random.Random(options.seed))
            report[work] = {"kills": options.times, "wrong": wrong, "seconds": round(time.perf_counter() - started)}
    print(json.dumps(report, indent=1))
    return int(any(entry["wrong"] for entry in report.values()))


if __name__ == "__main__":
    sys.exit(main())
