"""Flip pairs: found, stated, or unknown, in which case nothing is mirrored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from label_files import put, write_wide
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache
from kptool.data import flips
from kptool.data.sources import Opening, find_source


def bodies(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Shapes of 7 points, mirror-symmetric on average, with the pairs 0-1, 2-3 and 5-6."""
    base = np.array([[20, 0], [-20, 0], [10, 30], [-10, 30], [0, 50], [25, 70], [-25, 70]], np.float64)
    rng = np.random.default_rng(seed)
    return base + rng.normal(0, 3, (count, 7, 2)) + 100


def test_pairs_are_found_by_where_points_lie() -> None:
    shapes = bodies(60)
    found = flips.infer([f"p{k}" for k in range(7)], shapes, np.ones((60, 7), np.uint8))
    assert found.mirror
    assert set(found.pairs) == {(0, 1), (2, 3), (5, 6)}
    assert "by where the points lie" in found.why


def test_shuffled_points_give_shuffled_pairs() -> None:
    order = np.random.default_rng(3).permutation(7)
    found = flips.infer([f"p{k}" for k in range(7)], bodies(60)[:, order], np.ones((60, 7), np.uint8))
    assert {tuple(sorted((order[a], order[b]))) for a, b in found.pairs} == {(0, 1), (2, 3), (5, 6)}


def test_names_that_the_points_contradict_turn_mirroring_off() -> None:
    names = ["left_a", "left_b", "left_c", "right_a", "nose", "right_b", "right_c"]
    found = flips.infer(names, bodies(60), np.ones((60, 7), np.uint8))
    assert not found.mirror
    assert "the points contradict them" in found.why


@pytest.mark.parametrize("count", [3, 10])
def test_few_samples_without_names_are_not_enough(count: int) -> None:
    found = flips.infer([f"p{k}" for k in range(7)], bodies(count), np.ones((count, 7), np.uint8))
    assert (found.pairs, found.mirror) == ((), False)


def test_shapes_without_symmetry_are_not_mirrored() -> None:
    rng = np.random.default_rng(1)
    shapes = rng.normal(0, 30, (1, 9, 2)) + rng.normal(0, 2, (80, 9, 2))
    assert not flips.infer([f"p{k}" for k in range(9)], shapes, np.ones((80, 9), np.uint8)).mirror


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["left_eye", "right_eye", "nose"], {(0, 1)}),
        (["eye_l", "eye_r"], {(0, 1)}),
        (["LEar", "REar", "Lhip", "Rhip"], {(0, 1), (2, 3)}),
        (["hipLeft", "hipRight", "left knee", "right knee"], {(0, 1), (2, 3)}),
        (["L_Wrist", "R_Wrist", "tail"], {(0, 1)}),
        (["Left_Eye", "Right_Eye", "Rump", "point_l"], {(0, 1)}),
        (["snout", "leftear", "rightear", "tailbase", "left_paw", "right_paw"], {(1, 2), (4, 5)}),
        (["lf_paw", "rf_paw", "lh_paw", "rh_paw"], {(0, 1), (2, 3)}),
        (["FL", "FR", "BL", "BR"], {(0, 1), (2, 3)}),
        (["forelegL1", "forelegR1", "forelegL2", "forelegR2"], {(0, 1), (2, 3)}),
        (["earleft", "earright", "upright", "bright"], {(0, 1)}),
        (["left_corner_of_right_eye", "right_corner_of_left_eye"], {(0, 1)}),
    ],
)
def test_sides_in_names(names: list[str], pairs: set[tuple[int, int]]) -> None:
    found = flips.infer(names)
    assert found.mirror
    assert set(found.pairs) == pairs


@pytest.mark.parametrize(
    "names",
    [
        ["left_ear", "nose"],
        ["a", "b", "c"],
        ["lip", "rip"],
        ["l_eye", "r_eye", "l_ear"],
        ["eyeL", "eyeR", "earR"],
        ["Lhip", "Rhip", "Lknee"],
        ["lt_eye", "rt_eye", "rt_ear"],
        ["left_ear", "right_ear", "leftpaw"],
    ],
)
def test_names_without_a_counterpart_turn_mirroring_off(names: list[str]) -> None:
    assert not flips.infer(names).mirror


