"""``kptool tune``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from kptool import plugins
from kptool.advise.search_space import space
from kptool.advise.study import STATES, Study, Trial
from kptool.base.config import configure
from kptool.base.skeleton import FACE15
from kptool.cache.extraction import Options, extract
from kptool.cli.tune import _print

SMALL = ("--set", "width=2", "--set", "batch_size=8", "--epochs", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = plugins.load("datasets", "synthetic").open(None, count=20, size=(32, 32), seed=1)
    return extract(source, tmp_path_factory.mktemp("tiny"), Options(val=0.25)).cache


def test_a_search_prints_its_trials_and_writes_a_page(in_tmp: Path, cache: Path, kptool: Any) -> None:
    pytest.importorskip("optuna")
    arguments = ("tune", "unet", cache, "--trials", "2", "--search", "lr", "--search", "loss", *SMALL)
    ran = kptool(*arguments, "--time", "1h")
    assert ran.code == 0, ran.err
    notes = [line for line in ran.err.splitlines() if line.startswith("kptool: trial ")]
    assert len(notes) == 2
    assert notes[0].startswith("kptool: trial 0 complete after 1 of 1 epochs, RMSE ")
    assert notes[1].endswith("(2 of 2)")
    assert "unet, best first; trial 0 is the recipe" in ran.out
    assert "0.000125 to 0.008, log" in ran.out
    assert "the training images' mean shape" in ran.out
    assert "kptool train --config runs/tune-unet/best.toml" in ran.out
    page = (in_tmp / "runs/tune-unet/tune.html").read_text()
    assert page.count('<figure class="chart">') == 4  # by trial, by epoch, by lr and by loss
    assert "it takes 10 complete trials of different errors; there are 2" in page

    again = kptool(*arguments, "--json").json()
    assert again["finished"]
    assert [trial["number"] for trial in again["trials"]] == [again["best"]["number"], 1 - again["best"]["number"]]
    assert again["recipe"]["number"] == 0
    assert set(again["best"]["settings"]) == {"lr", "loss"}
    assert again["config"] == "runs/tune-unet/best.toml"


def test_tables_of_every_setting_fit_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"width": 32}
    dimensions = space(*configure("unet", FACE15, (96, 96), 1, given))
    settings = {each.key: each.choices[0] if each.choices else each.low for each in dimensions}
    settings["lr"] = 0.000125
    trials = [Trial(i, state, 12.345, 100, 100, 1.0, settings, Path("t")) for i, state in enumerate(STATES)]
    _print(Study("unet", tuple(trials), dimensions, 100, 20.0), Path("out"), 4)
    tables = capsys.readouterr().out.split("for comparison")[0]
    assert "augment.rotation" in tables
    assert "adaptive-wing" in tables
    assert max(map(len, tables.splitlines())) <= 80


def test_without_optuna_one_sentence_says_what_to_install(
    in_tmp: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = refused("tune", "unet", "none.h5")
    assert said == "kptool: searching settings needs Optuna: pip install 'keypoint-toolkit[tune]'"
    assert not list(in_tmp.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--time", "5"), "--time is a duration above zero with its unit"),
        (("--search", "rotation"), "did you mean 'augment.rotation'"),
        (("--set", "widht=3"), "did you mean 'width'"),
        (("--set", "lr=0.001", "--search", "lr"), "in both --search and --set"),
        (("--epochs", "0"), "epochs must be"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    in_tmp: Path, cache: Path, refused: Any, arguments: tuple[str, ...], says: str
) -> None:
    pytest.importorskip("optuna")
    assert says in refused("tune", "unet", cache, *arguments)
    assert not list(in_tmp.iterdir())
