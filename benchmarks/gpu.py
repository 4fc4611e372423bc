"""Measure kptool on a GPU, and train there: python benchmarks/gpu.py CACHE --out DIR [--minutes 8] [--device cuda]

CACHE: faces of 96x96 pixels, from `kptool extract`. Writes DIR/gpu.json after every part, DIR/RESULTS-gpu.md, DIR/curves.csv with
the epochs of all trainings, and the weights of the best. A part that fails is recorded with its error, and the next begins, since
time on a GPU is short. `--device cpu --quick` rehearses everything within minutes.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gpu_steps as steps
import pandas as pd
import torch

from kptool.bench.machine import machine

MODELS = ("unet", "fcn", "resnet", "vgg")
SEEDS = (0, 1, 2)
GOAL = 1.35
"""RMSE in pixels whose time from the start of the process is the headline."""
TOGETHER = 6
"""Trainings that share the GPU: a single one of these networks leaves most of it idle."""


class Report:
    """What was measured, by part, saved after each."""

    def __init__(self, out: Path, device: torch.device) -> None:
        self.out, self.parts = out, dict[str, Any]()
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
        self.parts["machine"] = {**machine(), "card": card, "torch": torch.__version__, "cuda": torch.version.cuda}

    def part(self, name: str, work: Callable[[], Any]) -> Any:
        """Run `work`, keep its result or its error, and save."""
        begun = time.perf_counter()
        try:
            found = work()
        except Exception as error:  # any: the parts after it must run
            found = {"error": f"{type(error).__name__}: {error}"[:500], "where": traceback.format_exc()[-1500:]}
        self.parts[name] = found
        print(f"{name}, {time.perf_counter() - begun:.1f} s: {json.dumps(found)[:400]}", flush=True)
        (self.out / "gpu.json").write_text(json.dumps(self.parts, indent=1))
        (self.out / "RESULTS-gpu.md").write_text(self.markdown())
        return found

    def markdown(self) -> str:
        """Every number as a table, a part after the other."""
        lines = [
            "# Measured on a GPU",
            "",
            "Written by `benchmarks/gpu.py`. Times are medians; ms unless it says so.",
            "",
        ]
        for name, found in self.parts.items():
            lines += [f"## {name}", "", "| | |", "|---|---|"]
            lines += [f"| {key} | {_cell(value)} |" for key, value in _flat(found)]
            lines.append("")
        return "\n".join(lines)


def _flat(found: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _flat(value, f"{before}{key} ")
    else:
        yield before.strip(), found


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("\n", " ").replace("|", "/")[:300]


class Run:
    """A `kptool train` in a process of its own; `-P`: of the installed kptool, whose core is built, wherever this is run."""

    def __init__(self, model: str, seed: int, cache: Path, out: Path, device: str, options: list[str]) -> None:
        self.name, self.folder = f"{model}-{seed}", out / f"{model}-{seed}"
        command = [
            sys.executable,
            "-P",
            "-m",
            "kptool",
            "train",
            model,
            str(cache),
            "--out",
            str(self.folder),
            "--force",
        ]
        command += ["--seed", str(seed), "--device", device, "--quiet", *options]
        self.begun = time.time()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.waited = 0.0

    def history(self) -> pd.DataFrame:
        """A row per epoch so far."""
        path = self.folder / "metrics.csv"
        return pd.read_csv(path) if path.is_file() else pd.DataFrame()

    def result(self) -> dict[str, Any]:
        """The best RMSE and the epochs; the error's last line if there are none."""
        rows = self.history()
        if rows.empty:
            _, error = self.process.communicate(timeout=30)
            return {"error": (error or "no epoch").strip()[-300:]}
        best = rows.loc[rows["rmse"].idxmin()]
        return {
            "rmse": float(best["rmse"]),
            "nme": float(best["nme"]),
            "epochs": len(rows),
            "seconds": float(rows["seconds"].iloc[-1]),
            "images_per_second": float(rows["images_per_second"].iloc[-1]),
        }


