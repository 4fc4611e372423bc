"""The result of a prediction: the instances found in one picture, which a notebook shows with their keypoints."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kptool.base.geometry import Box
from kptool.data import images
from kptool.predict import drawing

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 640
"""The longest side of a picture in a notebook, pixels."""


@dataclass(frozen=True)
class Shown:
    """How a notebook shows instances: the picture as it was given, which is read again then, and the keypoints' names and
    colours."""

    picture: object
    names: Sequence[str]
    tints: Sequence[str]

    def draw(self, faces: Sequence[Instance]) -> Image.Image:
        """The picture with boxes and keypoints. Raises DataError if it is a file that is not there any more."""
        return drawing.draw(images.as_pixels(self.picture).pixels, faces, self.names, tints=self.tints)

    def to_html(self, faces: Sequence[Instance]) -> str:
        """The picture as an HTML element, made smaller if it is large."""
        drawn, buffer = self.draw(faces), io.BytesIO()
        drawn.thumbnail((_SHOWN, _SHOWN))
        drawn.save(buffer, "JPEG", quality=90)
        data = base64.b64encode(buffer.getvalue()).decode()
        return f'<img alt="a picture with keypoints" src="data:image/jpeg;base64,{data}">'


@dataclass(frozen=True)
class Instance:
    """One face or other object in one picture, in pixels of that picture; an integer coordinate is a pixel's centre.

    box: (x, y, width, height) as detected or given; x and y are its left and top edges. keypoints: float32 (K, 2), the
    features' positions or the labels', as `Predictor.points` says; NaN, with score 0, for a keypoint that no training
    image had labelled, and NaN for one that is `absent`. scores: float32 (K,), 0..1: the probability that the keypoint
    is there, if the model is calibrated, otherwise the height of the heatmap's peak, as `Predictor.scores` says; 1 for
    direct regression, which has no heatmaps. radius90: float32 (K,), the radius in pixels around each keypoint that
    contained the label for 90 % of the validation images; around a feature this assumes that the labels' offset is the
    same in every picture; NaN if the model does not provide it. affine: float64 (2, 3), picture's pixels -> pixels of
    the model's input. heatmaps: float32 (K, h, w), if requested and the model has them. shown: how a notebook shows it,
    if it can. absent: bool (K,), the keypoints whose scores are below the predictor's `min_score`; None without one.
    track: its number in a video that is tracked. score: 0..1, with which it was found, None if it was not searched for.
    raw: float32 (K, 2), the keypoints before smoothing, if they are smoothed. ellipse90: float32 (K, 3), where errors are larger
    in one direction, an ellipse that contained the label as often as the circle of `radius90` and is smaller: its semi-axes
    in pixels, the longer first, and the angle of that from x towards y in degrees; NaN for other keypoints, None without any.
    """

    box: Box
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    radius90: NDArray[np.float32]
    affine: NDArray[np.float64] = field(repr=False)
    heatmaps: NDArray[np.float32] | None = field(default=None, repr=False)
    shown: Shown | None = field(default=None, repr=False, compare=False)
    track: int | None = None
    raw: NDArray[np.float32] | None = field(default=None, repr=False)
    absent: NDArray[np.bool_] | None = field(default=None, repr=False)
    score: float | None = None
    ellipse90: NDArray[np.float32] | None = None

    @property
    def confidence(self) -> float:
        """0..1, by which instances are ranked: the mean score of its keypoints that have a position, times the score with which
        it was found if it was searched for; 0 without any position."""
        known = np.isfinite(self.keypoints).all(1)
        mean = float(self.scores[known].mean()) if known.any() else 0.0
        return mean if self.score is None else mean * self.score

    def without_absent(self, min_score: float) -> Instance:
        """The same instance without position and radius for keypoints with a score below `min_score`."""
        learnt = np.isfinite(self.keypoints).all(1)
        absent = learnt & (self.scores < min_score)
        nan = np.float32(np.nan)
        points, radius = np.where(absent[:, None], nan, self.keypoints), np.where(absent, nan, self.radius90)
        ellipse = None if self.ellipse90 is None else np.where(absent[:, None], nan, self.ellipse90)
        return replace(self, keypoints=points, radius90=radius, ellipse90=ellipse, absent=absent)

    def _repr_html_(self) -> str | None:
        """The picture with the keypoints, called by IPython; None where the picture is not known."""
        return None if self.shown is None else self.shown.to_html([self])


class Instances(list[Instance]):
    """The instances of one picture, a list that a notebook shows as the picture with all keypoints."""

    def __init__(self, faces: Iterable[Instance], shown: Shown) -> None:
        super().__init__(faces)
        self.shown = shown

    def draw(self) -> Image.Image:
        """The picture with boxes and keypoints as a Pillow image, enlarged if it is small."""
        return self.shown.draw(self)

    def to_pandas(self) -> pd.DataFrame:
        """A row per instance and keypoint: its number, the name, x and y in pixels of the picture, score, radius90."""
        import pandas as pd

        names = self.shown.names
        rows = [
            (number, name, *point, score, radius)
            for number, face in enumerate(self)
            for name, point, score, radius in zip(names, face.keypoints, face.scores, face.radius90, strict=True)
        ]
        return pd.DataFrame(rows, columns=["instance", "keypoint", "x", "y", "score", "radius90"])

    def _repr_html_(self) -> str:
        """The picture with all keypoints, called by IPython."""
        count = f"{len(self)} instance{'s' * (len(self) != 1)}"
        return f"<p>{html.escape(count)}</p>{self.shown.to_html(self)}"
