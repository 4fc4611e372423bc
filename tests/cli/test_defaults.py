"""Options from the environment and from kptool.toml: what comes first, what is said, what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kptool.base import recipes

FILE = Path("kptool.toml")


@pytest.fixture(autouse=True)
def in_empty_folder(in_tmp: Path) -> None:
    """Every test has its own folder."""


def test_the_line_comes_first_then_the_environment_then_the_file(kptool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*line: str) -> list[str]:
        ran = kptool("extract", "none.csv", *line)
        assert "none.csv" in ran.err.splitlines()[-1]
        return ran.err.splitlines()[:-1]

    FILE.write_text("[extract]\nseed = 1\nval = 0.2\nimages = 'pictures'\n")
    assert said() == ["kptool: from kptool.toml: images=pictures, val=0.2, seed=1"]
    monkeypatch.setenv("KPTOOL_SEED", "2")
    file = "kptool: from kptool.toml: images=pictures, val=0.2"
    assert said() == ["kptool: from the environment: KPTOOL_SEED=2", file]
    assert said("--seed", "3") == [file]
    assert said("--seed", "3", "--val=0.1", "--images", "p", "-q") == []


@pytest.mark.parametrize(("rank", "said"), [("0", ["kptool: from the environment: KPTOOL_SEED=2"]), ("1", [])])
def test_only_the_first_of_several_processes_says_so(
    kptool: Any, rank: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", rank), ("KPTOOL_SEED", "2")):
        monkeypatch.setenv(name, value)
    lines = kptool("extract", "none.csv").err.splitlines()
    assert "none.csv" in lines.pop(), "every process reports its error"
    assert lines == said


def test_a_training_takes_its_settings_from_the_file(kptool: Any, faces: Path) -> None:
    FILE.write_text(
        f"[train]\nmodel = 'unet'\ncache = '{faces}'\nepochs = 1\ndevice = 'cpu'\njson = true\n"
        "[train.set]\nwidth = 4\nbatch_size = 12\naugment.rotation = 3\n"
    )
    ran = kptool("train")
    assert ran.code == 0, ran.err
    assert ran.json()["epochs"] == 1
    given = recipes.read(Path("runs/unet/config.toml"))
    assert (given["width"], given["batch_size"], given["augment.rotation"]) == ("4", "12", "3.0")
    assert "set=width=4 batch_size=12 augment.rotation=3" in ran.err


@pytest.mark.parametrize(
    ("line", "epochs"),
    [((), "7"), (("--config", "r.toml"), "5"), (("--config", "r.toml", "--epochs", "0"), "0")],
)
def test_a_recipe_named_on_the_line_wins_over_the_file(
    refused: Any, line: tuple[str, ...], epochs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value is out of range, so that the one that is used is named."""
    monkeypatch.setattr("kptool.api.train.check_settings", _raise_epochs)
    Path("r.toml").write_text("epochs = 5\n")
    monkeypatch.setenv("KPTOOL_EPOCHS", "7")
    ran = refused("train", "unet", *line, "-q")
    assert f"epochs {epochs}" in ran


def _raise_epochs(model: str, given: dict[str, object], device: str) -> None:
    from kptool.base.errors import ConfigError

    raise ConfigError(f"epochs {given['epochs']}")


REFUSED = {
    "[trian]\nepochs = 3": "there is no command 'trian' (did you mean 'train'?)",
    "[train]\nepoch = 3": "[train] epoch: there is no such option (did you mean 'epochs'?); known: batch_size",
    "[train]\nforce = true": "[train] force is not allowed here; give --force on the command line",
    "[train]\nplugin = ['model.py']": "[train] plugin is not allowed here; give --plugin on the command line",
    "[train]\nresume = 'yes'": "[train] resume must be true or false; got 'yes'",
    "[train]\nepochs = [1]": "[train] epochs must be a text or a number; got [1]",
    "[train]\nepochs = true": "--epochs expects a whole number; got 'True' (from kptool.toml)",
    "[train]\nepochs = 'many'": "--epochs expects a whole number; got 'many' (from kptool.toml)",
    "[train]\nbatch-size = 4\nbatch_size = 8": "has an option twice",
    "[train]\n[train.lr]\na = 1": "[train] lr must be a text or a number",
    "[evaluate]\nset = ['a=1']": "[evaluate] set: there is no such option",
    "epochs = 3": "'epochs' is outside of a table",
    "[train": "kptool.toml is not a TOML file",
    "[train]\nout = '" + "x" * 2000 + "'": "too large for settings of commands: at most 1000 lines of 1000 bytes",
    "[train.set." + "a." * 450 + "b]\n" + "a." * 450 + "b = 1": "",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_the_file_may_not_say_is_refused(refused: Any, text: str) -> None:
    FILE.write_text(text)
    assert REFUSED[text] in refused("train", "unet", "none.h5", "-q")


def test_a_file_that_is_none_is_refused(refused: Any) -> None:
    FILE.mkdir()
    assert "is not a file" in refused("info")
    FILE.rmdir()
    os.mkfifo(FILE)
    assert "is not a file" in refused("info")


def test_help_does_not_need_the_file(kptool: Any) -> None:
    FILE.write_text("[trian]")
    assert [kptool(*line).code for line in (("train", "-h"), ("help", "train"), ("--help",), ("-V",), ("info",))] == [
        0,
        0,
        0,
        0,
        2,
    ]


def test_a_wrong_variable_is_named(kptool: Any, refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPTOOL_EPOHCS", "3")
    assert "KPTOOL_EPOHCS is not read; did you mean KPTOOL_EPOCHS?" in kptool("info").err
    monkeypatch.setenv("KPTOOL_LR", "fast")
    assert "--lr expects a number; got 'fast' (from KPTOOL_LR)" in refused("train", "unet", "-q")


def test_variables_are_named_in_the_help(kptool: Any) -> None:
    text = " ".join(kptool("train", "--help").out.split())
    for name in ("CACHE", "DEVICE", "EPOCHS", "BATCH_SIZE", "LR", "SEED"):
        assert f"env var: KPTOOL_{name}" in text
    assert "env var: KPTOOL_MODEL" in " ".join(kptool("predict", "--help").out.split())
