"""Logs of trainings: TensorBoard's event files read back, and loggers that fail or are missing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kptool import plugins
from kptool.loggers.tensorboard import TAGS

FAST = ("--device", "cpu", "--set", "width=4", "--batch-size", "12")
FAILING = """
from kptool.plugins import Logger

class Log:
    def __init__(self, training): pass
    def epoch(self, row):
        if row["epoch"] == 2: raise OSError("no server")
    def picture(self, epoch, pixels): pass
    def close(self): raise RuntimeError("closed")

LOGGER = Logger(open=Log, summary="fails", requires={REQUIRES})
"""


@pytest.fixture(autouse=True)
def none_but_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_used", {})


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def steps(found: Any, key: str) -> list[int]:
    return [event.step for event in found.Scalars(key)]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_a_training_and_its_resumption(kptool: Any, faces: Path, in_tmp: Path) -> None:
    train = ("train", "unet", faces, *FAST, "--log", "tensorboard")
    assert kptool(*train, "--epochs", "2").code == 0
    out = in_tmp / "runs" / "unet"
    found = events(out / "tensorboard")
    table = np.genfromtxt(out / "metrics.csv", delimiter=",", names=True)
    assert set(TAGS) == {*(table.dtype.names or ())} - {"epoch", "best"}
    for key, tag in TAGS.items():
        assert steps(found, tag) == [1, 2]
        assert [event.value for event in found.Scalars(tag)] == pytest.approx(table[key].tolist(), rel=1e-4)
    (text,) = found.Tensors("config/text_summary")
    assert b'model = "unet"' in text.tensor_proto.string_val[0]
    picture = np.asarray(Image.open(io.BytesIO(found.Images("predictions")[-1].encoded_image_string)))
    assert picture.shape[2] == 3
    assert picture.std() > 20
    assert kptool(*train, "--epochs", "3", "--resume").code == 0
    assert steps(events(out / "tensorboard"), "rmse/validation") == [1, 2, 3]
    assert kptool(*train, "--epochs", "1", "--force").code == 0
    assert steps(events(out / "tensorboard"), "rmse/validation") == [1], "the replaced training is hidden"


def test_a_logger_that_fails_is_reported_once(kptool: Any, faces: Path, in_tmp: Path) -> None:
    path = in_tmp / "failing.py"
    path.write_text(FAILING.replace("REQUIRES", ""))
    ran = kptool("train", "unet", faces, *FAST, "--epochs", "3", "--log", "failing", "--plugin", path)
    assert ran.code == 0, ran.err
    assert (
        ran.err.count("--log failing failed, so this training is not logged there from here on: OSError: no server")
        == 1
    )
    assert "RuntimeError" not in ran.err


def test_missing_packages_and_loggers_are_said_before_the_training(refused: Any, faces: Path, in_tmp: Path) -> None:
    path = in_tmp / "failing.py"
    path.write_text(FAILING.replace("REQUIRES", "'no_such_module': 'no-such-package'"))
    sentence = refused("train", "unet", faces, *FAST, "--log", "failing", "--plugin", path)
    assert sentence == "kptool: --log failing needs the package no_such_module: pip install 'no-such-package'"
    assert "there is no logger 'tensorbord'; did you mean 'tensorboard'" in refused(
        "train", "unet", faces, "--log", "tensorbord"
    )
    assert plugins.load_logger("tensorboard").requires == {"tensorboard": "keypoint-toolkit[tensorboard]"}
    assert not (in_tmp / "runs").exists()
