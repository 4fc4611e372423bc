"""Near-duplicates are found despite lighting and small shifts; images without contrast are similar to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import synthetic
from numpy.typing import NDArray
from PIL import Image

from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache
from kptool.data import similar
from kptool.data.similar import Descriptors, clusters, components, pairs
from kptool.datasets import kaggle


def textures(count: int, side: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Unrelated pictures: independent smooth noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (count, side // 4, side // 4), np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


def again(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same pictures shifted by a pixel to the right, darker, with some noise."""
    noise = np.random.default_rng(9).normal(0, 0.5, images.shape)
    return (np.roll(images, 1, axis=2) * 0.8 + 10 + noise).clip(0, 255).astype(np.uint8)


def test_near_duplicates_are_found_and_nothing_else() -> None:
    images = textures(40)
    found = pairs(Descriptors.of([np.concatenate([images, again(images[:15])])]))
    assert set(zip(found.a.tolist(), found.b.tolist(), strict=True)) == {(i, 40 + i) for i in range(15)}
    assert found.alike.min() > 0.74


def test_blocks_and_colour_make_no_difference() -> None:
    images = np.concatenate([textures(30), again(textures(30)[:9])])
    whole = clusters([images])
    assert np.array_equal(whole, clusters(np.array_split(images, 7)))
    assert np.array_equal(whole, clusters([np.repeat(images[:, None], 3, axis=1)]))
    assert len(np.unique(whole[whole >= 0])) == 9


def test_more_images_than_one_block_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.concatenate([textures(50), again(textures(50)[:20])])
    whole = clusters([images])
    monkeypatch.setattr(similar, "_BLOCK", 16)
    assert np.array_equal(whole, clusters([images]))


def test_images_without_contrast_are_in_no_pair() -> None:
    flat = np.full((6, 64, 64), 90, np.uint8)
    assert (clusters([np.concatenate([flat, textures(4)])]) == -1).all()


def test_few_images() -> None:
    assert clusters([textures(1)]).tolist() == [-1]
    assert clusters([textures(2)]).tolist() == [-1, -1]
    assert clusters([np.concatenate([textures(1), textures(1)])]).tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(8, 8), (3, 200), (33, 17)])
def test_any_shape(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, *shape), np.uint8)
    assert len(clusters([images])) == 5


def test_components() -> None:
    """A chain, a ring and an isolated node, compared with a plain graph search."""
    a, b = np.array([4, 3, 7, 8, 7]), np.array([3, 1, 8, 9, 9])
    assert components(11, a, b).tolist() == [-1, 0, -1, 0, 0, -1, -1, 1, 1, 1, -1]
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 300, 120), rng.integers(0, 300, 120)
    a, b = a[a != b], b[a != b]
    found = components(300, a, b)
    near: dict[int, set[int]] = {i: {i} for i in range(300)}
    for i, j in zip(a.tolist(), b.tolist(), strict=True):
        merged = near[i] | near[j]
        for k in merged:
            near[k] = merged
    for i in range(300):
        assert (found[i] == -1) == (len(near[i]) == 1)
        assert found[i] == -1 or set(np.flatnonzero(found == found[i])) == near[i]


def test_a_split_keeps_near_duplicates_on_one_side(tmp_path: Path) -> None:
    """Forty pictures, three copies of each: no validation image has a near-duplicate in the training images."""
    base = textures(40)
    images = np.concatenate([base, again(base), np.roll(base, 1, axis=1)])
    rows = ["a_x,a_y,Image", *("9,9," + " ".join(map(str, image.ravel())) for image in images)]
    path = tmp_path / "faces.csv"
    path.write_text("\n".join(rows))
    sides = {}
    for split in ("random", "similar"):
        cache = extract(kaggle.open_training(path), tmp_path / split, Options(val=0.25, split=split)).cache
        with Cache(cache) as opened:
            side = opened.read("split")
            sides[split] = (side[:40] == side[40:80]) & (side[:40] == side[80:])
            assert 0.15 < (side == 1).mean() < 0.35
    assert sides["similar"].all()
    assert not sides["random"].all()


