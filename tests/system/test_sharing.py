"""Work distributed under torchrun gives the same result as a single process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import collage, tree

from kptool.data import sources
from kptool.system.workers import Workers

TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "kptool"]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = ["image,a_x,a_y,b_x,b_y"]
    for number in range(64):  # two blocks
        collage(80, 60, [(number % 7, 3, 48.0)])[0].save(folder / f"{number}.png")
        rows.append(f"{number}.png,{number % 40},5,30,{number % 50}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def run(program: list[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    # From another folder: `python -m` would take the sources of this one, which need not hold the compiled core.
    command, elsewhere = [*program, *map(str, arguments)], tempfile.gettempdir()
    return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=120, check=False)


def test_extract_writes_the_same_files(kptool: Any, labelled: Path, tmp_path: Path) -> None:
    def arguments(name: str) -> list[object]:
        return ["extract", labelled / "labels.csv", "--out", tmp_path / name, "--size", 32, "--json"]

    ran, shared = kptool(*arguments("one")), run(TWO, *arguments("two"))
    assert (ran.code, shared.returncode) == (0, 0), ran.err + shared.stderr
    assert ran.json()["kept"] == json.loads(shared.stdout)["kept"] == 64
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(one[name] == two[name] for name in one if not name.endswith(".h5"))


@pytest.mark.parametrize(("blocks", "world"), [(0, 2), (1, 2), (2, 2), (3, 2), (2, 3), (4, 3), (6, 3)])
def test_everything_that_is_sent_is_received(blocks: int, world: int) -> None:
    """For any distribution of blocks; with two blocks, the second process's last message was once lost."""
    waiting = {rank: [*range(rank, blocks, world), None] for rank in range(world)}

    class Mine(Workers):
        def receive(self, rank: int) -> Any:
            return waiting[rank].pop(0)

    def part(first: int, step: int) -> Iterator[Any]:
        return iter(range(first, blocks, step))

    assert list(sources._collected(part, Mine(0, world))) == list(range(blocks))
    assert [waiting[rank] for rank in range(1, world)] == [[]] * (world - 1)


@pytest.mark.long
def test_extract_names_what_another_process_could_not_read(labelled: Path, tmp_path: Path) -> None:
    (labelled / "40.png").write_bytes(b"no picture")
    ran = run(TWO, "extract", labelled / "labels.csv", "--out", tmp_path / "out", "--size", 32)
    assert ran.returncode != 0
    assert "40.png is not a picture" in ran.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_predict_prints_the_same(kptool: Any, labelled: Path, tmp_path: Path) -> None:
    (labelled / "56.png").write_bytes(b"no picture")
    arguments = ["predict", labelled / "5*.png", "--json", "--out"]
    ran, shared = kptool(*arguments, tmp_path / "one"), run(TWO, *arguments, tmp_path / "two")
    assert "56.png is not a picture" in ran.err
    assert "56.png is not a picture" in shared.stderr
    assert ran.json() == json.loads(shared.stdout)
    assert len(ran.json()["images"]) == 10
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.long
def test_predictions_of_two_processes_are_collected(
    kptool: Any, labelled: Path, run_folder: Path, tmp_path: Path
) -> None:
    """In one journal, which a single process knows to be complete."""
    asked = ("predict", labelled, "--model", run_folder, "--jsonl", tmp_path / "two.jsonl")
    ran = run(TWO, *asked)
    assert ran.returncode == 0, ran.stderr
    assert "the predictions for 64 pictures to" in ran.stdout
    assert "64 pictures (64 of them from before)" in kptool(*asked).out
    kptool(*asked[:-1], tmp_path / "one.jsonl")
    found = []
    for name in ("one", "two"):
        head, *lines = map(json.loads, (tmp_path / f"{name}.jsonl").read_text().splitlines())
        found.append((head, {line["file"]: len(line["faces"]) for line in lines}))
    assert found[0] == found[1]