def test_a_file_can_state_the_pairs(tmp_path: Path) -> None:
    table = write_wide(tmp_path)
    stated = put(tmp_path / "pairs.txt", "nose,chin\n\n")
    source = find_source(table, Opening(flips=stated))
    assert source.skeleton.flip_pairs == ((2, 3),)
    assert not find_source(table, Opening(flips=Path("none"))).skeleton.mirror
    with pytest.raises(DataError, match=r"line 1: there is no keypoint 'ear'"):
        find_source(table, Opening(flips=put(tmp_path / "pairs.txt", "nose,ear\n")))
    with pytest.raises(DataError, match="holds no pair of names"):
        find_source(table, Opening(flips=put(tmp_path / "pairs.txt", "\n")))


def test_what_is_not_mirrored_is_neither_augmented_nor_averaged_so(tmp_path: Path) -> None:
    import torch

    from kptool.base.config import configure
    from kptool.network.keypoint_model import Inference, KeypointModel

    table = write_wide(tmp_path)
    done = extract(find_source(table, Opening(flips=Path("none"), size=(32, 32))), tmp_path / "o", Options())
    with Cache(done.cache) as cache:
        config, training = configure("unet", cache.info.skeleton, cache.info.size, 1, {"width": 4})
    assert (config.mirror, training.augment.flip) == (False, 0.0)
    model = KeypointModel(config).eval()
    images = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(model.points(images, Inference(flip=True))[0], model.points(images)[0])


MOUSE = ["snout", "leftear", "rightear", "tailbase", "left_paw", "right_paw"]
LIES = np.array([[0, -40], [-12, -25], [12, -25], [0, 40], [-15, 10], [15, 10]], np.float64)


def mice(count: int, base: NDArray[np.float64] = LIES) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Objects at all angles, with everything visible."""
    rng = np.random.default_rng(0)
    turns = np.exp(1j * rng.uniform(0, 2 * np.pi, count))[:, None]
    z = ((base + rng.normal(0, 1, (count, *base.shape))) @ [1, 1j]) * turns
    return np.stack([z.real, z.imag], axis=-1) + 100, np.full((count, len(base)), 2, np.uint8)


def test_points_without_a_side_must_lie_in_the_middle() -> None:
    found = flips.infer(MOUSE, *mice(30))
    assert (set(found.pairs), found.mirror) == ({(1, 2), (4, 5)}, True)
    aside = LIES.copy()
    aside[0] = (14, -40)
    off = flips.infer(MOUSE, *mice(30, aside))
    assert (off.pairs, off.mirror) == ((), False)
    assert "'snout' tells no side and does not lie in the middle" in off.why


def test_a_pair_whose_names_say_nothing_turns_mirroring_off() -> None:
    names = ["snout", "a", "b", "tailbase", "left_paw", "right_paw"]
    found = flips.infer(names, *mice(30))
    assert (found.pairs, found.mirror) == ((), False)
    near = LIES.copy()
    near[[1, 2]] = [[-2, -38], [2, -38]]  # two nostrils, close to the midline on either side
    found = flips.infer(names, *mice(30, near))
    assert not found.mirror
    assert "'a'" in found.why


def test_too_few_samples_to_see_the_middle_turn_mirroring_off() -> None:
    found = flips.infer(MOUSE, *mice(3))
    assert not found.mirror
    assert (
        "snout and tailbase without a side in the name may lie off the midline, and 3 samples are too few" in found.why
    )
    assert flips.infer(["left_eye", "right_eye", "nose", "chin"], *mice(2, LIES[[1, 2, 0, 3]])).mirror  # nose decides
    assert flips.infer(["left_a", "right_a", "left_b", "right_b"], *mice(2, LIES[[1, 2, 4, 5]])).mirror  # all decide


def test_keypoints_that_nobody_labelled_say_nothing() -> None:
    points, seen = mice(30)
    seen[:, 3] = 0
    assert flips.infer(MOUSE, points, seen).mirror


def test_no_sample_is_whole_and_all_is_seen() -> None:
    points, seen = mice(60)
    seen[np.arange(60), np.arange(60) % 6] = 0
    points[seen == 0] = 0
    found = flips.infer(MOUSE, points, seen)
    assert (set(found.pairs), found.mirror) == ({(1, 2), (4, 5)}, True)


def test_a_few_exchanged_labels_do_not_matter() -> None:
    points, seen = mice(40)
    points[:6] = points[:6, [0, 2, 1, 3, 5, 4]]
    assert flips.infer(MOUSE, points, seen).mirror
