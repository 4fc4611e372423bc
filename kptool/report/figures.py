"""Figures of images with keypoints: examples of a cache, flip pairs, heatmaps, predictions.

Keypoints have the colours and shapes of `kptool.data.colours`, one for each side of the flip pairs, which makes a swap of left
and right visible.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import figure
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.errors import DataError
from kptool.base.geometry import apply_affine, flip_points, invert_affine, swap_order
from kptool.base.palette import TRUTH
from kptool.cache.store import Cache
from kptool.data import colours, shapes
from kptool.evaluation.evaluation import Evaluation
from kptool.evaluation.metrics import diagonals, distances, image_nme, normaliser
from kptool.report import about
from kptool.report.canvas import Figure
from kptool.report.tiles import FILLED, Key, Tile, figure_of, grid, side_keys
from kptool.system.files import atomic

_SAMPLE = 2000
"""Images that the mean shape is computed from, which decides on left and right in pictures."""
_FLIPPED = "{pairs} pairs are swapped in the mirrored row below: with the object upright, each colour is on the same side in both"


def save(drawn: figure.Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically; returns `path`."""
    with atomic(path) as temporary:
        drawn.savefig(temporary, format="png", dpi=110)
    return path


def tints(cache: Cache) -> list[str]:
    """The colour of each keypoint of a cache."""
    info, some = cache.info, _spread(len(cache), _SAMPLE)
    mean = shapes.mean_shape(cache.read("keypoints", some), cache.read("visibility", some) > 0)
    return colours.of(info.names, info.flip_pairs, mean)


def keys(cache: Cache, *, occluded: bool = False) -> list[Key]:
    """The legend of a cache's labels; `occluded`: some are."""
    sides = side_keys(colours.sides(cache.info.names, cache.info.flip_pairs))
    return [*sides, *([Key("hollow: occluded", sides[0].tint, "hollow")] if occluded else [])]


def prediction_keys(cache: Cache) -> list[Key]:
    """The legend of predictions beside labels."""
    sides = side_keys(colours.sides(cache.info.names, cache.info.flip_pairs), "predicted, ")
    return [*sides, Key("label", TRUTH, "hollow"), Key("error", TRUTH, "line")]


def example_tiles(cache: Cache, count: int = 16) -> list[Tile]:
    """Images spread evenly over a cache, with their keypoints, titled by the row in the source."""
    index = _spread(len(cache), count)
    read = (cache.read(name, index) for name in ("images", "keypoints", "visibility", "row"))
    tint, names = tints(cache), cache.info.names
    return [
        Tile(image, f"row {row}", points, seen, tint, names) for image, points, seen, row in zip(*read, strict=True)
    ]


def examples(cache: Cache, count: int = 16) -> Figure:
    """Images spread evenly over a cache, with their keypoints."""
    tiles = example_tiles(cache, count)
    occluded = any((tile.levels == 1).any() for tile in tiles)
    title = f"{len(cache)} images, {len(cache.info.names)} keypoints"
    return figure_of(tiles, title=title, keys=keys(cache, occluded=occluded), note=about.data(cache))


def flip_pairs(cache: Cache, count: int = 6) -> Figure:
    """Images above their mirror images as used in training, with flip pairs swapped.

    In both rows the object's own left side has the same colour. Without the second row if the cache is not mirrored in
    training.
    """
    info, index = cache.info, _spread(len(cache), count)
    read = [cache.read(name, index) for name in ("images", "keypoints", "visibility", "row")]
    order, tint = swap_order(len(info.names), info.flip_pairs), tints(cache)
    title = _FLIPPED.format(pairs=len(info.flip_pairs))
    if not info.flip_pairs:
        title = "no keypoints are swapped in the mirrored row below"
    if not info.mirror:
        title = "images are not mirrored in training: left and right are unknown"
    pairs, upper, lower = info.flip_pairs, [], []
    for image, points, seen, row in zip(*read, strict=True):
        upper.append(Tile(image, f"row {row}", points, seen, tint, info.names, joined=pairs))
        mirrored = flip_points(points, info.size[1], pairs)
        flipped = np.ascontiguousarray(image[..., ::-1])
        lower.append(Tile(flipped, "mirrored", mirrored, seen[order], tint, info.names, joined=pairs))
    tiles = [*upper, *(lower if info.mirror else [])]
    occluded = bool((read[2] == 1).any())
    return figure_of(
        tiles, columns=len(index), title=title, keys=keys(cache, occluded=occluded), note=about.data(cache)
    )


