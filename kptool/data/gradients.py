"""Image features without a network: histograms of oriented gradients (Dalal & Triggs, CVPR 2005) and a thumbnail."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_CELLS, _ORIENTATIONS, _THUMB = 8, 8, 12


def features(blocks: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Feature vectors, float32 (N, D), of uint8 images in blocks (n, H, W) or (n, 3, H, W).

    Each of the D entries has mean 0 and standard deviation 1 over the N images.
    """
    rows = [_features((b if b.ndim == 3 else b.mean(1)).astype(np.float32)) for b in blocks]
    found = np.concatenate(rows)
    return np.asarray((found - found.mean(0)) / np.maximum(found.std(0), 1e-6))


def _features(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (n, D): per cell an orientation histogram, weighted by magnitude, linearly interpolated; and a thumbnail."""
    n, height, width = images.shape
    gy, gx = np.gradient(images, axis=(1, 2))
    size, angle = np.hypot(gx, gy), np.arctan2(gy, gx) / (2 * np.pi) * _ORIENTATIONS
    y, x = (np.linspace(0, length, _CELLS + 1).astype(int)[:-1] for length in (height, width))
    cells = []
    for k in range(_ORIENTATIONS):
        away = np.abs((angle - k + _ORIENTATIONS / 2) % _ORIENTATIONS - _ORIENTATIONS / 2)
        weight = size * np.maximum(1 - away, 0)
        cells.append(np.add.reduceat(np.add.reduceat(weight, y, axis=1), x, axis=2))
    histograms = np.sqrt(np.stack(cells, axis=-1).reshape(n, -1))
    histograms /= np.maximum(np.linalg.norm(histograms, axis=1, keepdims=True), 1e-6)
    y, x = (np.linspace(0, length, _THUMB + 1).astype(int)[:-1] for length in (height, width))
    thumbs = np.add.reduceat(np.add.reduceat(images, y, axis=1), x, axis=2).reshape(n, -1)
    thumbs = (thumbs - thumbs.mean(1, keepdims=True)) / np.maximum(thumbs.std(1, keepdims=True), 1e-6)
    return np.concatenate([histograms, thumbs], axis=1).astype(np.float32)