def to_goal(cache: Path, out: Path, device: str, options: list[str], limit: float) -> dict[str, Any]:
    """One training with the whole GPU: seconds from the start of its process to `GOAL`, and to within 2 % of its best."""
    run, seen = Run("unet", 100, cache, out, device, options), list[tuple[float, float]]()
    while time.time() - run.begun < limit:
        done = run.process.poll() is not None
        rows = run.history()
        seen += [(time.time() - run.begun, float(value)) for value in rows.get("rmse", [])[len(seen) :]]
        if done:
            break
        time.sleep(0.05)
    run.process.terminate()
    best = min((rmse for _, rmse in seen), default=float("nan"))
    within = next((at for at, rmse in seen if rmse <= 1.02 * best), None)
    return {
        **run.result(),
        "seconds_to_goal": next((at for at, rmse in seen if rmse <= GOAL), None),
        "seconds_to_within_2_percent": within,
        "best_within_60_seconds": min((rmse for at, rmse in seen if at <= 60), default=None),
        "seconds_to_first_epoch": seen[0][0] if seen else None,
    }


def trainings(
    cache: Path, out: Path, device: str, options: list[str], limit: float, models: tuple[str, ...]
) -> dict[str, Any]:
    """The models by three seeds, several at a time, until `limit` seconds are over."""
    waiting = [(model, seed) for seed in SEEDS for model in models]
    running, finished, begun = list[Run](), list[Run](), time.time()
    while (waiting or running) and time.time() - begun < limit:
        while waiting and len(running) < TOGETHER:
            running.append(Run(*waiting.pop(0), cache, out, device, options))
        ended = [run for run in running if run.process.poll() is not None]
        finished += ended
        running = [run for run in running if run not in ended]
        time.sleep(0.2)
    for run in running:  # what they have reached counts, and is marked as unfinished by its epochs
        run.process.terminate()
        run.process.wait(timeout=30)
    return {run.name: run.result() for run in [*finished, *running]}


def collect(out: Path, work: Path) -> dict[str, Any]:
    """All epochs in one file, and the weights of each model's best run."""
    tables, best = list[pd.DataFrame](), dict[str, tuple[float, Path]]()
    for path in sorted(work.glob("*/metrics.csv")):
        rows, name = pd.read_csv(path), path.parent.name
        tables.append(rows.assign(run=name))
        model, rmse = name.partition("-")[0], float(rows["rmse"].min())
        if rmse < best.get(model, (float("inf"), path))[0]:
            best[model] = (rmse, path.parent / "model.safetensors")
    if tables:
        pd.concat(tables).to_csv(out / "curves.csv", index=False)
    for model, (_, weights) in best.items():
        if weights.is_file():
            shutil.copy(weights, out / f"{model}.safetensors")
    return {model: {"rmse": rmse, "run": path.parent.name} for model, (rmse, path) in best.items()}


def main() -> None:
    """Measure, train, collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="that everything may take")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small batches and few steps, to rehearse")
    given = parser.parse_args()
    begun, device, quick = time.time(), torch.device(given.device), given.quick
    given.out.mkdir(parents=True, exist_ok=True)
    work = given.out / "runs"
    report = Report(given.out, device)
    size = 8 if quick else 256
    bench = steps.Bench.of(given.cache, device, size, seconds=0.2 if quick else 2.0)
    for name, each in steps.PARTS.items():
        report.part(name, functools.partial(each, bench))
    if device.type == "cuda":
        torch.cuda.empty_cache()
    few = ["--epochs", "1", "--set", "width=4"] if quick else []
    large = (
        [*few, "--batch-size", "12"]
        if quick
        else ["--batch-size", "64", "--lr", "2e-3", "--epochs", "60", "--set", "step=record"]
    )
    report.part("time to goal", lambda: to_goal(given.cache, work, given.device, large, 300 if quick else 100))
    left = 60 * given.minutes - (time.time() - begun) - 20
    models = MODELS[:1] if quick else MODELS
    small = [*few, "--batch-size", "12"] if quick else ["--batch-size", "32", "--lr", "1.4e-3", "--set", "step=record"]
    report.part("trainings", lambda: trainings(given.cache, work, given.device, small, left, models))
    report.part("best", lambda: collect(given.out, work))


if __name__ == "__main__":
    main()
