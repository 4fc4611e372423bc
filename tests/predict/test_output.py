"""Printed and written output: exact for any file name; wrong usage is one sentence, before any work."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from rich.table import Table

from kptool.cli import output, usage
from kptool.system.printable import harmless, printable

BYTES = os.fsdecode(b"caf\xe9.png")
ODD = 'a,b :smile: [red]x["1.png'


def picture(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(path)
    return path


def test_printable() -> None:
    assert printable("plain") == "plain"
    assert printable("café ☃") == "café ☃"
    assert printable(BYTES) == "caf\\xe9.png"
    assert printable("\ud800") == "\\ud800"
    assert harmless("a\x1b[31mb\tc\nd") == "a\\x1b[31mb\tc\nd"


def test_emit_prints_what_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[b]head[/b]", title=ODD + " " + "long " * 40)
    table.add_row(":smile: [red]x[/red] " + "y" * 200)
    output.emit("[red]x[/red] :smile: \x1b[1m http://a.b", table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[red]x[/red] :smile: \\x1b[1m http://a.b"
    assert lines[1] == ODD + " " + "long " * 40
    assert "[b]head[/b]" in lines[3]
    assert ":smile: [red]x[/red] " + "y" * 200 in lines[5]


def test_a_stream_that_lacks_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    table = Table("é")
    table.add_row("x")
    output.emit("é", table)
    assert raw.getvalue().splitlines()[0] == b"\\xe9"
    assert b"| x" in raw.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8_go_through_every_output(kptool: Any, in_tmp: Path) -> None:
    Path("in").mkdir()
    picture(Path("in", BYTES))
    written = ("--out", "o", "--coco", "c.json", "--heatmaps", "h.h5")
    shown = "in/caf\\xe9.png"
    text = kptool("predict", "in", "--no-detect", *written)
    assert text.code == 0, text.err
    assert shown in text.out
    assert kptool("predict", "in", "--no-detect", "--json").json()["images"][0]["file"] == shown
    assert next(csv.DictReader(io.StringIO(kptool("predict", "in", "--no-detect", "--csv").out)))["file"] == shown
    with Path("o/keypoints.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["file"] == shown
    assert json.loads(Path("c.json").read_text())["images"][0]["file_name"] == shown
    with h5py.File("h.h5") as maps:
        assert maps["file"].asstr()[0] == shown
    assert Path("o", BYTES).is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_labels_of_names_that_are_no_utf8(kptool: Any, in_tmp: Path) -> None:
    Path("pts").mkdir()
    picture(Path("pts", BYTES))
    Path("pts", BYTES).with_suffix(".pts").write_text("version: 1\nn_points: 3\n{\n10 10\n30 30\n50 20\n}\n")
    assert kptool("extract", "pts", "--out", "f").code == 0
    assert "caf\\xe9.png" in Path("f/keypoints.csv").read_text(encoding="utf-8")
    assert kptool("convert", "pts", "--to", "coco", "--out", "c").code == 0
    assert json.loads(Path("c/annotations.json").read_text())["images"][0]["file_name"] == "caf_.png"
    assert Path("c/images/caf_.png").is_file()


def test_csv_on_stdout_is_csv(kptool: Any, in_tmp: Path) -> None:
    picture(Path(ODD))
    text = kptool("predict", ODD, "--no-detect", "--csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["file"] for row in rows} == {ODD}
    assert len(rows) == 15
    assert {len(row) for row in rows} == {9}
    assert rows[0]["frame"] == rows[0]["time"] == ""
    titled = kptool("predict", ODD, "--no-detect").out.splitlines()[0]
    assert titled.startswith(ODD)


def test_a_heatmap_file_of_no_faces(kptool: Any, in_tmp: Path) -> None:
    Image.new("L", (60, 60), 128).save("empty.png")
    assert kptool("predict", "empty.png", "--heatmaps", "h.h5").code == 0
    with h5py.File("h.h5") as maps:
        shapes = {key: data.shape for key, data in maps.items()}
    assert shapes["heatmaps"] == (0, 15, 48, 48)
    assert shapes["keypoints"] == (0, 15, 2)
    assert shapes["file"] == (0,)


def test_a_tilde_is_the_home_folder(kptool: Any, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = in_tmp / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    picture(home / "a.png")
    assert kptool("predict", "~/a.png", "--no-detect", "--out=~/x", "--coco", "~/c.json").code == 0
    assert (home / "x" / "a.png").is_file()
    assert (home / "c.json").is_file()
    assert not Path("~").exists()
    assert usage.at_home("--out=a~b") == "--out=a~b"
    assert usage.at_home("~nobody-of-that-name/x") == "~nobody-of-that-name/x"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("train", "unet", "none.h5", "--epochs", "abc"),
            "--epochs expects a whole number; got 'abc'; see `kptool train",
        ),
        (("train", "unet", "none.h5", "--lr=x"), "--lr expects a number; got 'x'"),
        (("predict", "none.png", "--frames", "0"), "--frames expects a whole number from 1 up; got '0'"),
        (("show", "--count", "1000"), "--count expects a whole number up to 400; got '1000'"),
        (("predict",), "missing argument 'IMAGE...'; see `kptool predict --help`"),
        (("predict", "none.png", "--bo", "1"), "there is no option --bo (did you mean --box?)"),
        (("predict", "none.png", "--json=yes"), "option '--json' does not take a value"),
        (("predikt",), "there is no command 'predikt' (did you mean 'predict'?); see `kptool --help`"),
    ],
)
def test_wrong_usage_is_one_sentence(refused: Any, in_tmp: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "unet", "none.h5", "--set", "lr=abc"), "lr must be of type float; got 'abc'"),
        (("train", "unet", "none.h5", "--set", "loss=wing"), "loss 'wing' is for coordinates"),
        (("train", "unet", "none.h5", "--device", "tpu"), "there is no kind of device 'tpu'; give auto, cpu"),
        (("learn-curve", "none.h5", "--set", "lr=abc"), "lr must be of type float"),
        (("predict", "none.png", "--box", "1,2"), "--box expects x,y,width,height"),
        (("predict", "none.png", "--box", "1,2,0,nan"), "--box expects x,y,width,height"),
        (("predict", "none.png", "--device", "tpu"), "there is no kind of device 'tpu'"),
        (("evaluate", "unet", "none.h5", "--split", "x"), "--split must be train, val or all"),
        (("evaluate", "unet", "none.h5", "--decoder", "x"), "there is no decoder 'x'"),
        (("report", "unet", "--cache", "none.h5", "--split", "x"), "--split must be train, val or all"),
        (("recommend", "none.h5", "--device", "tpu"), "there is no kind of device 'tpu'"),
        (("submit", "none.csv", "none.csv", "--device", "tpu"), "there is no kind of device 'tpu'"),
        (("extract", "none.csv", "--size", "9999"), "--size must be 8 to 4096 pixels"),
        (("extract", "none.csv", "--crop", "x"), "--crop must be one of"),
        (("extract", "none.csv", "--sigma", "0"), "sigma must be 0.3 to 50"),
        (("compare", "none.png", "--with", "x"), "unknown toolkit 'x'"),
    ],
)
def test_wrong_options_are_refused_before_all_else(
    kptool: Any, in_tmp: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = kptool(*arguments)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()  # not announced, and no work started
    assert said in line


def test_devices_that_torch_does_not_find(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from kptool.base.errors import ConfigError
    from kptool.system import devices

    monkeypatch.setattr(devices, "available", lambda: {"cpu": 1, "cuda": 2})
    for name, said in (("mps", "finds no device 'mps' here; give auto, cpu, cuda"), ("cuda:2", "is cuda:1")):
        with pytest.raises(ConfigError, match=said):
            devices.pick(name)

    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("CUDA error: out of memory " + "long " * 100 + "\nCUDA kernel errors might be ...")

    monkeypatch.setattr(torch, "empty", broken)
    with pytest.raises(ConfigError, match="device 'cuda:1' cannot be used here \\(CUDA error: out of memory") as error:
        devices.pick("cuda:1")
    assert len(str(error.value)) < 250
    monkeypatch.setattr(devices, "available", lambda: {"cpu": 1, "mps": 1})
    monkeypatch.setattr(torch, "empty", lambda *arguments, **options: None)
    assert devices.pick("mps").type == "mps"
    assert devices.pick("auto").type == "cpu"


def test_help_and_version_are_no_errors(kptool: Any) -> None:
    assert kptool("--help").code == 0
    assert kptool("--version").out.strip() == "0.1.0"
    nothing = kptool()
    assert nothing.code == 2
    assert nothing.err.startswith("Usage: ")
