"""Tests of example.py; run them with pytest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kptool import plugins

plugins.use(Path(__file__).with_name("example.py"))


def test_epochs_and_pictures_are_written(tmp_path: Path) -> None:
    logger = plugins.load_logger("example")
    log = logger.open(plugins.Training(tmp_path, "unet", "epochs = 2\n", first_epoch=1))
    log.epoch({"epoch": 1, "loss": 0.5, "rmse": 3.0})
    log.picture(1, np.zeros((8, 8, 3), np.uint8))
    log.close()
    lines = (tmp_path / "example.jsonl").read_text().splitlines()
    assert [json.loads(line)["rmse"] for line in lines] == [3.0]
    assert (tmp_path / "example.png").is_file()
