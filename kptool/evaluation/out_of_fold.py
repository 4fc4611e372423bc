"""Out-of-fold predictions: each image of a cache predicted by a model that was not trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import CheckpointError
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import require_fit, run
from kptool.network import cards, checkpoint
from kptool.system.progress import Progress, silent


def out_of_fold(model: str, cache: Cache, progress: Progress = silent) -> tuple[NDArray[np.float64], int]:
    """Predict the images of a cache that `model` was not trained on.

    Returns points (N, K, 2) in pixels of the cache's images, NaN for images of the training split, and the number of
    images predicted. The folder of a cross-validated run covers every image, another run its validation images. Raises
    CheckpointError if the model does not fit the cache, or was trained on other data.
    """
    folds = sorted(Path(model).glob(f"fold*/{cards.WEIGHTS}")) or [cards.resolve(model, measuring=True)[0]]
    rows, info = cache.read("row"), cache.info
    points = np.full((len(cache), len(info.names), 2), np.nan)
    for number, weights in enumerate(folds):
        loaded, card = checkpoint.load_model(weights)
        held_out = card.data.get("val_rows")
        require_fit(card.config, cache, str(weights))
        if card.data.get("source_sha256") != info.source_sha256 or not isinstance(held_out, list):
            raise CheckpointError(f"{weights} was trained on other data than {cache.path}; train on this cache")
        index = np.flatnonzero(np.isin(rows, held_out))
        if len(index):
            points[index] = run([loaded], cache.read("images", index)).points
        progress("folds", number + 1, len(folds))
    return points, int(np.isfinite(points).all((1, 2)).sum())
