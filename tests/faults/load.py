"""Watch memory and open files under sustained load: python tests/faults/load.py [--pictures 10000] [--epochs 1000].

Runs `predict` on many pictures, and a training of many tiny epochs with a checkpoint after each. Each is a subprocess,
sampled several times a second; its first quarter after warm-up is compared with its last. Prints a JSON report; the
exit code is 1 if the last quarter has more open files, takes over 10 % more time per step, or uses more memory than
the growth allowed below.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_MOST_GROWTH = {"predict": 3000, "train": 20_000}
"""Allowed growth in bytes per picture (keypoints are kept until the end) and per epoch (a row of the history)."""
_DIFFERENT = 250


@dataclass(frozen=True)
class Sample:
    """A process at one moment: seconds since its start, resident bytes, open files."""

    seconds: float
    memory: int
    files: int


def watch(arguments: list[str], folder: Path) -> list[Sample]:
    """Run kptool in `folder`, sampled five times a second. Raises if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-m", "kptool", *arguments]
    samples, started = [], time.perf_counter()
    with (
        (folder / "out.json").open("w") as out,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=out) as process,
    ):
        while process.poll() is None:
            try:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
                samples.append(Sample(time.perf_counter() - started, pages * os.sysconf("SC_PAGE_SIZE"), files))
            except (FileNotFoundError, ProcessLookupError):
                break
            time.sleep(0.2)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return samples


def quarters(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """The first quarter after a warm-up, and the last quarter without its end, where results are printed."""
    n = len(samples)
    return samples[n // 10 : n // 10 + max(1, n // 4)], samples[n - n // 4 - n // 20 : n - max(1, n // 20)]


def compare(samples: list[Sample], steps: int, most: int) -> dict[str, object]:
    """What grew from the first part to the last."""
    first, last = quarters(samples)
    memory = [int(statistics.median(sample.memory for sample in part)) for part in (first, last)]
    files = [max(sample.files for sample in part) for part in (first, last)]
    share = (statistics.mean(s.seconds for s in last) - statistics.mean(s.seconds for s in first)) / samples[-1].seconds
    growth = (memory[1] - memory[0]) / (share * steps)
    good = growth <= most and files[1] <= files[0]
    peak = max(sample.memory for sample in samples)
    return {
        "mebibytes": [m >> 20 for m in memory],
        "peak": peak >> 20,
        "bytes per step": round(growth),
        "open files": files,
        "good": good,
    }


def predict(folder: Path, pictures: int) -> dict[str, object]:
    """`kptool predict` on a folder of pictures, which are hard links to a few hundred different ones."""
    subprocess.run(
        [sys.executable, "-m", "kptool", "extract", "--count", str(_DIFFERENT), "--out", "made", "--heatmaps", "none"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    (folder / "many").mkdir()
    for number in range(pictures):
        os.link(folder / "made" / "images" / f"{number % _DIFFERENT:05d}.png", folder / "many" / f"{number:06d}.png")
    samples = watch(["predict", "many", "--json"], folder)
    images = json.loads((folder / "out.json").read_text())["images"]
    report = compare(samples, pictures, _MOST_GROWTH["predict"])
    return {
        "pictures": len(images),
        "faces": sum(len(i["faces"]) for i in images),
        **report,
        "seconds": round(samples[-1].seconds),
    }


def train(folder: Path, epochs: int) -> dict[str, object]:
    """`kptool train` for many epochs of one step."""
    subprocess.run(
        [sys.executable, "-m", "kptool", "extract", "--count", "20", "--out", "small", "--heatmaps", "none"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    arguments = ["train", "unet", "small/dataset.h5", "--out", "run", "--epochs", str(epochs), "--set", "width=2"]
    samples = watch([*arguments, "--device", "cpu", "--json"], folder)
    with (folder / "run" / "metrics.csv").open(newline="") as file:
        total = [float(row["seconds"]) for row in csv.DictReader(file)]
    each = [after - before for before, after in itertools.pairwise(total)]
    n = len(each)
    seconds = [statistics.median(part) for part in (each[n // 10 : n // 10 + n // 4], each[-n // 4 :])]
    report = compare(samples, epochs, _MOST_GROWTH["train"])
    report["good"] = bool(report["good"]) and seconds[1] <= 1.1 * seconds[0]
    return {"epochs": len(total), "seconds per epoch": [round(s, 4) for s in seconds], **report}


def main() -> int:
    """Run, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=1000)
    options = parser.parse_args()
    report = {}
    for name, work, steps in (("predict", predict, options.pictures), ("train", train, options.epochs)):
        with tempfile.TemporaryDirectory() as folder:
            if steps:
                report[name] = work(Path(folder), steps)
    print(json.dumps(report, indent=1))
    return int(not all(entry["good"] for entry in report.values()))


if __name__ == "__main__":
    sys.exit(main())
