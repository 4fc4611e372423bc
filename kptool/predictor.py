"""Prediction on pictures, the Python way in: ``kptool.Predictor("unet").predict("face.png")``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool import checkpoint, devices, images
from kptool.evaluation import run
from kptool.geometry import apply_affine, invert_affine
from kptool.progress import Progress, silent


@dataclass(frozen=True)
class Face:
    """One face in one picture, in that picture's pixels, where an integer is a pixel's centre.

    box: (x, y, width, height) of what the network looked at, x and y its left and top edge. keypoints: float32
    (K, 2). scores: float32 (K,), 0..1, the height of the heatmap's peak; 1 for direct regression, which has none.
    radius90: float32 (K,), pixels about each keypoint that hold the true one 9 times in 10, for faces like those the
    model was validated on; NaN where the model does not say.
    """

    box: tuple[float, float, float, float]
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    radius90: NDArray[np.float32]


class Predictor:
    """A trained model, ready for pictures of any size.

    `model` is a name, a run folder or a weights file; `device` is "auto", "cpu" or "cuda". Raises CheckpointError
    where there is no such model.
    """

    def __init__(self, model: str = "unet", device: str = "auto") -> None:
        path, self.origin = checkpoint.resolve(model)
        self.detector, self.card = checkpoint.load_detector(path, devices.pick(device))
        self.names = self.detector.config.names
        self._factors = _factors(self.card.metrics.get("radius90"), len(self.names))

    def predict(self, image: object) -> list[Face]:
        """The faces in a picture: a path, a Pillow image, or a uint8 array (H, W) or (H, W, 3).

        The whole picture is taken as one face, stretched to the model's size. Raises DataError for anything else.
        """
        return self.predict_many([image])[0]

    def predict_many(
        self, pictures: Sequence[object], *, flip: bool = False, progress: Progress = silent
    ) -> list[list[Face]]:
        """`predict` for several pictures at once; `flip` averages with the prediction of the mirrored picture."""
        if not pictures:
            return []
        config = self.detector.config
        arrays = [images.check(picture) for picture in pictures]
        fitted = [images.fit(array, config.size, config.channels) for array in arrays]
        found = run([self.detector], np.stack([pixels for pixels, _ in fitted]), flip=flip, progress=progress)
        back = invert_affine(np.stack([affine for _, affine in fitted]))
        points = apply_affine(back, found.points).astype(np.float32)
        # A picture stretched unevenly has ellipses where the network saw circles; the longer side is the safe one.
        radius = self._factors * found.spread * np.linalg.norm(back[:, :, :2], ord=2, axis=(1, 2))[:, None]
        return [
            [
                Face(
                    (-0.5, -0.5, float(array.shape[1]), float(array.shape[0])),
                    points[i],
                    found.scores[i],
                    radius[i].astype(np.float32),
                )
            ]
            for i, array in enumerate(arrays)
        ]

    def describe(self, path: Path, size: tuple[int, int], faces: Sequence[Face]) -> dict[str, Any]:
        """One picture's faces as plain values, as ``kptool predict --json`` prints them; `size` is (H, W)."""
        return {
            "file": str(path),
            "width": size[1],
            "height": size[0],
            "faces": [
                {
                    "box": list(face.box),
                    "keypoints": [
                        {
                            "name": name,
                            "x": round(float(x), 4),
                            "y": round(float(y), 4),
                            "score": round(float(score), 4),
                            "radius90": None if np.isnan(radius) else round(float(radius), 4),
                        }
                        for name, (x, y), score, radius in zip(
                            self.names, face.keypoints, face.scores, face.radius90, strict=True
                        )
                    ],
                }
                for face in faces
            ],
        }


def _factors(stored: object, count: int) -> NDArray[np.float32]:
    """The radii's factors as a weights file states them, NaN where it does not, or states nonsense."""
    if not isinstance(stored, list) or len(stored) != count or not all(isinstance(f, float | int) for f in stored):
        return np.full(count, np.nan, np.float32)
    factors = np.array(stored, np.float64)
    return np.where(np.isfinite(factors) & (factors > 0), factors, np.nan).astype(np.float32)
