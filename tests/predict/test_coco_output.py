"""What ``predict --coco`` writes loads in pycocotools as it is: as a data set, and its annotations as results."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from kptool.predict.instances import Instance


def test_it_loads_as_a_data_set_and_as_results(kptool: Any, run_folder: Path, in_tmp: Path) -> None:
    """Measured against itself, everything is found."""
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (60, 80), np.uint8)
        Image.fromarray(noise).save(f"{i}.png")
    boxes = ("--box", "5,5,50,50", "--box", "20,0,50,50")
    assert (
        kptool("predict", *(f"{i}.png" for i in range(3)), "--model", run_folder, *boxes, "--coco", "c.json").code == 0
    )
    with contextlib.redirect_stdout(io.StringIO()):
        whole = COCO("c.json")
        results = whole.loadRes(json.loads(Path("c.json").read_text())["annotations"])
        run = COCOeval(whole, COCO("c.json"), "keypoints")
        run.params.kpt_oks_sigmas = np.full(15, 0.05)
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert run.stats[0] == pytest.approx(1)
    assert [row["image_id"] for row in results.dataset["annotations"]] == [1, 1, 2, 2, 3, 3]
    assert {row["category_id"] for row in whole.dataset["annotations"]} == {whole.getCatIds()[0]}
    assert [image["file_name"] for image in whole.loadImgs([1, 2, 3])] == ["0.png", "1.png", "2.png"]
    for row in whole.dataset["annotations"]:
        assert len(row["keypoints"]) == 45
        assert 0 <= row["score"] <= 1


def instance(points: list[list[float]], scores: list[float], score: float | None = None) -> Instance:
    return Instance(
        (0, 0, 9, 9),
        np.array(points, np.float32),
        np.array(scores, np.float32),
        np.full(len(points), np.nan, np.float32),
        np.eye(2, 3),
        score=score,
    )


def test_confidence() -> None:
    """The mean score of the keypoints that have a position, times that with which the instance was found."""
    nan = float("nan")
    assert instance([[1, 2], [3, 4]], [0.5, 0.25]).confidence == 0.375
    assert instance([[1, 2], [nan, nan]], [0.5, 0.1]).confidence == 0.5
    assert instance([[1, 2], [3, 4]], [0.5, 0.25], 0.5).confidence == 0.1875
    assert instance([[nan, nan]], [0.5], 0.5).confidence == 0
