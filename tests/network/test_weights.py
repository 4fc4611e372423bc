"""The shipped weights: small, documented, and used without a run, torch or any option."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import collage
from PIL import Image

import kptool as package
from kptool import plugins
from kptool.base.config import ModelConfig
from kptool.base.skeleton import FACE15
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel

WEIGHTS = sorted((Path(package.__file__).parent / "weights").glob("*.safetensors"))


def test_a_unet_ships() -> None:
    assert "unet" in [path.stem for path in WEIGHTS]


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_shipped_weights_are_small_and_say_what_they_are(path: Path) -> None:
    assert path.stat().st_size <= 5_000_000
    model, card = checkpoint.load_model(path)
    assert isinstance(model, KeypointModel)
    assert path.stem in (card.config.model, f"{card.config.model}-small")
    assert card.config.names == FACE15.names
    assert {"rmse", "nme", "per_keypoint", "radius90", "flip_averaged"} <= set(card.metrics)
    assert {"source", "source_sha256", "train_images", "description", "licence", "limits", "command"} <= set(card.data)
    assert {"epochs", "seed", "augment"} <= set(card.training)
    assert card.data["source"] == Path(card.data["source"]).name


def test_predict_works_right_after_installation(kptool: Any, in_tmp: Path) -> None:
    """On faces that are in no training set: synthetic ones, on which the network still finds the eyes."""
    source = plugins.load("datasets", "synthetic").open(None, count=1, seed=3)
    face = next(iter(source.blocks()))
    Image.fromarray(face.images[0]).save("face.png")
    ran = kptool("predict", "face.png", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert "ship with kptool" in document["model"]
    points = document["images"][0]["faces"][0]["keypoints"]
    found = np.array([(point["x"], point["y"]) for point in points])
    assert ((found > -1) & (found < 97)).all()
    names = [point["name"] for point in points]
    left, right = (found[names.index(f"{side}_eye_center")] for side in ("left", "right"))
    assert left[0] > right[0]  # the subject's left is on the picture's right
    assert all(point["radius90"] > 0 for point in points)


def card(**data: Any) -> cards.Card:
    config = ModelConfig("unet", FACE15.names, FACE15.flip_pairs, width=2)
    figures = {key: data.pop(key) for key in ("rmse", "mean_shape_rmse") if key in data}
    return cards.Card(config, data={"val_rows": [1, 2], **data}, metrics=figures)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (card(rmse=1.3, mean_shape_rmse=3.9), None),
        (card(rmse=3.11, mean_shape_rmse=3.9), None),
        (card(rmse=3.12, mean_shape_rmse=3.9), "its RMSE of 3.12 px .* not below 0.8 times the 3.90 px"),
        (card(rmse=17.2, mean_shape_rmse=3.9), "not below"),
        (card(rmse=1.3), "its card does not hold its mean shape's RMSE"),
        (card(), "its card does not hold"),
        (card(rmse=1.3, mean_shape_rmse=3.9, val_rows=[]), "without a validation split"),
    ],
)
def test_a_run_that_has_not_shown_that_it_is_good_is_not_used_unasked(
    written: cards.Card, why: str | None, in_tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for run in ("runs/unet", "runs/vgg"):
        Path(run).mkdir(parents=True)
        checkpoint.save_weights(Path(run, cards.WEIGHTS), KeypointModel(written.config), written)
    if why is None:
        assert cards.resolve("unet") == (Path("runs/unet", cards.WEIGHTS), "the run in runs/unet")
        assert not caplog.messages
        return
    assert cards.resolve("unet")[1] == "the unet weights that ship with kptool"
    assert re.search(
        rf"^the run in runs/unet is not used by name alone: .*{why}.*; to use it nevertheless, give its folder, runs/unet",
        caplog.messages[0],
    )
    Path("mine").mkdir()
    checkpoint.save_weights(Path("mine", cards.WEIGHTS), KeypointModel(written.config), written)
    for name, place in (("vgg", Path("runs/vgg")), ("mine", Path("mine"))):  # there is no alternative
        assert cards.resolve(name) == (place / cards.WEIGHTS, f"the run in {place}")
        assert re.search(f"^do not rely on the run in {place}: .*{why}", caplog.messages[-1])
    for asked in (cards.resolve("runs/unet"), cards.resolve("./runs/unet"), cards.resolve("unet", measuring=True)):
        assert asked == (Path("runs/unet", cards.WEIGHTS), "the run in runs/unet")
        assert re.search(f"^do not rely on the run in runs/unet: .*{why}", caplog.messages[-1])


def test_results_say_whose_weights_they_are(kptool: Any, in_tmp: Path, run_folder: Path) -> None:
    """With untrained weights in runs/unet, the shipped ones are used, and every output says so."""
    bad = card(rmse=17.2, mean_shape_rmse=3.9)
    Path("runs/unet").mkdir(parents=True)
    checkpoint.save_weights(Path("runs/unet", cards.WEIGHTS), KeypointModel(bad.config), bad)
    collage(300, 200, [(20, 30, 120)])[0].save("face.png")
    ran = kptool("predict", "face.png", "--out", "drawn")
    assert ran.code == 0
    assert "kptool: the run in runs/unet is not used by name alone: its RMSE of 17.20 px" in ran.err
    assert "face.png, by the unet weights that ship with kptool" in " ".join(ran.out.split())
    assert "wrote pictures to drawn/: by the unet weights that ship" in " ".join(ran.out.split())
    assert kptool("predict", "face.png", "--json").json()["model"] == "the unet weights that ship with kptool"
    ran = kptool("predict", "face.png", "--model", "runs/unet", "--no-detect", "--json")
    assert ran.json()["model"] == "the run in runs/unet"
    assert "kptool: do not rely on the run in runs/unet: its RMSE of 17.20 px" in ran.err
