"""``kptool bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kptool.data import images


@pytest.mark.long
def test_bench_writes_what_it_measured(kptool: Any, refused: Any, in_tmp: Path, timed_once: None) -> None:
    """Every part runs, and compares results before timing anything; the timings are not checked here."""
    made = kptool("bench", "all", "--quick", "--json", "--plot", "bars.png", "--report", "report.md")
    assert made.code == 0, made.err
    rows = made.json()["rows"]
    assert {row["group"].split(" ")[0] for row in rows} == {
        "small",
        "W2",
        "peaks",
        "error",
        "heatmaps",
        "unet,",
        "predict,",
    }
    assert all(row["ours"] > 0 and row["ratio"] == pytest.approx(row["theirs"] / row["ours"]) for row in rows)
    text = Path("report.md").read_text(encoding="utf-8")
    assert text.count("\n| ") > len(rows)
    assert "kptool bench all --quick" in text
    assert images.read(Path("bars.png")).shape[1] > 300
    assert "core, accuracy, cache, train, predict or all" in refused("bench", "nothing")
