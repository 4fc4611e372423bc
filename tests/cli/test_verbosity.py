"""How much commands say: --verbose and --quiet, help in all its spellings, suggestions for what was mistyped."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from kptool.cli import output
from kptool.training.run_folder import epoch_lines

FAST = ("--epochs", 1, "--set", "width=4", "--set", "batch_size=12", "--device", "cpu")


@pytest.fixture(autouse=True)
def messages() -> Any:
    """Messages are printed as usual after a test."""
    yield
    output.print_messages()


def test_a_training_prints_a_line_per_epoch_on_stderr(kptool: Any, in_tmp: Path, faces: Path) -> None:
    ran = kptool("train", "unet", faces, "--json", *FAST)
    assert ran.json()["epochs"] == 1
    log = Path("runs/unet/train.log").read_text().splitlines()
    lines = ran.err.splitlines()
    assert [line for line in lines if not line.startswith("kptool: ")] == log
    assert lines[-1].startswith("     1/1")


@pytest.mark.parametrize("place", [0, 1, -1])
def test_quiet_leaves_results_and_errors(kptool: Any, in_tmp: Path, faces: Path, place: int) -> None:
    line = ["train", "unet", faces, *FAST]
    ran = kptool(*line[:place], "-q", *line[place:]) if place != -1 else kptool(*line, "--quiet")
    assert (ran.code, ran.err) == (0, "")
    assert "RMSE" in ran.out
    again = kptool("-q", *line)
    assert again.code == 2
    assert "already holds a run" in again.err


def test_quiet_and_verbose_contradict_each_other(refused: Any) -> None:
    assert "contradict" in refused("-q", "info", "--verbose")


def test_log_levels(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("kptool.some.module")
    said = {}
    for name, options in {"usual": {}, "verbose": {"verbose": True}, "quiet": {"quiet": True}}.items():
        output.print_messages(**options)
        output.print_epochs()
        log.info("info")
        log.warning("warning")
        log.error("error")
        epoch_lines.info("epoch")
        output.note("note")
        said[name] = capsys.readouterr().err.split("\n")[:-1]
    assert said["usual"] == ["kptool: warning", "kptool: error", "epoch", "note"]
    assert said["verbose"] == ["kptool: info", "kptool: warning", "kptool: error", "epoch", "note"]
    assert said["quiet"] == ["kptool: error"]


def test_lines_of_a_training_stay_above_a_live_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    for name, value in {"TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal)
    output.print_messages()
    output.print_epochs()
    with output.progress() as report:
        report("training", 1, 4)
        epoch_lines.info("%s", "x" * 79)
        report("training", 2, 4)
    text = terminal.getvalue()
    assert "x" * 79 + "\n" in text
    assert "training" in text.split("x" * 79)[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("trian",), "there is no command 'trian' (did you mean 'train'?); see `kptool --help`"),
        (("help", "trian"), "there is no command 'trian' (did you mean 'train'?); see `kptool --help`"),
        (("train", "--ecpohs", "3"), "there is no option --ecpohs (did you mean --epochs?); see `kptool train --help`"),
        (("train", "-epochs=3"), "there is no option -epochs (did you mean --epochs?); see `kptool train --help`"),
        (("train", "--zz"), "there is no option --zz; see `kptool train --help`"),
        (("--verbos",), "there is no option --verbos (did you mean --verbose?); see `kptool --help`"),
    ],
)
def test_what_was_mistyped_is_named_with_the_most_similar(refused: Any, line: tuple[str, ...], said: str) -> None:
    assert refused(*line) == f"kptool: {said}"


def test_help_and_version_have_short_spellings(kptool: Any) -> None:
    assert kptool("-V").out == kptool("--version").out
    assert kptool("-h").out == kptool("--help").out == kptool("help").out
    shown = kptool("train", "--help")
    assert kptool("train", "-h").out == kptool("help", "train").out == shown.out
    assert kptool("help", "train").code == 0


def test_flags_after_two_dashes_are_arguments(refused: Any, in_tmp: Path) -> None:
    assert "there is no picture -q" in refused("predict", "--", "-q")


def test_completion_knows_the_commands(kptool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kptool"])
    for name, value in {"_KPTOOL_COMPLETE": "complete_bash", "COMP_WORDS": "kptool tra", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)
    assert kptool().out.split() == ["train"]