def test_the_same_person_is_found_again(real_faces: Path, tmp_path: Path) -> None:
    """On real faces with known people: pairs show one person, and most images are in a pair."""
    source = kaggle.open_training(real_faces / "training.zip")
    images = np.concatenate([block.images for block in source.blocks()])
    people = np.genfromtxt(real_faces / "groups.csv", delimiter=",", skip_header=1, dtype=np.int64)
    person = dict(people[:, :2].tolist())
    rows = np.concatenate([block.rows for block in source.blocks()])
    looks = Descriptors.of([images])
    found = pairs(looks)
    same = [person.get(int(rows[a])) == person.get(int(rows[b])) for a, b in zip(found.a, found.b, strict=True)]
    assert np.mean(same) > 0.95
    assert len(np.union1d(found.a, found.b)) > 0.8 * len(images)


def test_synthetic_faces_are_no_duplicates_of_scenes() -> None:
    looks = Descriptors.of([synthetic(200)[0]])
    close = looks.thumbs.astype(np.float32) @ looks.thumbs.astype(np.float32).T
    np.fill_diagonal(close, 0)
    assert close.max() < 0.99


@pytest.mark.parametrize("count", [12, 100, 1000])
def test_copies_stay_together_however_many(count: int) -> None:
    others = textures(20, side=16, seed=4)
    copy = textures(1, side=16)
    noise = np.random.default_rng(0).integers(-1, 2, (count, 16, 16))
    for images in (copy.repeat(count, axis=0), (copy + noise).clip(0, 255).astype(np.uint8)):
        found = clusters([np.concatenate([others, images])])
        assert len(set(found[20:])) == 1
        assert found[20] >= 0
        assert found[20] not in found[:20]


def test_equal_pixels_are_near_whatever_they_look_like() -> None:
    """A fine texture has uniform thumbnails, which must not count as similarity."""
    texture = np.tile(np.array([[90, 110], [110, 90]], np.uint8), (1, 32, 32))
    assert clusters([texture.repeat(5, axis=0)]).tolist() == [0] * 5


def test_pictures_of_one_kind_in_one_pose_are_told_apart() -> None:
    """Features common to a whole set do not make near-duplicates: X-rays, or frames from a static camera."""
    ground = textures(1)[0].astype(float)
    images = (0.88 * ground + 0.12 * textures(60, seed=5)).astype(np.uint8)
    looks = Descriptors.of([np.concatenate([images, images[:3]])])
    assert similar.threshold(looks) > 0.85
    found = similar.near(looks).cluster
    assert (found >= 0).sum() <= 12
    assert (found[:3] == found[60:]).all()


def test_the_nearest_across_a_split_and_in_the_same_group() -> None:
    base = textures(6)
    looks = Descriptors.of([np.concatenate([base, again(base), again(again(base[:1]))])])
    side = np.arange(13) >= 6
    groups = np.array([*range(6), 9, *range(1, 6), 0])
    found = similar.near(looks, side, groups)
    assert found.other[1:6].tolist() == [7, 8, 9, 10, 11]
    assert found.other[0] in (6, 12)
    assert found.kin.tolist() == [12, 7, 8, 9, 10, 11, -1, 1, 2, 3, 4, 5, 0]


def test_same_pixels() -> None:
    image = textures(1)[0]
    assert similar.same_pixels(image, image) == 0
    packed = (image.astype(int) + np.random.default_rng(0).integers(-2, 3, image.shape)).clip(0, 255).astype(np.uint8)
    assert similar.same_pixels(image, packed) == pytest.approx(1.4, abs=0.1)
    moved = image.copy()
    moved[5:9, 5:9] ^= 0x80  # a small detail is elsewhere
    assert similar.same_pixels(image, moved) is None
    assert similar.same_pixels(image, np.roll(image, 1, axis=1)) is None
