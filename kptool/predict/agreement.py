"""Numerical agreement of an exported graph with torch, on images of the model's size and on pictures of other aspects.

For torch, the pictures are cropped as `Predictor` does, so a graph that passes agrees with ``kptool predict --no-detect``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.config import ModelConfig
from kptool.base.geometry import Size
from kptool.cache.store import Cache
from kptool.data import images
from kptool.datasets.synthetic import render_face
from kptool.evaluation import evaluation
from kptool.network.keypoint_model import KeypointModel
from kptool.predict import crops
from kptool.predict.backends import OnnxBackend, calibrated

ASPECTS = {"tall": (2.6, 0.7), "wide": (0.6, 2.3), "tiny": (0.3, 0.2), "large": (4.1, 3.3)}
"""Heights and widths of the additional test pictures, as multiples of the model's input size."""
_EACH = 4
"""Pictures per aspect."""


@dataclass(frozen=True)
class Pictures:
    """Test images of a model's input size, uint8 (n, H, W) or (n, 3, H, W), and their description for messages.

    real: from a cache rather than synthetic.
    """

    images: NDArray[np.uint8]
    real: bool
    what: str


@dataclass(frozen=True)
class Difference:
    """The largest differences between a graph and torch: of points, in pixels of the model's input, and of scores.

    aspects: the largest difference of points by kind of picture: "model" (its own size) and the names in `ASPECTS`.
    """

    points: float
    scores: float
    aspects: dict[str, float]


def pictures(cache: Path, config: ModelConfig, count: int = 64) -> Pictures:
    """Up to `count` images spread evenly over a cache's validation split, or all its images if there is none.

    Synthetic faces if the file does not exist, or its images are of another size or channel count than the model's.
    """
    if not cache.is_file():
        return synthetic(config, f"as there is no {cache}")
    with Cache(cache) as opened:
        if (opened.info.size, opened.info.channels) != (config.size, config.channels):
            return synthetic(config, f"as the model's input differs from the images of {cache} in size or channels")
        held = opened.index("val")
        index = held if len(held) else np.arange(len(opened))
        chosen = index[np.unique(np.linspace(0, len(index) - 1, count).astype(int))]
        kind = "validation images" if len(held) else "images"
        return Pictures(opened.read("images", chosen), True, f"{len(chosen)} {kind} of {cache}")


def synthetic(config: ModelConfig, why: str = "", count: int = 16) -> Pictures:
    """`count` synthetic faces; `why` is added to the description."""
    drawn = [images.resized(render_face(0, i, (96, 96))[0], config.size, "L") for i in range(count)]
    grey = np.stack([np.asarray(one) for one in drawn])
    made = grey if config.channels == 1 else np.repeat(grey[:, None], 3, axis=1)
    return Pictures(made, False, f"{count} synthetic faces{', ' if why else ''}{why}")


def difference(graph: Path, model: KeypointModel, shown: NDArray[np.uint8]) -> Difference:
    """Compare a graph with `model` on images (n, H, W) or (n, C, H, W) of its input size, and on `ASPECTS`."""
    backend = OnnxBackend(graph)
    backend.prior = None  # as in `model`
    ours, theirs = backend.run(shown), evaluation.run([model], shown)
    aspects = {"model": float(np.abs(ours.points - theirs.points).max())}
    scores = [float(np.abs(ours.scores - calibrated(theirs.scores, backend.card)).max())]
    some = shown[np.unique(np.linspace(0, len(shown) - 1, _EACH).astype(int))]
    for name, factors in ASPECTS.items():
        height, width = (max(1, round(f * side)) for f, side in zip(factors, model.config.size, strict=True))
        points, score = _on_stretched(backend, model, some, (height, width))
        aspects[name] = points
        scores.append(score)
    return Difference(max(aspects.values()), max(scores), aspects)


def displacement(one: KeypointModel, other: KeypointModel, shown: NDArray[np.uint8]) -> tuple[float, float]:
    """The mean and largest distance in pixels between the points of two models on images of their input size."""
    first, second = (evaluation.run([each], shown).points for each in (one, other))
    apart = np.linalg.norm(first - second, axis=-1)
    return float(apart.mean()), float(apart.max())


def _on_stretched(
    backend: OnnxBackend, model: KeypointModel, shown: NDArray[np.uint8], size: Size
) -> tuple[float, float]:
    """The largest difference of points (pixels of the model's input) and scores on images stretched to `size`."""
    config = model.config
    stretched = [_stretched(one, size) for one in shown]
    affine = crops.whole(size, config.size)
    cut = np.stack([images.crop(one, affine, config.size, config.channels) for one in stretched])
    theirs = evaluation.run([model], cut)
    stack = np.stack([one if one.ndim == 2 else np.moveaxis(one, -1, 0) for one in stretched])
    ours = backend.run(stack)
    points = ours.points * affine[0, 0] + affine[:, 2] - theirs.points
    scores = calibrated(theirs.scores, backend.card)
    return float(np.abs(points).max()), float(np.abs(ours.scores - scores).max())


def _stretched(one: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """An image (H, W) or (C, H, W) resized to `size` (h, w), as a picture (h, w) or (h, w, 3)."""
    picture = one if one.ndim == 2 else np.moveaxis(one, 0, -1)
    picture = picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture
    return np.asarray(images.resized(picture, size, "L" if picture.ndim == 2 else "RGB"))
