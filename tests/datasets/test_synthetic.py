"""Synthetic faces: exact labels, reproducible, varied."""

from __future__ import annotations

import numpy as np
import pytest

from kptool.base import geometry
from kptool.base.errors import ConfigError
from kptool.base.skeleton import FACE15
from kptool.datasets.synthetic import DATASET, render_face


def test_a_face_depends_on_seed_and_index_alone() -> None:
    whole = list(DATASET.open(None, count=70, size=(48, 48), seed=3).blocks())
    assert [len(block) for block in whole] == [64, 6]
    image, points, visibility = render_face(3, 65, (48, 48))
    assert np.array_equal(whole[1].images[1], image)
    assert np.array_equal(whole[1].keypoints[1], points)
    assert np.array_equal(whole[1].visibility[1], visibility)
    assert not np.array_equal(render_face(4, 65, (48, 48))[0], image)


def test_labels_lie_inside_and_left_is_the_subjects_left() -> None:
    for index in range(60):
        image, points, visibility = render_face(0, index)
        assert image.shape == (96, 96)
        assert image.std() > 3
        assert ((points > 0) & (points < 95)).all()
        assert set(visibility) <= {1, 2}
        for left, right in FACE15.flip_pairs:
            assert points[left, 0] > points[right, 0]


def test_labels_do_not_depend_on_the_pictures_size() -> None:
    to_large = geometry.scale_affine((96, 96), (384, 384))
    for index in range(20):
        _, small, _ = render_face(1, index)
        _, large, _ = render_face(1, index, (384, 384))
        inner = small.max() < 93
        assert not inner or np.abs(geometry.apply_affine(to_large, small) - large).max() < 1.51


def test_eye_centres_are_where_the_pupils_are_drawn() -> None:
    """The centroid of the darkest pixels around an uncovered eye is its keypoint, to within a third of a pixel."""
    errors = []
    for index in range(40):
        image, points, visibility = render_face(2, index, (384, 384))
        if (visibility == 1).any():
            continue
        for eye in (0, 1):
            x, y = points[eye]
            r = 12
            x0, y0 = round(float(x)) - r, round(float(y)) - r
            patch = image[y0 : y0 + 2 * r + 1, x0 : x0 + 2 * r + 1].astype(float)
            weight = np.clip(np.quantile(patch, 0.12) - patch, 0, None)
            if not weight.any():
                continue
            gy, gx = np.mgrid[: 2 * r + 1, : 2 * r + 1]
            found = np.array([(weight * gx).sum(), (weight * gy).sum()]) / weight.sum() + [x0, y0]
            errors.append(found - points[eye])
    assert np.abs(np.median(errors, axis=0)).max() < 0.34
    assert np.median(np.linalg.norm(errors, axis=1)) < 1.5  # of 384: about a third of a pixel of 96


def test_faces_vary() -> None:
    faces = [render_face(0, index) for index in range(40)]
    points = np.stack([points for _, points, _ in faces])
    assert (points.std(0) > 1.0).all()
    assert 0 < sum((visibility == 1).any() for _, _, visibility in faces) < 20
    assert np.std([image.mean() for image, _, _ in faces]) > 15


def test_what_is_refused() -> None:
    for options in ({"count": 0}, {"size": (8, 8)}):
        with pytest.raises(ConfigError):
            DATASET.open(None, **options)
