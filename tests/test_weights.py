"""The weights that ship: small, described, and used without a run, a network or any option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kptool as package
from kptool import checkpoint, plugins
from kptool.annotations import FACE15
from kptool.detector import Detector

WEIGHTS = sorted((Path(package.__file__).parent / "weights").glob("*.safetensors"))


def test_a_unet_ships() -> None:
    assert "unet" in [path.stem for path in WEIGHTS]


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_shipped_weights_are_small_and_say_what_they_are(path: Path) -> None:
    assert path.stat().st_size <= 5_000_000
    detector, card = checkpoint.load_detector(path)
    assert isinstance(detector, Detector)
    assert card.config.model == path.stem
    assert card.config.names == FACE15.names
    assert {"rmse", "nme", "per_keypoint", "radius90", "flip_averaged"} <= set(card.metrics)
    assert {"source", "source_sha256", "train_images", "description", "licence", "limits", "command"} <= set(card.data)
    assert {"epochs", "seed", "augment"} <= set(card.training)
    assert card.data["source"] == Path(card.data["source"]).name


def test_predict_works_right_after_installation(kptool: Any, in_tmp: Path) -> None:
    """On faces that no training has seen: synthetic ones, which real eyes find eye-like enough."""
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
