"""Ellipses of 90 %, and the coverage of radii by groups of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kptool.evaluation import conformal, ellipse


def errors(n: int, long: float, short: float, degrees: float, seed: int = 0) -> np.ndarray:
    """Errors (n, 1, 2) with these deviations along and across a direction."""
    z = np.random.default_rng(seed).normal(size=(n, 2)) * [long, short]
    turn = np.exp(1j * np.radians(degrees))
    w = (z[:, 0] + 1j * z[:, 1]) * turn
    return np.stack([w.real, w.imag], -1)[:, None].astype(np.float32)


def measured(found: np.ndarray) -> tuple[list[float | None], list[ellipse.Ellipse | None]]:
    ones, known = np.ones(found.shape[:2]), np.ones(found.shape[:2], bool)
    quantiles = conformal.calibrate(np.linalg.norm(found, axis=-1), ones, known)
    return quantiles, ellipse.calibrate(found, ones, known, quantiles)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, -60.0, 150.0])
def test_long_errors_have_an_ellipse_along_them_that_holds_nine_in_ten(degrees: float) -> None:
    quantiles, (found,) = measured(errors(4000, 3.0, 1.0, degrees))
    assert found is not None
    assert quantiles[0] is not None
    major, minor, angle = found
    assert major / minor == pytest.approx(3, rel=0.1)
    assert abs((angle - degrees + 90) % 180 - 90) < 3
    new = errors(4000, 3.0, 1.0, degrees, seed=1)[:, 0] @ np.array([1, 1j])
    z = new * np.exp(-1j * np.radians(angle)) / quantiles[0]
    assert np.mean((z.real / major) ** 2 + (z.imag / minor) ** 2 <= 1) == pytest.approx(0.9, abs=0.02)
    assert major * minor < 0.7  # the circle's area is 1


def test_round_errors_and_few_labels_have_no_ellipse() -> None:
    assert measured(errors(4000, 1.0, 1.0, 0.0))[1] == [None]
    assert measured(errors(ellipse.LEAST - 1, 5.0, 1.0, 0.0))[1] == [None]
    assert measured(np.zeros((200, 1, 2), np.float32))[1] == [None]


def test_an_ellipse_is_mapped_like_the_picture() -> None:
    shape = np.array([[1.2, 0.4, 30.0], [np.nan] * 3])
    turn, scale = np.radians(40), 2.0
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    mapped = ellipse.mapped(shape, np.array([5.0, 1.0]), linear)
    assert mapped[0].tolist() == pytest.approx([12.0, 4.0, 70.0], abs=1e-3)
    assert np.isnan(mapped[1]).all()
    mirrored = ellipse.mapped(shape, np.array([5.0, 1.0]), np.diag([-1.0, 1.0]))
    assert mirrored[0].tolist() == pytest.approx([6.0, 2.0, -30.0], abs=1e-3)


def test_coverage_is_that_of_groups_which_gave_no_radius() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 50)
    distances = np.abs(rng.normal(size=(1000, 2)))
    distances[groups == 7] *= 3  # a person on whom the model is poor
    std, labelled = np.ones_like(distances), np.ones(distances.shape, bool)
    labelled[0] = False
    found = conformal.cross_coverage(distances, std, labelled, groups)
    assert found.labels == 1998
    assert found.groups == 20
    assert found.share == pytest.approx(0.9, abs=0.03)
    assert found.lowest is not None
    assert found.lowest < 0.6
    assert found.below == pytest.approx(1 / 20)
    assert found.rows()[1][0] == "lowest of 20 groups"
    alone = conformal.cross_coverage(distances, std, labelled, np.full(1000, -1))
    assert (alone.groups, alone.lowest) == (0, None)
    assert len(alone.rows()) == 1
    assert conformal.cross_coverage(distances, std, labelled, groups % 3) is None
    assert conformal.cross_coverage(distances, std, np.zeros_like(labelled), groups) is None


def test_predict_shows_the_ellipses_of_a_card(tmp_path: Path) -> None:
    import dataclasses

    import torch

    from kptool import Predictor
    from kptool.base.config import ModelConfig
    from kptool.network import cards, checkpoint
    from kptool.network.keypoint_model import KeypointModel
    from kptool.predict import drawing
    from kptool.predict.output import PicturePrediction

    torch.manual_seed(0)
    config = ModelConfig("unet", ("a", "b"), (), (32, 32), width=4)
    card = cards.Card(config, {}, {}, {"radius90": [2.0, 2.0], "ellipse90": [[1.5, 0.5, 20.0], None]})
    path = tmp_path / "model.safetensors"
    checkpoint.save_weights(path, KeypointModel(config), card)
    picture = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    (found,) = Predictor(str(path)).predict(picture)
    assert found.ellipse90 is not None
    assert found.ellipse90[0].tolist() == pytest.approx(
        [1.5 * found.radius90[0], 0.5 * found.radius90[0], 20], rel=1e-3
    )
    document = PicturePrediction("x.png", (64, 64), [found]).describe(("a", "b"))
    first, second = document["faces"][0]["keypoints"]
    assert set(first["ellipse90"]) == {"major", "minor", "angle"}
    assert "ellipse90" not in second
    wide = dataclasses.replace(
        found,
        keypoints=np.full((2, 2), 250, np.float32),
        radius90=np.array([60, np.nan], np.float32),
        ellipse90=np.array([[120, 20, 45], [np.nan] * 3], np.float32),
        scores=np.ones(2, np.float32),
    )
    drawn = np.asarray(drawing.draw(np.zeros((500, 500), np.uint8), [wide], ["a", "b"], circles=True)).sum(-1)
    assert drawn[320, 320] > 0  # along the ellipse, beyond the circle
    assert drawn[320, 180] == 0  # across it
