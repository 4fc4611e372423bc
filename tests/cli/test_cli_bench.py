"""``kptool bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kptool.base.errors import DataError
from kptool.bench import before, machine
from kptool.bench.timing import Row, Time
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
    assert text.count(" ± ") > len(rows)
    renders = [row for row in rows if row["task"].startswith("render float32, ")]
    ratios = {(row["peer"], row["task"].partition(", ")[2]) for row in renders}
    assert ("numpy, separable", "into a given array") in ratios
    assert ("numpy, separable", "results kept") in ratios
    Path("before.json").write_text(made.out)
    again = kptool("bench", "accuracy", "--quick", "--against", "before.json")
    assert again.code == 0, again.err
    assert "ratios that the earlier run has, 0 are more than 5 % better and 0 more than 5 % worse" in " ".join(
        again.out.split()
    )
    assert "holds no run" in refused("bench", "accuracy", "--quick", "--against", faces_json(Path("x.json")))


def faces_json(path: Path) -> Path:
    path.write_text('{"rows": []}')
    return path


def test_an_earlier_run_is_compared_row_by_row(tmp_path: Path) -> None:
    rows = [Row("g", f"task {i}", "peer", 1.0, ratio) for i, ratio in enumerate((1.0, 2.0, 0.5, 7.0))]
    earlier = {row.key: 1.0 for row in rows[:3]}
    assert "of 3 ratios that the earlier run has, 1 are more than 5 % better and 1 more" in before.summary(
        rows, earlier
    )
    assert [before.described(row, earlier) for row in rows[2:]] == [{"ratio_before": 1.0}, {"ratio_before": None}]
    assert before.described(rows[0], {}) == {}
    assert "none of these" in before.summary(rows[3:], earlier)
    (tmp_path / "a.json").write_text('{"rows": [{"group": "g", "task": 1}]}')
    with pytest.raises(DataError, match="does not print"):
        before.read(tmp_path / "a.json")


def test_times_have_a_spread_and_tell_of_a_busy_machine() -> None:
    quiet = Time.of([2.0, 1.0, 3.0, 2.0, 2.0], [2.0] * 5)
    assert (quiet.median, quiet.spread, quiet.processor) == (2.0, 0.25, 2.0)
    busy = Time.of([4.0, 8.0, 4.0], [2.0, 2.0, 2.0])
    assert Row.timed("g", "t", "p", quiet, quiet, "why").note == "why"
    row = Row.timed("g", "t", "p", quiet, busy, "why")
    assert (row.ratio, row.note) == (2.0, "why; 1.00 in processor time")
    assert busy.per(2).median == 2.0


def test_the_machine_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: A Chip (R)\nflags\t\t: fpu avx2 fma amx_tile\n" * 2)
    for number, (kind, level, size) in enumerate(
        (("Data", 1, "32K"), ("Instruction", 1, "32K"), ("Unified", 2, "512K"))
    ):
        folder = tmp_path / "cache" / f"index{number}"
        folder.mkdir(parents=True)
        for name, value in (("type", kind), ("level", level), ("size", size)):
            (folder / name).write_text(f"{value}\n")
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_CACHES", tmp_path / "cache")
    found = machine.machine()
    assert found["cpu"] == "A Chip (R), 2 processors"
    assert found["caches"] == "L1 32K, L2 512K"
    assert found["instructions"] == ["avx2", "fma", "amx_tile"]
    assert machine.file_name() == "RESULTS-a-chip-r-2-processors.md"
