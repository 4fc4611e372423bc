"""Descriptions of caches and models for people, as `kptool info` prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kptool.report import describe


def line(text: str, name: str) -> str:
    """The text of a line, with those that continue it."""
    lines = text.splitlines()
    start = next(i for i, each in enumerate(lines) if each.startswith(f" {name} "))
    end = next((i for i, each in enumerate(lines[start + 1 :], start + 1) if not each.startswith("  ")), len(lines))
    return " ".join(" ".join(lines[start:end]).split()).removeprefix(name).strip()


def test_a_run_is_described_in_sections_of_short_lines(kptool: Any, run_folder: Path) -> None:
    facts = kptool("info", run_folder, "--json").json()
    text = kptool("info", run_folder).out
    titles = [each for each in text.splitlines() if not each.startswith(" ")]
    assert titles == ["model", "keypoints", "data", "training", "metrics", "labels", "--json prints every value"]
    assert "{" not in text
    assert line(text, "epochs") == "2 (recipe: 40)"
    assert line(text, "batch_size") == "12 (recipe: 16)"
    assert "lr" not in [each.split()[0] for each in text.splitlines()]
    metrics = facts["metrics"]
    shape = f"the training images' mean shape: {metrics['mean_shape_rmse']:.3f} px"
    assert line(text, "RMSE") == f"{metrics['rmse']:.3f} px; {shape}"
    assert line(text, "measured on") == f"12 validation images, after epoch {metrics['best_epoch']}"
    assert line(text, "names") == f"15: {', '.join(facts['names'])}"
    assert line(text, "y") == "unknown"


def test_a_cache_is_described_too(kptool: Any, faces: Path) -> None:
    text = kptool("info", faces).out
    assert line(text, "images") == "48: 36 for training, 12 for validation (25% requested)"
    assert line(text, "input") == "48x48 px, grey"
    assert line(text, "heatmaps") == "uint8, sigma 1.5, stride 2"
    assert "also" not in text


def test_shipped_weights_say_how_they_were_trained(kptool: Any) -> None:
    text = kptool("info", "unet").out
    assert line(text, "augment.upright") == "0.5 (recipe: 0)"
    assert line(text, "x").startswith("+1.25 px off the features; ")
    assert line(text, "y").startswith("+1.00 ± 0.30 px off the features; ")
    assert line(text, "90 % within").endswith(" times the heatmap's spread (px without heatmaps), by keypoint")
    assert "mean_shape" not in text
    assert "turned_shape" not in text


def test_nothing_is_left_out_and_any_value_is_described() -> None:
    facts: dict[str, Any] = {
        "weights": "w",
        "origin": "o",
        "model": "mine",
        "names": ["a", "b"],
        "flip_pairs": [],
        "size": (8, 16),
        "channels": 3,
        "width": 2,
        "loss": "wing",
        "sigma": 1.5,
        "decoder": "dark",
        "mirror": False,
        "training": {"epochs": "many", "unknown": 3, "augment": 7},
        "data": {"source": None, "licence": "free", "mean_shape": [1] * 9},
        "metrics": {"rmse": "low", "pck": [1], "per_keypoint": {"a": None}, "radius90": [None], "extra": {"x": 1.5}},
        "labels": {"x": "left", "z": True},
        "newer": [1, 2],
    }
    found = describe.of_model(facts)
    assert dict(found["model"])["input"] == "16x8 px, colour"
    assert ("flip pairs", "never mirrored") in found["keypoints"]
    assert {"licence": "free", "mean_shape": "9 values"}.items() <= dict(found["data"]).items()
    training = dict(found["training"])
    assert (training["epochs"], training["loss"], training["unknown"]) == (
        "many (recipe: 40)",
        "wing (recipe: dsnt)",
        "3",
    )
    assert {"RMSE": "low px", "extra": "x 1.5"}.items() <= dict(found["metrics"]).items()
    assert dict(found["labels"])["z"] == "on"
    assert found["also"] == [("newer", "1, 2")]
    assert set(describe.of_model({**facts, "training": None, "data": 3, "metrics": "", "labels": []})) == {
        "model",
        "keypoints",
        "labels",
        "also",
    }
