"""The face detector: pictures of every size and kind, tilted heads, several faces, none."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import collage, synthetic
from PIL import Image

from kptool.evaluation.detection import overlaps
from kptool.predict import faces


def test_finds_every_face_with_its_landmarks_where_they_are() -> None:
    picture, truth = collage(640, 400, [(20, 30, 96), (200, 100, 160), (420, 40, 200)])
    found = faces.find(np.asarray(picture))
    assert len(found) == 3
    for face, expected in zip(found, truth, strict=True):
        x, y, width, height = face.box
        middle = expected.mean(0)
        assert x < middle[0] < x + width
        assert y < middle[1] < y + height
        assert np.abs(face.landmarks - expected).max() < 0.15 * width
        assert 0.6 <= face.score <= 1


def test_finds_small_faces_in_large_pictures_and_large_ones_in_small() -> None:
    picture, truth = collage(1600, 1200, [(700, 500, 90)])
    assert len(faces.find(np.asarray(picture))) == 1
    images, _ = synthetic(4)
    assert all(len(faces.find(image)) == 1 for image in images)
    assert all(len(faces.find(np.asarray(Image.fromarray(image).resize((1100, 1100))))) == 1 for image in images)
    assert truth.shape == (1, 5, 2)


@pytest.mark.parametrize("angle", [-45, -20, 20, 45])
def test_tilted_heads(angle: int) -> None:
    picture, truth = collage(300, 300, [(90, 90, 120)])
    turned = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=90)
    theta = np.deg2rad(angle)
    rotation = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
    expected = (truth[0] - 149.5) @ rotation.T + 149.5
    best = max(faces.find(np.asarray(turned)), key=lambda face: face.score)
    assert np.linalg.norm(best.landmarks.mean(0) - expected.mean(0)) < 12


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (31, 33), (97, 301), (640, 3)])
def test_odd_sizes_and_empty_pictures_have_no_faces(size: tuple[int, int]) -> None:
    assert faces.find(np.full(size, 128, np.uint8)) == []
    assert faces.find(np.zeros((*size, 3), np.uint8)) == []


def test_grey_and_colour_of_one_picture_give_the_same() -> None:
    picture, _ = collage(200, 200, [(40, 40, 110)])
    (grey,), (colour,) = faces.find(np.asarray(picture)), faces.find(np.asarray(picture.convert("RGB")))
    assert grey.box == colour.box
    assert np.array_equal(grey.landmarks, colour.landmarks)


def test_overlap() -> None:
    square = np.array([[0.0, 0, 2, 2]])
    assert overlaps(square, square) == 1
    assert overlaps(square, square + [1, 0, 0, 0]) == pytest.approx(1 / 3)
    assert overlaps(square, square + [2, 2, 0, 0]) == 0
    assert overlaps(square * 0, square * 0) == 0
    assert overlaps(square, np.array([[1.0, 0, 8, 2]]), smaller=True) == pytest.approx(1 / 2)


def test_real_photos(real_faces: object) -> None:
    """Every tenth photo of people in front of cameras: their faces are found, and hardly anything else."""
    import json
    from pathlib import Path

    folder = Path(str(real_faces)).parent / "faces68"
    document = json.loads((folder / "annotations.json").read_text())
    files = {image["id"]: image["file_name"] for image in document["images"]}
    chosen = document["annotations"][::10]
    hits = extra = 0
    for annotation in chosen:
        points = np.array(annotation["keypoints"]).reshape(-1, 3)[:, :2]
        with Image.open(folder / "images" / files[annotation["image_id"]]) as picture:
            found = faces.find(np.asarray(picture.convert("RGB")))
        near = [np.linalg.norm(face.landmarks.mean(0) - points.mean(0)) < 0.3 * np.ptp(points[:, 0]) for face in found]
        hits += any(near)
        extra += len(near) - sum(near)
    assert hits >= 0.99 * len(chosen)
    assert extra <= 0.1 * len(chosen)
