"""``kptool train``: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

FAST = ("--set", "width=4", "--set", "batch_size=12")


def test_the_table_at_the_end_has_the_mean_shape_beside_the_model(kptool: Any, in_tmp: Path, faces: Path) -> None:
    ran = kptool("train", "unet", faces, "--epochs", 1, *FAST)
    assert ran.code == 0, ran.err
    rows = {row.split("│")[1].strip(): row.split("│")[2:4] for row in ran.out.splitlines() if row.count("│") == 4}
    history = pd.read_csv("runs/unet/metrics.csv").iloc[0]
    model, mean_shape = (float(cell.split()[0]) for cell in rows["RMSE"])
    assert abs(model - history["rmse"]) < 1e-3
    assert abs(mean_shape - history["mean_shape_rmse"]) < 1e-3
    assert len(rows) >= 4 + 3 + 15
    assert max(map(len, ran.out.splitlines()[:25])) <= 80


def test_time_ends_a_training_after_the_epoch_that_runs(kptool: Any, in_tmp: Path, faces: Path, refused: Any) -> None:
    """At least one epoch is trained, so that there are weights."""
    ran = kptool("train", "unet", faces, "--epochs", 50, "--time", "0.1s", "--json", *FAST)
    assert ran.code == 0, ran.err
    assert ran.json()["epochs"] == 1
    assert "as many as fit" in Path("runs/unet/train.log").read_text().splitlines()[-1]
    assert "duration above zero" in refused("train", "unet", faces, "--time", "20")


def test_a_config_that_a_run_left_repeats_it(kptool: Any, in_tmp: Path, faces: Path) -> None:
    first = kptool("train", "unet", faces, "--epochs", 1, "--set", "augment.rotation=3", "--json", *FAST).json()
    again = kptool("train", "--config", "runs/unet/config.toml", faces, "--out", "again", "--json").json()
    assert again["val"] == first["val"]
