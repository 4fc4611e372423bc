"""TensorBoard: scalars of every epoch, example predictions and the settings, as event files in OUT/tensorboard.

``tensorboard --logdir runs`` shows all runs. The epoch is TensorBoard's step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kptool.plugins import Logger, Training

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TAGS = {
    "loss": "loss/train",
    "val_loss": "loss/validation",
    "train_rmse": "rmse/train",
    "rmse": "rmse/validation",
    "mean_shape_rmse": "rmse/mean_shape",
    "nme": "validation/nme",
    "auc": "validation/auc",
    "failure_rate": "validation/failure_rate",
    "lr": "training/lr",
    "images_per_second": "training/images_per_second",
    "train_seconds": "training/train_seconds",
    "seconds": "training/seconds",
}
"""Names of metrics.csv's columns in TensorBoard, which shows tags with the same prefix together."""


class TensorBoardLog:
    """An event file; what earlier ones in the folder hold of these epochs is hidden."""

    def __init__(self, training: Training) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(training.out / "tensorboard"), purge_step=training.first_epoch)
        text = "".join(f"    {line}\n" for line in training.config.splitlines())  # indented: code in Markdown
        self._writer.add_text("config", text, training.first_epoch)

    def epoch(self, row: Mapping[str, float | None]) -> None:
        """Write every number of the row."""
        for key, value in row.items():
            if key not in ("epoch", "best") and value is not None:
                self._writer.add_scalar(TAGS.get(key, key), value, row["epoch"])
        self._writer.flush()

    def picture(self, epoch: int, pixels: NDArray[np.uint8]) -> None:
        """Write a picture (H, W, 3)."""
        self._writer.add_image("predictions", pixels, epoch, dataformats="HWC")

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


LOGGER = Logger(
    open=TensorBoardLog,
    summary="TensorBoard event files in OUT/tensorboard: scalars, example predictions, settings",
    requires={"tensorboard": "keypoint-toolkit[tensorboard]"},
)
