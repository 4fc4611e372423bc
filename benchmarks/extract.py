"""Time `kptool extract` against unzipping alone and a typical script: python benchmarks/extract.py training.zip

The script uses pandas for the csv, a Python loop over the pixel strings, NumPy Gaussians, Pillow, and h5py with gzip.
The rows of the zip are repeated until there are as many as in Kaggle's training.csv.
"""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

ROWS = 7049


def repeat_rows(source: Path, target: Path, rows: int) -> None:
    """Write a training.zip with `rows` rows by repeating those of `source`."""
    with zipfile.ZipFile(source) as archive:
        header, *lines = archive.read("training.csv").splitlines(keepends=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("training.csv", "w") as file:
        file.write(header)
        repeated: Iterable[bytes] = itertools.islice(itertools.cycle(lines), rows)
        for line in repeated:
            file.write(line)


def usual_script(source: Path, out: Path) -> None:
    """A typical notebook's conversion: everything in memory, row by row."""
    with zipfile.ZipFile(source) as archive:
        table = pd.read_csv(io.BytesIO(archive.read("training.csv"))).dropna()
    images = np.stack([np.array(text.split(), dtype=np.uint8).reshape(96, 96) for text in table["Image"]])
    points = table.drop(columns="Image").to_numpy().reshape(len(table), 15, 2)
    (out / "images").mkdir(parents=True)
    y, x = np.mgrid[:96, :96]
    with h5py.File(out / "dataset.h5", "w") as file:
        maps = file.create_dataset(
            "heatmaps", (len(table), 15, 96, 96), "f2", chunks=(1, 15, 96, 96), compression="gzip"
        )
        for i, image in enumerate(images):
            Image.fromarray(image).save(out / "images" / f"{i:05d}.png")
            maps[i] = np.stack([np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8.0) for px, py in points[i]])
        file["images"], file["keypoints"] = images, points


def seconds(work: object) -> float:
    """Wall-clock time of a callable or a command."""
    start = time.perf_counter()
    if callable(work):
        work()
    else:
        subprocess.run(work, check=True, stdout=subprocess.DEVNULL)  # type: ignore[call-overload]
    return time.perf_counter() - start


def peak_memory(command: list[str]) -> float:
    """Peak resident memory of a command in MiB.

    A small intermediate process starts the command, because the peak of a forked child includes its parent's memory.
    """
    code = "import resource as r, subprocess as s, sys; s.run(sys.argv[1:], check=True, stdout=s.DEVNULL);"
    code += "print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss)"
    ran = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(ran.stdout) / 1024


def main(source: Path) -> None:
    """Run the measurements and print times and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        large = work / "training.zip"
        repeat_rows(source, large, ROWS)
        unzip = min(seconds(["unzip", "-p", str(large)]) for _ in range(3))
        print(f"unzip -p alone: {unzip:.2f} s")
        for dtype in ("uint8", "float16"):
            command = [sys.executable, "-m", "kptool", "extract", str(large), "--heatmaps", dtype, "--force", "--json"]
            command += ["--out", str(work / "ours")]
            ours = min(seconds(command) for _ in range(2))
            print(f"kptool extract, {dtype}: {ours:.2f} s, {ours / unzip:.2f}x unzip")
        print(f"peak memory of kptool extract: {peak_memory(command):.0f} MiB")
        usual = seconds(lambda: usual_script(large, work / "usual"))
        print(f"the usual script: {usual:.1f} s, {usual / ours:.1f}x as long as kptool's")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
