"""Figures of images with keypoints: examples of a cache, flip pairs, heatmaps, predictions.

Drawn with matplotlib's object interface, without a display or global state. Keypoints have the colours of
`kptool.data.colours`, one for each side of the flip pairs, which makes a swap of left and right visible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.errors import DataError
from kptool.base.geometry import apply_affine, flip_points, invert_affine, swap_order
from kptool.cache.store import Cache
from kptool.data import colours, shapes
from kptool.evaluation.evaluation import Evaluation
from kptool.evaluation.metrics import diagonals, distances, image_nme, normaliser
from kptool.report.canvas import Figure
from kptool.system.files import atomic

TRUTH = "#ffffff"
_SAMPLE = 2000
"""Images that the mean shape is computed from, which decides on left and right in pictures."""
_FLIPPED = "{pairs} pairs are swapped in the mirrored row below: with the object upright, both rows have {colours}"


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


_LETTER = 0.09
"""Width of a title's letter, inches; rather too large."""


def grid(count: int, *, columns: int = 0, cell: float = 1.6, title: str = "") -> tuple[Figure, list[Axes]]:
    """A figure with `count` square cells without axes, each `cell` inches wide; `columns` 0: about as many as rows."""
    columns = columns or max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    lines = math.ceil(len(title) * _LETTER / (columns * cell))
    figure = Figure(figsize=(columns * cell, rows * cell + 0.2 + 0.2 * max(1, lines)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11, wrap=True)  # a long one is cut off at both ends otherwise
    return figure, axes


def draw_image(axis: Axes, image: NDArray[np.uint8]) -> None:
    """Draw an image (H, W), (3, H, W) or (H, W, 3) without interpolation."""
    pixels = np.moveaxis(image, 0, -1) if image.ndim == 3 and image.shape[0] == 3 else image
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def draw_points(
    axis: Axes, points: NDArray[Any], visibility: NDArray[Any], colour: Sequence[str], size: float = 9
) -> None:
    """Draw labelled keypoints (K, 2) as dots in their colours; occluded ones (visibility 1) are hollow."""
    tint = np.array(colour)
    for level, faces in ((2, tint), (1, np.full(len(tint), "none"))):
        chosen = visibility == level
        axis.scatter(
            points[chosen, 0], points[chosen, 1], c=faces[chosen], edgecolors=tint[chosen], s=size, linewidths=0.7
        )


def examples(cache: Cache, count: int = 16) -> Figure:
    """Images spread evenly over a cache, with their keypoints."""
    index = _spread(len(cache), count)
    images, points, visibility = (cache.read(name, index) for name in ("images", "keypoints", "visibility"))
    tint = tints(cache)
    legend = f" ({colours.legend(cache.info.names, cache.info.flip_pairs)})" if cache.info.flip_pairs else ""
    figure, axes = grid(len(index), title=f"{len(cache)} images, {len(cache.info.names)} keypoints{legend}")
    for axis, image, place, seen in zip(axes, images, points, visibility, strict=False):
        draw_image(axis, image)
        draw_points(axis, place, seen, tint)
    return figure


def flip_pairs(cache: Cache, count: int = 6) -> Figure:
    """Images above their mirror images as used in training, with flip pairs swapped.

    In both rows the object's own left side has the same colour. Without the second row if the cache is not mirrored in
    training.
    """
    info, index = cache.info, _spread(len(cache), count)
    images, points, visibility = (cache.read(name, index) for name in ("images", "keypoints", "visibility"))
    order, tint = swap_order(len(info.names), info.flip_pairs), tints(cache)
    title = _FLIPPED.format(pairs=len(info.flip_pairs), colours=colours.legend(info.names, info.flip_pairs))
    if not info.flip_pairs:
        title = "no keypoints are swapped in the mirrored row below"
    if not info.mirror:
        title = "images are not mirrored in training: left and right are unknown"
    rows = 2 if info.mirror else 1
    figure, axes = grid(rows * len(index), columns=len(index), title=title)
    for i in range(len(index)):
        _draw_pairs(axes[i], images[i], points[i], visibility[i], tint=tint, pairs=info.flip_pairs)
        if info.mirror:
            mirrored = flip_points(points[i], info.size[1], info.flip_pairs)
            seen, below = visibility[i][order], axes[len(index) + i]
            _draw_pairs(below, images[i][..., ::-1], mirrored, seen, tint=tint, pairs=info.flip_pairs)
    return figure


def _draw_pairs(
    axis: Axes,
    image: NDArray[np.uint8],
    points: NDArray[Any],
    visibility: NDArray[Any],
    *,
    tint: Sequence[str],
    pairs: Sequence[tuple[int, int]],
) -> None:
    """Draw an image, its labelled keypoints, and a line between the two of each flip pair."""
    draw_image(axis, image)
    draw_points(axis, points, visibility, tint)
    for pair in pairs:
        if (visibility[list(pair)] > 0).all():
            axis.plot(*points[list(pair)].T, color="white", linewidth=0.3, alpha=0.6)


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
    figure, axes = grid(len(index), title=title)
    height, width = info.size
    reach = info.heatmap_shape[1] * info.stride - 0.5, info.heatmap_shape[2] * info.stride - 0.5
    for axis, image, stack in zip(axes, images, maps, strict=False):
        draw_image(axis, image)
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


def predictions(cache: Cache, split: str, found: Evaluation, count: int = 16) -> Figure:
    """Images of a split from best to worst by NME, with predictions in colour over the ground truth in white."""
    index = cache.index(split)
    info = cache.info
    visibility, affines = cache.read("visibility", index), cache.read("affine", index)
    truth, points = cache.read("keypoints", index), apply_affine(affines, found.points)
    nme = per_image_nme(cache, split, found)
    order = np.argsort(nme, kind="stable")
    chosen = order[_spread(len(order), count)]
    metrics = found.metrics
    figure, axes = grid(
        len(chosen), title=f"best to worst: RMSE {metrics.rmse:.2f} px, NME {metrics.nme:.2%}, ground truth in white"
    )
    for axis, i, image in zip(axes, chosen, _read_unordered(cache, "images", index[chosen]), strict=False):
        draw_image(axis, image)
        known = visibility[i] > 0
        x, y = truth[i][known].T
        axis.scatter(x, y, s=14, facecolors="none", edgecolors=TRUTH, linewidths=0.7)
        draw_points(axis, points[i], np.full(len(info.names), 2), tints(cache), size=5)
        axis.set_title(f"{nme[i]:.1%}", fontsize=7, pad=1)
    return figure


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
