"""Logs of a training: opens the chosen loggers at its first epoch, and passes every epoch and example predictions to them.

A logger that fails, such as one whose server is gone, is reported and left out from then on; the training goes on.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

from kptool import plugins
from kptool.base.errors import ConfigError
from kptool.cache.store import Cache
from kptool.network import cards, checkpoint
from kptool.report import figures, tiles
from kptool.training.run_folder import CONFIG

log = logging.getLogger(__name__)

PICTURES = 9
"""Images in a picture of example predictions."""


def check(names: Sequence[str]) -> None:
    """Raise ConfigError where a logger does not exist, or where a package that it needs is not installed."""
    for name in names:
        for module, package in plugins.load_logger(name).requires.items():
            if importlib.util.find_spec(module) is None:
                raise ConfigError(f"--log {name} needs the package {module}: pip install '{package}'")


@contextmanager
def opened(names: Sequence[str], cache: Path, out: Path) -> Iterator[Callable[[Mapping[str, Any]], None] | None]:
    """A callback for `kptool.training.run.train` that logs the training on `cache` into `out`; None without loggers.

    The logs are closed at the end, however the training ended. Raises ConfigError as `check` does.
    """
    check(names)
    if not names:
        yield None
        return
    logs = _Logs(tuple(dict.fromkeys(names)), cache, out)
    try:
        yield logs.epoch
    finally:
        logs.close()


class _Logs:
    def __init__(self, names: Sequence[str], cache: Path, out: Path) -> None:
        self._names, self._cache, self._out = names, cache, out
        self._logs: dict[str, plugins.Log] | None = None

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log an epoch's row, and where its weights are the best so far, their predictions."""
        if self._logs is None:
            self._open(int(row["epoch"]))
        self._each(lambda each: each.epoch(row))
        if row["best"] and self._logs:
            epoch = int(row["epoch"])
            pixels = example_predictions(self._cache, self._out / cards.WEIGHTS, epoch)
            self._each(lambda each: each.picture(epoch, pixels))

    def close(self) -> None:
        self._each(lambda each: each.close())

    def _open(self, first_epoch: int) -> None:
        config = (self._out / CONFIG).read_text(encoding="utf-8")
        model = cards.read_card(self._out / cards.WEIGHTS).config.model
        training = plugins.Training(self._out, model, config, first_epoch)
        self._logs = {}
        for name in self._names:
            try:
                self._logs[name] = plugins.load_logger(name).open(training)
            except Exception as error:
                self._report(name, error)

    def _each(self, call: Callable[[plugins.Log], None]) -> None:
        for name, each in list((self._logs or {}).items()):
            try:
                call(each)
            except Exception as error:
                assert self._logs is not None
                del self._logs[name]
                self._report(name, error)

    def _report(self, name: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        log.warning("--log %s failed, so this training is not logged there from here on: %s", name, text)


def example_predictions(cache_path: Path, weights: Path, epoch: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of validation images, spread over their part of the cache, with the points that a model finds.

    Labels are white circles; `epoch` is in the title. Without validation images, training images are drawn, as the title says.
    """
    model, card = checkpoint.load_model(weights)
    with Cache(cache_path) as cache:
        held_out = np.flatnonzero(np.isin(cache.read("row"), card.data.get("val_rows") or []))
        rows = held_out if len(held_out) else np.arange(len(cache))
        index = rows[np.unique(np.linspace(0, len(rows) - 1, min(PICTURES, len(rows))).round().astype(int))]
        images, truth, visible = (cache.read(name, index) for name in ("images", "keypoints", "visibility"))
        batch = torch.from_numpy(images if images.ndim == 4 else images[:, None])
        points = model.points(batch)[0].numpy()
        tints, row, keys = figures.tints(cache), cache.read("row", index), figures.prediction_keys(cache)
    labels = np.where(visible[..., None] > 0, truth, np.nan)
    every = np.full(points.shape[1], tiles.FILLED)
    shown = [
        tiles.Tile(image, f"row {number}", found, every, tints, truth=label)
        for image, number, found, label in zip(images, row, points, labels, strict=True)
    ]
    title = f"epoch {epoch}" + ("" if len(held_out) else ", training images")
    figure = tiles.figure_of(shown, title=title, keys=keys)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
