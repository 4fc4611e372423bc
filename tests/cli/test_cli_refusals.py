"""What the commands refuse with one sentence and exit code 2, and how a bug is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import kaggle_csv


def test_without_torch(in_tmp: Path, faces: Path) -> None:
    """Prediction does not need torch, so it may be missing: commands that need it say so, and the others work."""
    Path("torch.py").write_text('raise ModuleNotFoundError("No module named torch", name="torch")')

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kptool", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert json.loads(run("info", "--json").stdout)["threads"] is None
    trained = run("train", "unet", faces, "--out", "run")
    assert (trained.returncode, trained.stderr.splitlines()[-1]) == (2, "kptool: this needs torch: pip install torch")
    assert not Path("run").exists()


def test_bad_models_caches_and_settings(refused: Any, in_tmp: Path, faces: Path, run_folder: Path) -> None:
    picture = faces.parent / "images" / "00000.png"
    assert "kptool train vgg" in refused("predict", picture, "--model", "vgg")
    assert "nothing-here" in refused("evaluate", "nothing-here", faces)
    assert "no cache at" in refused("train", "unet", "none.h5")
    assert "did you mean 'unet'" in refused("train", "unett", faces)
    assert "did you mean 'lr'" in refused("train", "unet", faces, "--set", "lrr=1")
    assert "key=value" in refused("train", "unet", faces, "--set", "lr")
    assert "lr must be of type float" in refused("train", "unet", faces, "--set", "lr=fast")
    assert "lr must be above 0" in refused("train", "unet", faces, "--lr", "-1")
    assert "epochs must be" in refused("train", "unet", faces, "--epochs", "0")
    assert "loss 'wing' is for coordinates" in refused("train", "unet", faces, "--set", "loss=wing")
    assert "device 'tpu'" in refused("train", "unet", faces, "--device", "tpu")
    assert "no decoder 'best'" in refused("evaluate", run_folder, faces, "--decoder", "best")
    assert "split must be" in refused("evaluate", run_folder, faces, "--split", "test")
    Path("m.safetensors").write_bytes((run_folder / "model.safetensors").read_bytes()[:5000])
    assert "m.safetensors" in refused("evaluate", "m.safetensors", faces)
    assert not Path("runs").exists()


def test_a_path_that_cannot_be_is_no_bug(refused: Any, in_tmp: Path) -> None:
    for command in (("extract",), ("predict",), ("info",), ("doctor",), ("convert", "--to", "csv", "--out", "o")):
        assert "File name too long" in refused(*command, "x" * 5000)


def test_a_model_for_another_data_set_is_refused(kptool: Any, refused: Any, in_tmp: Path, run_folder: Path) -> None:
    kptool("extract", kaggle_csv(Path("t.csv"), side=32), "--out", "f")
    assert "trained on this cache" in refused("evaluate", run_folder, "f/dataset.h5")


def test_a_checkpoint_that_would_run_code_is_refused(refused: Any, in_tmp: Path, faces: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("touch owned",)

    Path("runs/unet").mkdir(parents=True)
    Path("runs/unet/last.ckpt").write_bytes(pickle.dumps(Evil()))
    assert "not a readable training state" in refused("train", "unet", faces, "--resume", "--set", "width=4")
    assert not Path("owned").exists()


def test_a_bug_says_so_and_exits_101(kptool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("kptool.data.sources.find_source", broken)
    ran = kptool("extract")
    assert ran.code == 101
    assert "ZeroDivisionError: oh" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in kptool("--debug", "extract").err
