"""Measuring on whole pictures: the function, its result, the command, and what does not fit."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import kptool
from kptool.api.evaluate import is_labels
from kptool.api.evaluate_pictures import Options, PicturesResult, evaluate_pictures
from kptool.base.config import ModelConfig
from kptool.base.errors import ConfigError, DataError
from kptool.data.sources import Opening
from kptool.evaluation import sigmas
from kptool.network.cards import Card
from kptool.predict.instances import Instance
from kptool.system.files import sha256

NAMES = ("head", "tail")


def instance(points: Sequence[Sequence[float]], score: float) -> Instance:
    places = np.array(points, np.float32)
    return Instance((0, 0, 9, 9), places, np.full(2, score, np.float32), np.full(2, np.nan, np.float32), np.eye(2, 3))


class Knowing:
    """Predicts by a picture's grey value."""

    names, origin = NAMES, "a model that knows"
    finder = None
    card = Card(ModelConfig("unet", NAMES, (), (32, 32), 1))

    def __init__(self, found: dict[int, list[Instance]]) -> None:
        self.found = found

    def predict_many(self, pictures: Sequence[Any], **_: Any) -> list[list[Instance]]:
        return [self.found.get(int(each.pixels[0, 0]), []) for each in pictures]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two fish in the first of three pictures, one in the second, none in the third."""
    places = [(1, [2, 3, 2, 12, 3, 2]), (1, [2, 30, 2, 12, 30, 2]), (2, [30, 30, 2, 40, 30, 2])]
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 48} for i in (1, 2, 3)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": 1, "keypoints": flat, "area": 100.0, "iscrowd": 0}
            | {"bbox": [flat[0] - 2, flat[1] - 5, 20, 10]}
            for n, (image, flat) in enumerate(places, 1)
        ],
        "categories": [{"id": 1, "name": "fish", "keypoints": list(NAMES)}],
    }
    for i in (1, 2, 3):
        Image.new("L", (60, 48), i).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.json").write_text(json.dumps(document))
    return tmp_path / "labels.json"


def measured(labels: Path, data: dict[str, Any] | None = None, **options: Any) -> PicturesResult:
    """One fish found 1 pixel off at the tail, one missed, one found exactly; one extra in the empty picture."""
    found = {
        1: [instance([[2, 3], [12, 4]], 0.9)],
        2: [instance([[30, 30], [40, 30]], 0.8)],
        3: [instance([[30, 30], [40, 30]], 0.3)],
    }
    predictor: Any = Knowing(found)
    predictor.card = replace(predictor.card, data=data or {})
    return evaluate_pictures(predictor, labels, Opening(), Options(**options))


def test_by_hand(labels: Path) -> None:
    """With sigma 0.1 and area 100 the first has OKS (1 + exp(-1/8)) / 2 = 0.94; two of three are found at all thresholds but
    0.95: 68 of 101 recall levels are reached with precision 1."""
    found = measured(labels, sigmas=0.1)
    document = found.to_dict()
    assert document["map50"] == pytest.approx(67 / 101)
    assert document["mar"] == pytest.approx((9 * 2 / 3 + 1 / 3) / 10)
    assert (document["found"], document["missed"], document["extra"]) == (2, 1, 1)
    assert document["precision"] == document["recall"] == pytest.approx(2 / 3)
    assert document["distance"] == 0.25
    assert document["pck"] == {"0.1": 4 / 6, "0.2": 4 / 6}
    assert document["keypoints"]["tail"] == {
        "labelled": 3,
        "distance": 0.5,
        "pck": {"0.1": pytest.approx(2 / 3), "0.2": pytest.approx(2 / 3)},
        "sigma": 0.1,
    }
    assert (document["pictures"], document["instances"], document["most_predictions"]) == (3, 3, 20)
    assert (document["sigmas_from"], document["area_from"]) == ("0.1 for each keypoint, as given", "as labelled")


def test_a_score_leaves_out_the_extra_one(labels: Path) -> None:
    sure = measured(labels, score=0.5)
    assert (sure.instances.extra, sure.instances.precision) == (0, 1)
    assert sure.coco.ap == measured(labels).coco.ap
    assert sure.to_dict()["score_threshold"] == 0.5


def test_the_result_in_a_notebook(labels: Path) -> None:
    found = measured(labels)
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.plot()._repr_png_().startswith(b"\x89PNG")
    assert "mAP at OKS 0.50" in found._repr_html_()
    assert found.to_pandas().loc["tail", "labelled"] == 3
    assert found.files == ("1.png", "2.png", "3.png")


def test_sigmas_from_the_errors_and_from_a_file(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tails of two fish are 1 and 0 pixels off, a tenth of the root of the area at most; their median is half of it."""
    with pytest.raises(DataError, match="estimating the sigma of 'head' takes 9 found instances"):
        measured(labels, sigmas="estimate")
    monkeypatch.setattr(sigmas, "_LEAST_LABELS", 2)
    found = measured(labels, sigmas="estimate")
    assert found.sigmas == {"head": 1e-6, "tail": pytest.approx(0.05 / math.sqrt(math.log(2)))}
    assert found.sigmas_from == "estimated from the spread of this model's errors on these pictures"
    (tmp_path / "s.json").write_text(json.dumps(measured(labels, sigmas=0.1).to_dict()))
    assert measured(labels, sigmas=str(tmp_path / "s.json")).sigmas == {"head": 0.1, "tail": 0.1}


