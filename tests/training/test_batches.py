"""Augmentation: images and points move together, and randomness depends only on seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kptool import heatmaps
from kptool.base.config import AugmentConfig
from kptool.system.workers import Workers
from kptool.training.augmentation import DRAWS, Batch, augment, warp
from kptool.training.batches import Epochs, TrainingSet

STILL = AugmentConfig(rotation=0, scale=0, shift=0, stretch=0, elastic=0, flip=0, light=0, blur=0, noise=0, erase=0)
GEOMETRY = AugmentConfig(**{**vars(STILL), "rotation": 30, "scale": 0.2, "shift": 0.1, "flip": 0.5})
ELASTIC = AugmentConfig(**{**vars(GEOMETRY), "stretch": 0.1, "elastic": 0.03})


def dots(n: int = 16, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Images with one bright Gaussian blob each, and its position as two keypoints that swap in a flip."""
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 44, (n, 1, 2)).astype(np.float32)
    images = heatmaps.render(points, (size, size), 2.5, dtype="uint8")
    return images, np.repeat(points, 2, axis=1)


def resident(n: int = 16) -> TrainingSet:
    images, points = dots(n)
    return TrainingSet.upload(images, points, np.full(points.shape[:2], 2, np.uint8), torch.device("cpu"))


def test_nothing_changes_without_augmentation() -> None:
    data = resident()
    batch = data.take(torch.arange(16))
    same = augment(batch, torch.rand(16, DRAWS), torch.tensor([1, 0]), STILL, torch.Generator())
    assert torch.allclose(same.images, batch.images, atol=0.05)
    assert torch.allclose(same.points, batch.points, atol=1e-4)


@pytest.mark.parametrize(("config", "tolerance"), [(GEOMETRY, 0.1), (ELASTIC, 0.25)], ids=["affine", "elastic"])
def test_points_stay_on_what_they_mark(config: AugmentConfig, tolerance: float) -> None:
    """The blob stays at its keypoint under all transforms; elastic ones distort it, so its centre is less precise."""
    for batch in Epochs(resident(64), ((0, 1),), config, batch_size=16, seed=3).epoch(0):
        found, _ = heatmaps.decode(np.ascontiguousarray(batch.images.numpy() / 255), "gaussian")
        error = np.linalg.norm(found[:, 0] - batch.points[:, 0].numpy(), axis=-1)
        assert error[batch.labelled[:, 0].numpy()].max() < tolerance


EXTREME = AugmentConfig(
    **{**vars(STILL), "rotation": 180, "scale": 0.89, "shift": 0.2, "stretch": 0.89, "elastic": 0.08, "flip": 0.5}
)


