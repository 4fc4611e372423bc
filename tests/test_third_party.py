"""A third-party package with a model, a loss and a decoder: built, installed in a fresh environment, and used there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from kptool import plugins, templates

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "kptool-strange"
version = "2.1"

[tool.setuptools]
py-modules = ["strange_model", "strange_loss", "strange_decoder"]

[project.entry-points."kptool.models"]
strange = "strange_model:MODEL"

[project.entry-points."kptool.losses"]
strange = "strange_loss:LOSS"

[project.entry-points."kptool.decoders"]
strange = "strange_decoder:DECODER"
"""
LOSS = """
from kptool.plugins import Loss

LOSS = Loss("heatmap", lambda output, target, points: (output - target).abs().mean((2, 3)), "L1", lambda raw, sigma: raw)
"""


@pytest.mark.slow
def test_a_third_party_package_trains_predicts_and_exports(faces: Path, tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "environment"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    for kind in ("model", "decoder"):
        text = (Path(templates.__file__).parent / f"{kind}.py").read_text()
        (source / f"strange_{kind}.py").write_text(text)
    (source / "strange_loss.py").write_text(LOSS)
    run([sys.executable, "-m", "venv", "--without-pip", str(site)], tmp_path)
    python = str(site / "bin" / "python")
    packages = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path).strip()
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", packages]
    run([*install, str(source)], tmp_path)
    (Path(packages) / "others.pth").write_text(
        f"{Path(plugins.__file__).parents[1]}\n{sysconfig.get_path('purelib')}\n"
    )

    def kptool(*arguments: object, code: int = 0) -> str:
        return run([python, "-m", "kptool", *map(str, arguments)], tmp_path, code)

    assert "kptool-strange 2.1" in kptool("plugin", "list")
    chosen = ("--set", "loss=strange", "--set", "decoder=strange", "--set", "width=4")
    kptool("train", "strange", faces, *chosen, "--epochs", "1", "--device", "cpu", "--batch-size", "12")
    assert "model strange of kptool-strange 2.1" in kptool("info", "runs/strange")
    image = next(faces.parent.glob("images/*"))
    assert '"x"' in kptool("predict", image, "--model", "runs/strange", "--no-detect", "--json")
    kptool("export", "runs/strange", "--cache", faces)
    assert (tmp_path / "runs" / "strange" / "model.onnx").is_file()
    for path in Path(packages).glob("kptool_strange-*/*"):
        path.unlink()
    words = kptool("evaluate", "runs/strange", faces, code=2)
    assert "needs the model 'strange' of kptool-strange 2.1; it is not installed here; if you trust it:" in words
    assert '"x"' in kptool("predict", image, "--model", "runs/strange", "--no-detect", "--json"), "the graph has all"


def run(command: list[str], folder: Path, code: int = 0) -> str:
    """The output of a command that must end with `code`."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