def example_heatmaps(cache: Cache, count: int = 16) -> Figure:
    """Images of a cache under the maximum over their heatmaps, which are rendered if the cache stores none."""
    info, index = cache.info, _spread(len(cache), count)
    images = cache.read("images", index)
    if info.heatmaps == "none":
        points, visibility = cache.read("keypoints", index), cache.read("visibility", index)
        maps = heatmaps.render(points, info.size, info.sigma, stride=info.stride, visibility=visibility)
    else:
        maps = cache.read("heatmaps", index).astype(np.float32) / (255 if info.heatmaps == "uint8" else 1)
    title = f"heatmaps, sigma {info.sigma:g}, stride {info.stride}"
    figure, axes = grid(len(index), title=title, note=f"The maximum over keypoints, on the images. {about.data(cache)}")
    height, width = info.size
    reach = info.heatmap_shape[1] * info.stride - 0.5, info.heatmap_shape[2] * info.stride - 0.5
    for axis, image, stack in zip(axes, images, maps, strict=False):
        pixels = np.moveaxis(image, 0, -1) if image.ndim == 3 else image
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        shown = stack.max(0)
        axis.imshow(
            shown,
            cmap="inferno",
            alpha=np.clip(shown * 1.2, 0, 0.85),
            extent=(-0.5, reach[1], reach[0], -0.5),
            vmin=0,
            vmax=1,
        )
        axis.set_xlim(-0.5, width - 0.5)
        axis.set_ylim(height - 0.5, -0.5)
    return figure


def prediction_tiles(cache: Cache, split: str, found: Evaluation, count: int = 16) -> list[Tile]:
    """Images of a split from best to worst by NME, with predictions, labels, and a line for each error."""
    index, info, tint = cache.index(split), cache.info, tints(cache)
    visibility, affines = cache.read("visibility", index), cache.read("affine", index)
    truth, points = cache.read("keypoints", index), apply_affine(affines, found.points)
    nme = per_image_nme(cache, split, found)
    order = np.argsort(nme, kind="stable")
    chosen = order[_spread(len(order), count)]
    rows, images = cache.read("row", index), _read_unordered(cache, "images", index[chosen])
    tiles = []
    for i, image in zip(chosen, images, strict=True):
        labels = np.where(visibility[i][:, None] > 0, truth[i], np.nan)
        caption = f"row {rows[i]}: " + ("no labels" if np.isnan(nme[i]) else f"{nme[i]:.1%}")
        every = np.full(len(info.names), FILLED)
        tiles.append(Tile(image, caption, points[i], every, tint, info.names, truth=labels))
    return tiles


def predictions(cache: Cache, split: str, found: Evaluation, count: int = 16, note: str = "") -> Figure:
    """Images of a split from best to worst by NME, with predictions in colour beside the ground truth in white.

    note: a sentence on the model, for the small print.
    """
    metrics = found.metrics
    title = f"best to worst: RMSE {metrics.rmse:.2f} px, NME {metrics.nme:.2%}, ground truth in white"
    unit = f"Each image's error is in {about.relative(metrics.normaliser)}."
    small = " ".join(filter(None, (note, unit, about.measured(cache, split))))
    tiles = prediction_tiles(cache, split, found, count)
    return figure_of(tiles, title=title, keys=prediction_keys(cache), note=small)


def per_image_nme(cache: Cache, split: str, found: Evaluation) -> NDArray[np.float64]:
    """The NME of each image of a split, (N,), computed in source pixels."""
    index = cache.index(split)
    labelled = cache.read("visibility", index) > 0
    back = invert_affine(cache.read("affine", index))
    truth = apply_affine(back, cache.read("keypoints", index))
    scale, _ = normaliser(truth, labelled, cache.info.names, diagonals(cache.info.size, back))
    return image_nme(distances(found.points, truth), labelled, scale)


def _spread(total: int, count: int) -> NDArray[np.int64]:
    """At most `count` indices spread evenly over 0..total-1, both ends included. Raises DataError if `total` is 0."""
    if total == 0:
        raise DataError("there are no images to draw")
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def _read_unordered(cache: Cache, name: str, index: NDArray[np.int64]) -> NDArray[Any]:
    """Samples in the order of `index`; HDF5 reads in ascending order only."""
    ascending, back = np.unique(index, return_inverse=True)
    return cache.read(name, ascending)[back]