@pytest.mark.parametrize("size", [(64, 64), (40, 96)])
@pytest.mark.parametrize("config", [EXTREME, AugmentConfig(**{**vars(STILL), "elastic": 0.08})], ids=["all", "elastic"])
def test_points_are_exact_at_the_extremes(config: AugmentConfig, size: tuple[int, int]) -> None:
    """Pixel values encode coordinates, so the value at a moved point gives its original position, to 0.01 px."""
    rng = np.random.default_rng(1)
    count, (height, width) = 200, size
    points = torch.from_numpy(rng.uniform(8, [width - 9, height - 9], (count, 5, 2)).astype(np.float32))
    ramps = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")).float()
    batch = Batch(ramps[None].repeat(count, 1, 1, 1), points, torch.ones(count, 5, dtype=torch.bool))
    draws = torch.from_numpy(rng.uniform(0, 1, (count, DRAWS)).astype(np.float32)).round()  # in both directions
    draws[: count // 2] = torch.rand(count // 2, DRAWS, generator=torch.Generator().manual_seed(0))
    varied = augment(batch, draws, torch.tensor([0, 1, 2, 3, 4]), config, torch.Generator())
    grid = (varied.points + 0.5) / torch.tensor([width / 2, height / 2]) - 1
    read = torch.nn.functional.grid_sample(varied.images, grid[:, :, None], align_corners=False)[..., 0]
    inner = ((varied.points > 0) & (varied.points < torch.tensor([width - 1, height - 1]))).all(-1) & varied.labelled
    assert inner.float().mean() > 0.3
    assert (read.transpose(1, 2) - points)[inner].abs().max() < 0.01


def test_a_dot_is_where_its_keypoint_is_at_the_strongest_deformation() -> None:
    """A small dot, because a large one is distorted itself."""
    points = np.random.default_rng(0).uniform(20, 44, (64, 1, 2)).astype(np.float32)
    images = heatmaps.render(points, (64, 64), 1.2, dtype="uint8")
    data = TrainingSet.upload(images, points, np.full((64, 1), 2, np.uint8), torch.device("cpu"))
    config = AugmentConfig(**{**vars(STILL), "elastic": 0.08})
    for batch in Epochs(data, (), config, batch_size=32, seed=5).epoch(0):
        found, _ = heatmaps.decode(np.ascontiguousarray(batch.images.numpy() / 255), "gaussian")
        error = np.linalg.norm(found - batch.points.numpy(), axis=-1)[batch.labelled.numpy()]
        assert np.median(error) < 0.05
        assert error.max() < 0.25


def test_a_flip_swaps_left_and_right() -> None:
    points = torch.tensor([[[10.0, 5.0], [50.0, 5.0]]])
    batch = Batch(torch.zeros(1, 1, 64, 64), points, torch.tensor([[True, False]]))
    flipped = augment(
        batch,
        torch.full((1, DRAWS), 0.5),
        torch.tensor([1, 0]),
        AugmentConfig(**{**vars(STILL), "flip": 1.0}),
        torch.Generator(),
    )
    assert flipped.points[0].tolist() == [[13.0, 5.0], [53.0, 5.0]]
    assert flipped.labelled[0].tolist() == [False, True]


def test_a_point_that_leaves_the_picture_loses_its_label() -> None:
    data = resident(1)
    forward = torch.tensor([[[1.0, 0.0, 200.0], [0.0, 1.0, 0.0]]])
    assert warp(data.take(torch.arange(1)).images, forward).max() < 5
    config = AugmentConfig(**{**vars(STILL), "shift": 0.5})
    corner = Batch(torch.zeros(1, 1, 64, 64), torch.tensor([[[60.0, 60.0]]]), torch.ones(1, 1, dtype=torch.bool))
    moved = augment(corner, torch.ones(1, DRAWS), torch.tensor([0]), config, torch.Generator())
    assert not moved.labelled.any()


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    def images(seed: int, number: int) -> torch.Tensor:
        epochs = Epochs(resident(), (), AugmentConfig(), batch_size=4, seed=seed)
        list(epochs.epoch(0))
        return torch.cat([batch.images for batch in epochs.epoch(number)])

    assert torch.equal(images(0, 1), images(0, 1))
    assert not torch.equal(images(0, 1), images(0, 2))
    assert not torch.equal(images(0, 1), images(1, 1))


def test_shares_are_the_whole_batch() -> None:
    epochs = Epochs(resident(), (), AugmentConfig(), batch_size=8, seed=0)
    whole = list(epochs.epoch(2))
    parts = [list(epochs.epoch(2, Workers(rank, 2))) for rank in range(2)]
    for step, batch in enumerate(whole):
        for rank in range(2):
            assert torch.equal(parts[rank][step].images, batch.images[rank::2])
            assert torch.equal(parts[rank][step].points, batch.points[rank::2])


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(16, 5, 4), (3, 8, 1)])
def test_every_step_is_full_and_every_image_is_seen(count: int, batch_size: int, steps: int) -> None:
    epochs = Epochs(resident(count), (), STILL, batch_size=batch_size, seed=0)
    batches = list(epochs.epoch(0))
    assert len(batches) == epochs.steps == steps
    assert all(len(batch.images) == batch_size for batch in batches)
    assert len({tuple(p.flatten().tolist()) for batch in batches for p in batch.points.round(decimals=2)}) == count


