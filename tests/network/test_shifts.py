"""Label shift: positions of features and of labels are kept apart in every output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnxruntime
import pytest
import torch
from conftest import collage
from graphs import KNOWN
from PIL import Image, ImageOps

from kptool import Predictor
from kptool.base.config import ModelConfig
from kptool.base.geometry import flip_points, invert_affine
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.network.label_shift import LabelShift
from kptool.predict import backends

NAMES, PAIRS = ("left", "right", "nose"), ((0, 1),)
OFFSET = [[1.5, 0.25], [1.0, -0.25], [1.25, 0.0]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with three keypoints whose training labels are shifted."""
    torch.manual_seed(0)
    config = ModelConfig("fcn", NAMES, PAIRS, size=(32, 32), width=4)
    model = KeypointModel(config).eval()
    model.offset.copy_(torch.tensor(OFFSET))
    path = tmp_path_factory.mktemp("shifted") / cards.WEIGHTS
    checkpoint.save_weights(path, model, cards.Card(config, labels=KNOWN))
    return path


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).resize((128, 128))


def test_what_labels_are_off_is_read_from_the_weights(weights: Path) -> None:
    shift = cards.read_card(weights).shift
    assert np.allclose(shift.vector(), np.array(OFFSET) + [0, 0.5])
    assert shift.describe() == {
        "x": 1.25,
        "x_from": "measured in the mirror",
        "y": 0.5,
        "y_error": 0.1,
        "y_from": "a test",
    }
    assert "+1.25 px in x and +0.50 px in y" in shift.sentence(False)


def test_features_are_the_default_and_labels_on_request(weights: Path, picture: Image.Image) -> None:
    """The same crop is four times as large in the picture; a mirrored picture has exactly mirrored features."""
    feature, labelled = (Predictor(str(weights), "cpu", flip=True, as_labelled=flag) for flag in (False, True))
    assert (feature.points, labelled.points) == ("feature", "as labelled")
    ((a,), (b,)) = feature.predict(picture), labelled.predict(picture)
    assert np.allclose(b.keypoints - a.keypoints, 4 * (np.array(OFFSET) + [0, 0.5]), atol=1e-4)
    assert np.array_equal(a.affine, b.affine)
    assert np.allclose(a.affine, [[0.25, 0, -0.375], [0, 0.25, -0.375]])
    apart = []
    for predictor in (feature, labelled):
        (here,), (there,) = predictor.predict(picture), predictor.predict(ImageOps.mirror(picture))
        apart.append(here.keypoints - flip_points(there.keypoints, 128, PAIRS))
    assert np.allclose(apart[0], 0, atol=1e-3)
    assert np.allclose(apart[1], 4 * np.array([[2.5, 0.5], [2.5, -0.5], [2.5, 0]]), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("points", ["feature", "as labelled"])
def test_graphs_of_both_kinds_say_the_same_to_kptool(
    points: str, picture: Image.Image, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue("graph" if points == "feature" else "labelled_graph")
    weights = Path(shutil.copy(path.with_name(cards.WEIGHTS), tmp_path))  # beside a graph, it would be that one
    images = np.array(picture.resize((48, 48)))[None, None]
    expected = backends.TorchBackend(weights, "cpu").run(images).points
    session = onnxruntime.InferenceSession(path)
    assert session.get_modelmeta().custom_metadata_map["points"] == points
    raw = session.run(["points"], {"images": images})[0]
    shift = cards.read_card(weights).shift.vector()
    assert (shift > 0.1).any(0).all()
    assert np.allclose(raw, expected - shift * (points == "feature"), atol=1e-3)
    network = backends.OnnxBackend(path)
    assert np.allclose(network.run(images).points, expected, atol=1e-3)
    assert network._scale(np.zeros((1, 1, 96, 144), np.uint8)) == 3  # the aspect ratio is kept
    for flag in (False, True):
        (a,), (b,) = (
            Predictor(str(each), "cpu", as_labelled=flag, detect=False).predict(picture) for each in (path, weights)
        )
        assert np.allclose(a.keypoints, b.keypoints, atol=0.01)


def test_where_nothing_is_known_points_are_as_labelled(tmp_path: Path, picture: Image.Image) -> None:
    config = ModelConfig("fcn", NAMES, PAIRS, size=(32, 32), width=4)
    path = tmp_path / cards.WEIGHTS
    checkpoint.save_weights(path, KeypointModel(config), cards.Card(config))
    predictor = Predictor(str(path), "cpu")
    assert predictor.points == "as labelled"
    assert set(predictor.shift.describe().values()) == {None}
    assert "is unknown" in predictor.shift.sentence(False)
    assert cards.read_card(path).shift.points(False) == "as labelled"


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"offset": "no", "y": "no"},
        {"offset": [[1, 2]], "y": None},
        {"offset": [[float("inf"), 0]] * 3, "y": float("nan"), "y_from": "x"},
        {"offset": [[0, 0]] * 3, "y": True, "y_from": "x"},
        {"offset": {"a": 1}, "y": 3.0},
        {"offset": [[1, 2], [3]], "y": 1, "y_from": 5},
    ],
)
def test_what_is_no_shift_is_unknown(stored: dict[str, Any]) -> None:
    shift = LabelShift.of(stored, 3)
    assert shift.offset is None
    assert shift.y is None
    assert not shift.vector().any()


def test_only_x_is_known_of_a_model_of_ones_own() -> None:
    shift = LabelShift.of({"offset": OFFSET}, 3)
    assert shift.points(False) == "feature"
    assert shift.describe() == {
        "x": 1.25,
        "x_from": "measured in the mirror",
        "y": None,
        "y_error": None,
        "y_from": None,
    }
    assert np.allclose(shift.vector(), OFFSET)
    assert "an unknown shift in y" in shift.sentence(False)


def test_every_output_of_predict_says_which(kptool: Any, in_tmp: Path) -> None:
    collage(300, 200, [(20, 30, 120)])[0].save("face.png")
    found = {}
    for flags, kind, words in (((), "feature", "on the features"), (("--as-labelled",), "as labelled", "as labelled")):
        ran = kptool("predict", "face.png", "--json", "--coco", "c.json", "--heatmaps", "h.h5", *flags)
        assert ran.code == 0, ran.err
        document, coco = ran.json(), json.loads(Path("c.json").read_text())["info"]
        assert (document["points"], coco["points"]) == (kind, kind)
        assert document["labels"] == coco["labels"]
        assert document["labels"]["x_from"] == "measured in the mirror"
        assert "about the point as labelled" in document["radius90"]
        with h5py.File("h.h5") as file:
            assert file.attrs["points"] == kind
            assert "ship with kptool" in file.attrs["model"]
        (face,) = document["images"][0]["faces"]
        found[kind] = np.array([(point["x"], point["y"]) for point in face["keypoints"]])
        assert words in " ".join(kptool("predict", "face.png", *flags).out.split())
    unet = Predictor("unet", "cpu")
    (face,) = unet.predict("face.png")
    expected = unet.shift.vector() @ invert_affine(face.affine)[:, :2].T
    assert np.allclose(found["as labelled"] - found["feature"], expected, atol=1e-3)
    assert (found["as labelled"] - found["feature"])[:, 0].mean() > 1
