"""Keypoints that are not there: calibrated scores, --min-score, and words that fit what a model finds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kptool import Predictor
from kptool.base.config import ModelConfig
from kptool.base.errors import ConfigError
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.predict import backends
from kptool.predict.things import Thing

NAMES = ("head", "wing", "sting", "foot")
ODDS = [8.0, -8.0, 8.0, None]
"""With these, the first and third keypoint are there, the second is not, and the fourth is not calibrated."""


def weights(folder: Path, model: str = "unet", **changes: Any) -> Path:
    """An untrained model of bees, of which the third keypoint was never labelled."""
    loss = "dsnt" if model == "unet" else "wing"
    config = ModelConfig(model, NAMES, ((0, 1),), size=(32, 32), width=4, loss=loss)
    shape = [[1.0, 2.0], [3.0, 4.0], [None, None], [5.0, 6.0]]
    data = {"mean_shape": shape, "category": "bee", "edges": [[0, 1], [1, 3]], **changes.pop("data", {})}
    metrics = {"radius90": [1.0] * 4, "presence": {"scale": 0.5, "shift": ODDS}, **changes}
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    checkpoint.save_weights(
        folder / cards.WEIGHTS, KeypointModel(config), cards.Card(config, data=data, metrics=metrics)
    )
    return folder


@pytest.fixture
def bees(in_tmp: Path) -> Path:
    Path("photos").mkdir()
    for name in ("a.png", "b.png"):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (40, 50), np.uint8)
        Image.fromarray(pixels).save(Path("photos", name))
    return weights(in_tmp / "bees")


def test_scores_are_calibrated_where_the_card_says_how(bees: Path) -> None:
    image = Image.open("photos/a.png")
    predictor = Predictor(bees, "cpu")
    raw = Predictor(weights(Path("raw"), presence=None), "cpu")
    (found,), (heights,) = predictor.predict(image), raw.predict(image)
    odds = 0.5 * np.log(heights.scores[[0, 1]]) + [8.0, -8.0]
    assert found.scores[:2] == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-3)
    assert found.scores[2:].tolist() == [0.0, heights.scores[3]]
    assert predictor.calibrated.tolist() == [True, True, False, False]
    assert predictor.scores.endswith(
        "as likely as not; of foot it is the height of the heatmap's peak, which is not a probability"
    )
    assert raw.scores == "the height of the heatmap's peak, which is not a probability"
    assert np.isfinite(found.keypoints[[0, 1, 3]]).all()
    assert found.absent is None


def test_a_keypoint_below_the_minimum_is_reported_as_absent(kptool: Any, bees: Path) -> None:
    ran = kptool(
        "predict",
        "photos/a.png",
        "--model",
        bees,
        "--min-score",
        "0.0005",
        "--json",
        "--coco",
        "c.json",
        "--out",
        "drawn",
    )
    assert ran.code == 0, ran.err
    document = ran.json()
    assert (document["min_score"], document["category"]) == (0.0005, "bee")
    (bee,) = document["images"][0]["instances"]
    head, wing, sting, foot = bee["keypoints"]
    assert (wing["x"], wing["y"], wing["radius90"]) == (None, None, None)
    assert 0 <= wing["score"] < 0.0005
    assert sting["score"] is None  # never learnt
    assert None not in (*head.values(), *foot.values())
    assert document["images"][0]["faces"] == [bee]  # its name in kptool 0.1
    rows = list(csv.DictReader(Path("drawn/keypoints.csv").read_text().splitlines()))
    assert [(row["instance"], row["x"] != "", row["score"] != "") for row in rows] == [
        ("0", True, True),
        ("0", False, True),
        ("0", False, False),
        ("0", True, True),
    ]
    coco = json.loads(Path("c.json").read_text())
    (annotation,) = coco["annotations"]
    assert annotation["keypoints"][2::3] == [2, 0, 0, 2]
    assert annotation["keypoints"][3:9] == [0] * 6
    assert annotation["num_keypoints"] == 2
    assert annotation["score"] == pytest.approx((head["score"] + foot["score"]) / 2, abs=1e-4)
    assert coco["categories"] == [
        {
            "id": 1,
            "name": "bee",
            "supercategory": "bee",
            "keypoints": list(NAMES),
            "skeleton": [[1, 2], [2, 4]],
            "flip_pairs": [[0, 1]],
        }
    ]
    assert "--min-score is compared with scores of which each is" in ran.err


def test_what_is_printed_names_the_thing_and_hints_at_absent_points(kptool: Any, bees: Path) -> None:
    ran = kptool("predict", "photos", "--model", bees)
    assert ran.code == 0
    assert "# 2 pictures in photos" in ran.err.splitlines()
    assert "photos/a.png, by " in ran.out
    assert "face" not in ran.out + ran.err
    assert "2 of 8 keypoints are more likely absent than there, with a score below 0.5; --min-score 0.5" in ran.err
    ran = kptool(
        "predict", "photos/*.png", "--model", bees, "--box", "2,2,30,30", "--box", "9,9,30,30", "--box", "5,5,30,30"
    )
    assert "photos/a.png: 3 instances of bee" in ran.out
    assert "6 instances of bee in 2 pictures" in ran.out
    assert "# 2 pictures matching photos/*.png" in ran.err
    ran = kptool("-q", "predict", "photos", "--model", bees, "--min-score", "0.5", "--csv")
    assert ran.err == ""
    assert ran.out.splitlines()[0] == "file,instance,keypoint,x,y,score,radius90,frame,time"


def test_coordinates_tell_nothing_of_absence(bees: Path) -> None:
    folder = weights(Path("vgg"), "vgg")
    predictor = Predictor(folder, "cpu")
    assert not predictor.calibrated.any()
    assert predictor.scores.startswith("always 1")
    with pytest.raises(ConfigError, match="its scores are all 1, so --min-score has no meaning"):
        Predictor(folder, "cpu", min_score=0.5)
    with pytest.raises(ConfigError, match=r"min_score must be 0 to 1; got 1\.5"):
        Predictor(bees, "cpu", min_score=1.5)


@pytest.mark.parametrize(
    ("names", "category", "counted", "key"),
    [
        (
            ("left_eye_center", "right_eye_center", "nose_tip", "mouth_left_corner", "mouth_right_corner"),
            None,
            "2 faces",
            "faces",
        ),
        (tuple(f"p{k}" for k in range(68)), None, "2 faces", "faces"),
        (NAMES, None, "2 instances", "instances"),
        (NAMES, "bee", "2 instances of bee", "instances"),
        (NAMES, "x" * 101, "2 instances", "instances"),
        (NAMES, "a\nb", "2 instances", "instances"),
        (NAMES, 3, "2 instances", "instances"),
    ],
)
def test_words(names: tuple[str, ...], category: object, counted: str, key: str) -> None:
    thing = Thing.of(cards.Card(ModelConfig("unet", names, ()), data={"category": category}))
    assert (thing.counted(2), thing.key) == (counted, key)
    assert thing.counted(1) == f"1 {thing.name}"


@pytest.mark.parametrize("edges", [None, "a", [[0]], [[0, 9]], [[0, "x"]], [["0", "y"]]])
def test_edges_that_are_none_are_not_drawn(edges: object) -> None:
    assert cards.Card(ModelConfig("unet", NAMES, ()), data={"edges": edges}).edges == ()


@pytest.mark.long
def test_an_exported_graph_has_the_same_scores(graph: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    theirs = backends.TorchBackend(graph.with_name(cards.WEIGHTS), "cpu").run(images)
    ours = backends.load(graph.with_name(cards.WEIGHTS), "cpu")
    assert (ours.name, ours.has_heatmaps) == ("onnxruntime", True)
    assert ours.run(images).scores == pytest.approx(theirs.scores, abs=1e-4)
    assert (theirs.scores[:, 1] < 1e-3).all()
    assert (theirs.scores[:, 0] > 0.9).all()