def test_absent_keypoints_are_taught_where_a_missing_label_means_something() -> None:
    """The fourth keypoint is never labelled, so nothing is known of it; a mirrored image swaps what is absent."""
    images, points = dots(12)
    visibility = np.full((12, 4), 2, np.uint8)
    visibility[:5, 0], visibility[:, 3] = 0, 0
    data = TrainingSet.upload(images, np.repeat(points, 2, axis=1), visibility, torch.device("cpu")).teaching_absence()
    assert data.absent is not None
    assert data.absent.nonzero().tolist() == [[i, 0] for i in range(5)]
    batch, generator = data.take(torch.arange(12)), torch.Generator()
    assert batch.learnt.sum() == 12 * 3
    flip = AugmentConfig(**{**vars(STILL), "flip": 1.0})
    mirrored = augment(batch, torch.zeros(12, DRAWS), torch.tensor([1, 0, 2, 3]), flip, generator)
    assert mirrored.absent is not None
    assert mirrored.absent.nonzero().tolist() == [[i, 1] for i in range(5)]
    far = Batch(batch.images, batch.points + 100, batch.labelled, batch.absent)
    moved = augment(far, torch.zeros(12, DRAWS), torch.tensor([0, 1, 2, 3]), STILL, generator)
    assert moved.learnt.nonzero().tolist() == [[i, 0] for i in range(5)]  # to leave the image is not to be absent


def test_colours_vary_and_grey_images_stay_grey() -> None:
    config = AugmentConfig(**{**vars(STILL), "light": 0.35})
    rng = np.random.default_rng(2)
    images = torch.from_numpy(rng.uniform(60, 120, (400, 3, 8, 8)).astype(np.float32))
    batch = Batch(images, torch.zeros(400, 1, 2), torch.ones(400, 1, dtype=torch.bool))
    draws = torch.rand(400, DRAWS, generator=torch.Generator().manual_seed(0))
    draws[:, 5:8] = 0.5  # no gamma and no gradient
    ratio = augment(batch, draws, torch.tensor([0]), config, torch.Generator()).images / images
    spread = ratio.amax((1, 2, 3)) - ratio.amin((1, 2, 3))
    assert spread.median() > 0.2
    flat = batch.images.mean(1, keepdim=True).expand_as(images)
    lost = torch.isclose(
        augment(batch, draws, torch.tensor([0]), config, torch.Generator()).images, flat, atol=0.1
    ).all((1, 2, 3))
    assert 0.05 < lost.float().mean() < 0.2  # a third of 0.35
    grey = Batch(images[:, :1], batch.points, batch.labelled)
    assert torch.allclose(
        augment(grey, draws, torch.tensor([0]), config, torch.Generator()).images, images[:, :1], atol=0.05
    )


def test_upright_objects_are_brought_onto_one_shape() -> None:
    """Bright dots at three keypoints: the points stay on them, and are near the shape where the object was turned."""
    rng = np.random.default_rng(4)
    shape = np.array([[32.0, 12], [20, 45], [44, 45]])
    angles, scales = rng.uniform(0, 2 * np.pi, 32), rng.uniform(0.5, 0.9, 32)
    turn = np.stack([np.cos(angles), np.sin(angles), -np.sin(angles), np.cos(angles)], -1).reshape(-1, 2, 2)
    points = ((shape - 32) * scales[:, None, None]) @ turn + 32
    images = heatmaps.render(points.astype(np.float32), (64, 64), 2.0, dtype="uint8").max(1)
    data = TrainingSet.upload(images, points.astype(np.float32), np.full((32, 3), 2, np.uint8), torch.device("cpu"))
    config = AugmentConfig(**{**vars(STILL), "rotation": 180, "upright": 1.0})
    for batch in Epochs(data.turned_onto(shape), (), config, batch_size=16, seed=0).epoch(0):
        far = np.linalg.norm(batch.points.numpy() - shape, axis=-1)
        assert far.max() < 32 * np.radians(10)  # turned by at most ten degrees more
        assert far.max() > 1
        grid = (batch.points + 0.5) / 32 - 1
        seen = torch.nn.functional.grid_sample(batch.images, grid[:, :, None], align_corners=False)
        assert seen.min() > 220
    plain = AugmentConfig(**{**vars(config), "upright": 0.0})
    batch = next(Epochs(data.turned_onto(shape), (), plain, batch_size=32, seed=0).epoch(0))
    assert np.linalg.norm(batch.points.numpy() - shape, axis=-1).mean() > 12
