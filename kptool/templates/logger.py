"""The logger "example": a line of JSON per epoch in OUT/example.jsonl, and the last picture of predictions beside it.

Use it with ``kptool train unet --log example --plugin example.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from PIL import Image

from kptool.plugins import Logger, Training


class JsonLines:
    """Appends to the file; a training that starts from the beginning starts it anew."""

    def __init__(self, training: Training) -> None:
        self._training = training
        path = training.out / "example.jsonl"
        self._file = path.open("w" if training.first_epoch == 1 else "a", encoding="utf-8")

    def epoch(self, row: Mapping[str, float | None]) -> None:
        """Write the epoch's row of metrics.csv."""
        self._file.write(json.dumps(dict(row)) + "\n")
        self._file.flush()

    def picture(self, epoch: int, pixels: Any) -> None:
        """Write the picture of predictions, (H, W, 3) uint8."""
        Image.fromarray(pixels).save(self._training.out / "example.png")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


LOGGER = Logger(open=JsonLines, summary="JSON lines in OUT/example.jsonl")