def test_other_keypoints(labels: Path) -> None:
    other: Any = Knowing({})
    other.names = ("nose",)
    with pytest.raises(
        DataError, match="the labels have keypoints head and tail, and the model nose: none is the same"
    ):
        evaluate_pictures(other, labels, Opening(), Options())


def test_pictures_of_the_training_are_told_and_can_be_left_out(labels: Path) -> None:
    """Rows 0 and 1 are in the first picture, which was trained on."""
    data = {"source_sha256": sha256((labels,)), "val_rows": [2], "train_images": 2}
    found = measured(labels, data)
    assert found.to_dict()["trained_on"] == 1
    assert found.notes[-1].startswith("1 of these pictures is of the training, so the numbers are too good")
    kept = measured(labels, data, split="val")
    assert (kept.files, kept.trained_on, kept.instances.recall) == (("2.png", "3.png"), 0, 1)
    assert measured(labels, data, split="train").files == ("1.png",)
    assert measured(labels, {**data, "train_images": 3}).trained_on == 0  # other labels, with the same file
    with pytest.raises(ConfigError, match=r"not trained on .*, as far as known, so --split val has no meaning"):
        measured(labels, split="val")


def test_cocos_results_of_the_predictions(labels: Path, tmp_path: Path) -> None:
    """They load in pycocotools as they are, beside the labels, and give the same numbers."""
    found = measured(labels, sigmas=0.1, coco=tmp_path / "results.json")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(labels))
        run = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "keypoints")
        run.params.kpt_oks_sigmas = np.array([0.1, 0.1])
        for row in truth.dataset["annotations"]:
            row["num_keypoints"] = 2
        run.evaluate()
        run.accumulate()
        run.summarize()
    document = found.to_dict()
    assert [document[key] for key in ("map", "map50", "map75", "mar")] == pytest.approx(run.stats[[0, 1, 2, 5]])
    first = json.loads((tmp_path / "results.json").read_text())[0]
    assert first == {"image_id": 1, "category_id": 1, "keypoints": [2, 3, 2, 12, 4, 2], "score": pytest.approx(0.9)}


@pytest.mark.parametrize("options", [{"oks": 0}, {"oks": 1.1}, {"score": -0.1}, {"area_of_box": 0}])
def test_values_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--"):
        Options(**options)


def test_the_score_with_which_an_instance_was_found_decides_what_is_reported(labels: Path) -> None:
    """The finder's threshold is the default; in mAP, instances are ranked by their confidence."""
    first, second = (replace(instance([[30, 30], [40, 30]], high), score=low) for high, low in ((0.9, 0.2), (0.8, 0.5)))
    predictor: Any = Knowing({2: [first, second]})
    predictor.finder = SimpleNamespace(config=SimpleNamespace(threshold=0.4))
    found = evaluate_pictures(predictor, labels, Opening(), Options())
    assert found.score == found.to_dict()["score_threshold"] == 0.4
    assert (found.instances.found, found.instances.extra) == (1, 0)
    np.testing.assert_allclose(found.found[1].scores, [0.18, 0.4], rtol=1e-6)
    every = evaluate_pictures(predictor, labels, Opening(), Options(score=0))
    assert (every.instances.found, every.instances.extra) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ensemble": ["vgg"]}, "holds labels of whole pictures, so --ensemble has no meaning; give a cache"),
        ({"decoder": "dark"}, "--decoder"),
        ({"picture": "p.png"}, "--picture"),
    ],
)
def test_arguments_of_caches_are_refused(arguments: dict[str, Any], words: str, labels: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        kptool.evaluate("unet", labels, **arguments)


@pytest.mark.parametrize(
    "arguments", [{"sigmas": 0.1}, {"score": 0.1}, {"oks": 0.6}, {"detect": False}, {"images": "."}, {"category": "a"}]
)
def test_arguments_of_labels_are_refused_for_a_cache(arguments: dict[str, Any], tmp_path: Path) -> None:
    option = f"--{next(iter(arguments))}"
    with pytest.raises(ConfigError, match=f"is a cache of single images, so {option} has no meaning; give labels"):
        kptool.evaluate("unet", tmp_path / "faces.h5", **arguments)


def test_what_holds_labels(labels: Path, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.h5").write_bytes(b"nothing")
    (tmp_path / "renamed.cache").write_bytes(faces.read_bytes())
    held = {
        path: is_labels(path) for path in (labels, tmp_path, faces, *map(tmp_path.joinpath, ("damaged.h5", "no.json")))
    }
    assert list(held.values()) == [True, True, False, False, False]
    assert not is_labels(tmp_path / "renamed.cache")
