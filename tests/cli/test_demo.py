"""`kptool demo`: the commands that it says and runs, its page, and what it does not replace."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

SMALL = "[extract]\nsigma = 1.5\n[train.set]\nwidth = 4\n"


@pytest.mark.long
def test_the_demo_runs_commands_and_shows_their_results(kptool: Any, in_tmp: Path) -> None:
    Path("kptool.toml").write_text(SMALL)
    ran = kptool("demo", "--count", "24", "--epochs", "1", "--json")
    assert ran.code == 0, ran.err
    document = ran.json()
    said = [line.removeprefix("$ ") for line in ran.err.splitlines() if line.startswith("$ ")]
    assert [step["command"] for step in document["steps"]] == said
    assert [shlex.split(line)[:2] for line in said] == [
        ["kptool", name] for name in ("extract", "train", "evaluate", "predict")
    ]
    extracted, trained, evaluated, predicted = (step["result"] for step in document["steps"])
    assert (extracted["kept"], trained["epochs"], evaluated["images"]) == (24, 1, 2)
    (picture,) = predicted["images"]
    assert picture["file"] in said[3]

    page = Path(document["page"]).read_text()
    assert f"RMSE {evaluated['rmse']:.2f} px" in page
    assert all(line in page for line in said)
    assert Path("demo/predicted", Path(picture["file"]).name).is_file()


def test_the_demo_replaces_nothing_but_an_earlier_one(refused: Any, in_tmp: Path) -> None:
    Path("demo/faces").mkdir(parents=True)
    Path("demo/thesis.txt").write_text("mine")
    assert refused("demo") == ("kptool: demo holds thesis.txt, which is not a demo's; choose another folder with --out")
    assert Path("demo/thesis.txt").read_text() == "mine"
