"""The second look of objects that are seen at any angle: turned upright by the points of the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool.base.config import ModelConfig
from kptool.base.geometry import apply_affine
from kptool.network.cards import UPRIGHT, Card
from kptool.predict import backends, crops
from kptool.predict.backends import Output
from kptool.predict.predictor import Predictor
from kptool.report import describe

SHAPE = np.array([[32.0, 10], [16, 46], [48, 46]])
GREYS = (110, 170, 230)
CONFIG = ModelConfig("unet", ("a", "b", "c"), (), (64, 64))


def card(**data: Any) -> Card:
    return Card(CONFIG, {}, data, {})


class Dots:
    """Finds three discs by their grey levels; the score says how near they are to `SHAPE`, or is `fixed`."""

    name, has_heatmaps = "dots", True

    def __init__(self, own: Card, fixed: tuple[float, ...] = ()) -> None:
        self.card, self.fixed, self.seen = own, list(fixed), 0

    def run(self, images: NDArray[np.uint8], *, heatmaps: bool = False) -> Output:
        points = np.zeros((len(images), 3, 2), np.float32)
        for i, image in enumerate(images):
            for k, grey in enumerate(GREYS):
                y, x = np.nonzero(np.abs(image.astype(float) - grey) < 12)
                points[i, k] = np.median(x), np.median(y)  # rings about brighter discs have this grey, too
        self.seen += len(images)
        near = np.exp(-np.linalg.norm(points - SHAPE, axis=-1) / 20)
        scores = np.full_like(near, self.fixed.pop(0)) if self.fixed else near
        return Output(points, scores.astype(np.float32), np.ones_like(near, np.float32))


def picture(angle: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (SHAPE - 32) * 0.8 @ turn + [60, 55]
    image = np.zeros((110, 120), np.uint8)
    y, x = np.indices(image.shape)
    for (px, py), grey in zip(points, GREYS, strict=True):
        image[(x - px) ** 2 + (y - py) ** 2 < 49] = grey
    return image, points


def predictor(monkeypatch: pytest.MonkeyPatch, backend: Dots) -> Predictor:
    monkeypatch.setattr(backends, "load", lambda *given, **options: backend)
    return Predictor("unet")


@pytest.mark.parametrize("angle", [0.0, 1.2, 3.0, -2.0])
def test_an_object_is_turned_upright_by_its_first_points(monkeypatch: pytest.MonkeyPatch, angle: float) -> None:
    image, points = picture(angle)
    backend = Dots(card(**{UPRIGHT: SHAPE.tolist()}))
    found = predictor(monkeypatch, backend).predict(image)[0]
    assert np.abs(found.keypoints - points).max() < 1
    assert backend.seen >= 2
    assert np.abs(apply_affine(found.affine, points) - SHAPE).max() < 6  # the crop shows it upright and large


def test_a_second_look_that_is_less_sure_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = picture(1.2)
    backend = Dots(card(**{UPRIGHT: SHAPE.tolist()}), fixed=(0.8, 0.2))
    found = predictor(monkeypatch, backend).predict(image)[0]
    assert found.scores.tolist() == pytest.approx([0.8] * 3)
    assert found.affine[0, 1] == 0  # as in the whole picture


def test_models_that_saw_none_turned_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Dots(card())
    predictor(monkeypatch, backend).predict(picture(1.2)[0])
    assert backend.seen == 1
    backend = Dots(card(**{UPRIGHT: SHAPE.tolist()}))
    monkeypatch.setattr(backends, "load", lambda *given, **options: backend)
    Predictor("unet", detect=False).predict(picture(1.2)[0])  # one look, as asked for
    assert backend.seen == 1


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "x",
        [[1, 2]],
        [[1, 2], [3, 4], ["a", 5]],
        [[1, 1]] * 3,
        [[0, 0], [1e9, 0], [0, 9]],
        [[None, None]] * 3,
        [[10**400, 1]] * 3,
    ],
)
def test_shapes_that_are_none_are_not_used(stored: Any) -> None:
    assert crops.Turner.of(card(**{UPRIGHT: stored})) is None


def test_objects_are_cut_out_again_only_with_surer_points(monkeypatch: pytest.MonkeyPatch) -> None:
    image, points = picture(0.0)
    box = [(35.0, 30.0, 60.0, 60.0)]
    for scores, moved in (((0.5, 0.6, 0.6, 0.6), True), ((0.5, 0.4), False)):
        found = predictor(monkeypatch, Dots(card(fill=0.5), fixed=scores)).predict(image, boxes=box)[0]
        first = crops.from_box(box[0], card())
        assert (np.abs(found.affine - first).max() > 0.05) == moved
        assert not moved or np.ptp(apply_affine(found.affine, points), axis=0).max() == pytest.approx(32, abs=2)


def test_a_crop_that_cannot_follow_is_none() -> None:
    for fill in ("x", [1], None, 0.0, 2.0):
        assert crops.Follower.of(card(fill=fill)) is None
    assert "whole pictures" in describe._crop(None, "x")
    assert describe._crop(0.1, [1]) == describe._crop(0.1)
    assert "80%" in describe._crop(0.1, 0.8)


def test_keypoints_that_were_never_labelled_do_not_turn_it() -> None:
    turner = crops.Turner.of(card(**{UPRIGHT: [*SHAPE[:2].tolist(), [None, None]]}))
    assert turner is not None
    assert turner.known.tolist() == [True, True, False]
    points = np.array([[10.0, 10], [10, 50], [900, 900]])
    assert np.abs(apply_affine(turner.from_keypoints(points), points[:2]) - SHAPE[:2]).max() < 1e-9
