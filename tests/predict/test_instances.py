"""Instances show their picture, and remain a plain list otherwise."""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import synthetic
from PIL import Image

from kptool import Predictor
from kptool.data import pictures
from kptool.predict import stream
from kptool.predict.instances import Instances

BOX = (5.0, 5.0, 80.0, 80.0)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor("unet", "cpu")


@pytest.fixture(scope="module")
def found(predictor: Predictor) -> Instances:
    return predictor.predict(synthetic(1)[0][0], boxes=[BOX, BOX])


def pixels(html: str | None) -> np.ndarray:
    """The picture in an HTML text."""
    match = re.search(r'src="data:image/jpeg;base64,([^"]+)"', html or "")
    assert match
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(match[1]))), np.int16)


def test_an_instance_shows_its_own_points_and_the_list_shows_all(predictor: Predictor) -> None:
    image = np.full((96, 96), 90, np.uint8)
    both = predictor.predict(image, boxes=[(2, 2, 40, 40), (50, 50, 40, 40)])
    one, other, together = pixels(both[0]._repr_html_()), pixels(both[1]._repr_html_()), pixels(both._repr_html_())
    side = one.shape[0] // 2

    def drawn(part: np.ndarray) -> bool:
        return bool((np.abs(part - 90) > 60).any())

    assert drawn(one[:side, :side])
    assert not drawn(one[side + 40 :, side + 40 :])
    assert drawn(other[side:, side:])
    assert drawn(together[:side, :side])
    assert drawn(together[side:, side:])
    assert "2 instances" in both._repr_html_()


def test_instances_are_an_ordinary_list(predictor: Predictor, found: Instances) -> None:
    assert isinstance(found, list)
    assert found == list(found)
    assert repr(found) == repr(list(found))
    empty = predictor.predict(np.zeros((60, 80), np.uint8))
    assert empty == []
    assert json.dumps(empty) == "[]"
    assert "0 instances" in empty._repr_html_()
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again[1].keypoints, found[1].keypoints)


def test_a_data_frame_has_a_row_for_each_keypoint(predictor: Predictor, found: Instances) -> None:
    table = found.to_pandas()
    assert table.columns.tolist() == ["instance", "keypoint", "x", "y", "score", "radius90"]
    assert table["keypoint"].tolist() == [*predictor.names] * 2
    np.testing.assert_allclose(table[["x", "y"]].to_numpy()[15:], found[1].keypoints)


def test_a_file_is_read_again_instead_of_kept(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(synthetic(1)[0][0]).resize((1500, 1500)).save(path)
    face = predictor.predict(path, boxes=[(0, 0, 1500, 1500)])[0]
    assert face.shown is not None
    assert face.shown.picture == path
    assert pixels(face._repr_html_()).shape == (640, 640, 3)


def test_predictions_on_a_stream_do_not_hold_pictures(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(synthetic(1)[0][0]).save(path)
    done = stream.run(predictor, pictures.read([str(path)]), boxes=[BOX])
    assert [face.shown for face in done.found[0].faces] == [None]
    assert done.found[0].faces[0]._repr_html_() is None
