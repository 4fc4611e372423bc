"""Measure time and peak memory of extracting a large Kaggle-like csv: python benchmarks/scale.py [ROWS]. Prints JSON.

The csv repeats built-in synthetic faces. Extraction runs in a subprocess, whose peak memory is reported.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kptool.data.sources import Opening, find_source

_DIFFERENT = 500


def write_csv(path: Path, rows: int) -> None:
    """Write a csv of `rows` rows in Kaggle's format."""
    source = find_source(None, Opening(count=_DIFFERENT))
    names = source.skeleton.names
    lines = []
    for block in source.blocks():
        for image, points in zip(block.images, block.keypoints, strict=True):
            cells = [*(f"{v:.3f}" for v in points.ravel()), " ".join(map(str, image.ravel().tolist()))]
            lines.append(",".join(cells) + "\n")
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow([*(f"{n}_{axis}" for n in names for axis in "xy"), "Image"])
        for row in range(rows):
            file.write(lines[row % len(lines)])


def main() -> None:
    """Write the csv, extract it and print the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="?", default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.csv"
        write_csv(path, rows)
        started = time.perf_counter()
        command = [sys.executable, "-m", "kptool", "extract", str(path), "--out", f"{folder}/out", "--json"]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        document = json.loads(ran.stdout)
        cache = (Path(folder) / "out" / "dataset.h5").stat().st_size
        report = {"rows": document["rows"], "kept": document["kept"], "csv_bytes": path.stat().st_size}
        print(json.dumps({**report, "cache_bytes": cache, "peak_bytes": peak, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
