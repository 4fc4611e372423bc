"""Swapped left and right detected by handedness: objects at all angles, single pairs, missing labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kptool.base.geometry import swap_order
from kptool.data import shapes
from kptool.diagnosis import swaps

NAMES = ("head", "tail", "left_wing", "right_wing", "left_leg", "right_leg")
PAIRS = ((2, 3), (4, 5))
BASE = np.array([[0, -30], [0, 30], [-18, -8], [18, -8], [-10, 14], [10, 14]], float)


def insects(count: int = 60, seed: int = 0) -> NDArray[np.float64]:
    """Objects seen from above, at all angles and in several sizes, (count, 6, 2)."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    noisy = BASE + rng.normal(0, 1, (count, *BASE.shape))
    return noisy @ np.swapaxes(turn, 1, 2) * rng.uniform(0.7, 1.2, (count, 1, 1)) + 64


def found(points: NDArray[np.float64], labelled: NDArray[np.bool_] | None = None) -> set[tuple[int, Any]]:
    every = np.ones(points.shape[:2], bool) if labelled is None else labelled
    return {(e.sample, "all" if e.whole else e.pairs) for e in swaps.find(points, every, PAIRS)}


def test_right_labels_at_all_angles_are_left_alone() -> None:
    assert found(insects()) == set()


@pytest.mark.parametrize("missing", [0.0, 0.25])
def test_planted_swaps_are_found_and_nothing_else(missing: float) -> None:
    points, order = insects(), swap_order(6, PAIRS)
    labelled = np.random.default_rng(1).random(points.shape[:2]) >= missing
    labelled[:7] = True
    points[:5] = points[:5, order]
    points[5, [2, 3]] = points[5, [3, 2]]
    points[6, [4, 5]] = points[6, [5, 4]]
    points[~labelled] = 0
    assert found(points, labelled) == {*((i, "all") for i in range(5)), (5, (0,)), (6, (1,))}


def test_nothing_is_said_where_it_does_not_decide() -> None:
    points = insects()
    points[::2] = points[::2][:, swap_order(6, PAIRS)]  # photographed from both sides
    assert found(points) == set()
    line = points * 0.01 + np.arange(6)[:, None] * [10.0, 0]  # a line has no left and right
    assert found(line) == set()
    two = np.zeros((60, 6), bool)
    two[:, 2:4] = True
    assert found(insects(), two) == set()
    assert swaps.find(insects(), np.ones((60, 6), bool), ()) == []


def test_the_mean_shape_is_robust_to_missing_and_swapped_labels() -> None:
    points = insects(200)
    points[:40] = points[:40, swap_order(6, PAIRS)]
    labelled = np.random.default_rng(2).random(points.shape[:2]) >= 0.35
    mean = shapes.mean_shape(np.where(labelled[..., None], points, 0), labelled)
    assert mean is not None
    z, truth = shapes.to_complex(mean), shapes.to_complex(BASE)
    assert np.abs(shapes.align(truth, np.ones(6), z) - z).max() < 0.05
    assert shapes.mean_shape(points[:5], np.zeros((5, 6), bool)) is None
    nobody = labelled.copy()
    nobody[:, 3] = False
    partial = shapes.mean_shape(points, nobody)
    assert partial is not None
    assert np.isnan(partial[3]).all()
    assert np.isfinite(np.delete(partial, 3, axis=0)).all()


def written(folder: Path, points: NDArray[np.float64]) -> Path:
    """Pictures twice as large as the cache's images, and a csv of their labels."""
    rng = np.random.default_rng(3)
    lines = ["image," + ",".join(f"{name}_{axis}" for name in NAMES for axis in "xy")]
    for number, thing in enumerate(points):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 12), np.uint8))
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{number:03}.png")
        lines.append(f"{number:03}.png," + ",".join(f"{value:.2f}" for value in 2 * thing.ravel()))
    (folder / "p.csv").write_text("\n".join(lines))
    return folder / "p.csv"


def test_doctor_proposes_swaps_of_all_and_of_one_pair_and_extract_makes_them(kptool: Any, in_tmp: Path) -> None:
    """Distances are in the pictures' pixels; after the patch nothing is wrong."""
    right, order = insects(), swap_order(6, PAIRS)
    assert kptool("extract", written(in_tmp, right), "--out", "right").code == 0
    assert kptool("doctor", "right/dataset.h5", "--patch", "none.csv").code == 0
    assert len(Path("none.csv").read_text().splitlines()) == 1
    wrong = right.copy()
    wrong[3] = wrong[3, order]
    wrong[8, [2, 3]] = wrong[8, [3, 2]]
    assert kptool("extract", written(in_tmp, wrong), "--out", "wrong").code == 0
    ran = kptool("doctor", "wrong/dataset.h5", "--patch", "fix.csv", "--json")
    assert ran.code == 1
    said = {finding["row"]: finding for finding in ran.json()["findings"]}
    assert {(row, f["check"], f["keypoint"]) for row, f in said.items()} == {(3, "swapped", None), (8, "swapped", 2)}
    apart = 2 * np.linalg.norm(wrong[8, 2] - wrong[8, 3])
    assert f"left_wing and right_wing are swapped, {apart:.1f} px apart in the picture" in said[8]["detail"]
    assert "8,swap,left_wing" in Path("fix.csv").read_text()
    assert kptool("extract", "p.csv", "--patch", "fix.csv", "--out", "mended").code == 0
    assert kptool("doctor", "mended/dataset.h5").code == 0
    assert Path("mended/keypoints.csv").read_text() == Path("right/keypoints.csv").read_text()
