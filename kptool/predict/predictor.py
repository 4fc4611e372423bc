"""Prediction on pictures, the Python way in.

    picture -> faces found (or a box, or the whole picture) -> crops, upright -> keypoints -> crops again -> keypoints

A second look, where the first one saw a face too large, small, tilted or far off, starts from the first one's
keypoints, so that it matters little how tight a box was or how far a head was tilted. Nothing here needs torch, unless
the model does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.base.geometry import Box, apply_affine, invert_affine
from kptool.data import colours, images, intensity
from kptool.network import cards
from kptool.predict import backends, crops, faces
from kptool.predict.backends import Output
from kptool.system.progress import Progress, silent

log = logging.getLogger(__name__)

_LARGEST = 1e6
_NEAR, _MORE_LOOKS = 0.06, 3


@dataclass(frozen=True)
class Instance:
    """One face in one picture, in that picture's pixels, where an integer is a pixel's centre.

    box: (x, y, width, height) of the face as it was found or given, x and y its left and top edge. keypoints: float32
    (K, 2), the features or where labels would be: `Predictor.points` says which; NaN, with score 0, for one that no
    training image had a label of. scores: float32 (K,), 0..1, the height of the heatmap's peak; 1 for direct regression,
    which has none. radius90: float32 (K,), pixels about each keypoint that held the label 9 times in 10 on the validation
    images; about a feature, this presumes that labels are off by the same for every face; NaN where the model does not
    say. affine: float64 (2, 3), picture's pixels -> pixels of the crop that the network saw. heatmaps: float32 (K, h, w),
    where they were asked for and the model has them.
    """

    box: Box
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    radius90: NDArray[np.float32]
    affine: NDArray[np.float64] = field(repr=False)
    heatmaps: NDArray[np.float32] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Look:
    """A face that is to be looked at: whose picture it is in, its box, and the map to the crop."""

    picture: int
    box: Box
    affine: NDArray[np.float64]


class Predictor:
    """A trained model, ready for pictures of any size. Threads may share one.

    `model` is a name, a run folder, a weights file or an exported .onnx; `device` is "auto", "cpu" or "cuda". `detect`
    says whether faces are looked for, or the whole picture is one; None looks where the model's keypoints are a
    face's. `flip` averages with the prediction of the mirrored picture. Keypoints are where the features are, as far as
    it is known how far the training data's labels lie off them; with `as_labelled`, where its labels would be. `points`
    says which of both they are, `shift` what is known. Raises CheckpointError where there is no such model, ConfigError
    for what it cannot do.

    >>> import numpy as np
    >>> predictor = Predictor("unet")
    >>> predictor.predict(np.zeros((120, 160), np.uint8))  # nobody there
    []
    >>> face = predictor.predict(np.zeros((120, 160), np.uint8), boxes=[(40, 30, 60, 60)])[0]
    >>> face.keypoints.shape, face.scores.shape, predictor.names[0]
    ((15, 2), (15,), 'left_eye_center')
    """

    def __init__(
        self,
        model: str = "unet",
        device: str = "auto",
        *,
        detect: bool | None = None,
        flip: bool = False,
        as_labelled: bool = False,
    ) -> None:
        path, self.origin = cards.resolve(model)
        self.network = backends.load(path, device, flip=flip)
        self.card = self.network.card
        cards.warn_unflipped(self.card.config, flip)
        self.names = self.card.config.names
        self.as_labelled, self.shift = as_labelled, self.card.shift
        self.points = self.shift.points(as_labelled)
        self._off = np.zeros_like(self.shift.vector()) if as_labelled else self.shift.vector()
        self._off[np.isin(self.names, self.card.unlearnt)] = np.nan
        self._aligner = crops.Aligner.of(self.card)
        self.detect = self._aligner is not None if detect is None else detect
        if self.detect and self._aligner is None:
            raise ConfigError(
                f"{self.origin} cannot find faces: its keypoints are not a face's, or it was trained by an older kptool;"
                " use --no-detect or --box"
            )

    @property
    def tints(self) -> list[str]:
        """The colour of each keypoint in pictures: see `kptool.data.colours`."""
        config, data = self.card.config, self.card.data
        return colours.of(config.names, config.flip_pairs, data.get("turned_shape") or data.get("mean_shape"))

    def predict(self, image: object, *, boxes: Sequence[Box] | None = None, heatmaps: bool = False) -> list[Instance]:
        """The faces in a picture: a path, a Pillow image, or an array (H, W) or (H, W, 3), from left to right.

        An array of other numbers than uint8 is brought to 0..255 as pictures are: see kptool.data.intensity.
        `boxes` (x, y, width, height) in pixels say where the faces are, instead of looking for them. Raises DataError
        for what is no picture or no box.
        """
        return self.predict_many([image], boxes=None if boxes is None else [boxes], heatmaps=heatmaps)[0]

    def predict_many(
        self,
        pictures: Sequence[object],
        *,
        boxes: Sequence[Sequence[Box]] | None = None,
        heatmaps: bool = False,
        progress: Progress = silent,
    ) -> list[list[Instance]]:
        """`predict` for several pictures at once, which is faster; `boxes` are those of each picture."""
        if boxes is not None and len(boxes) != len(pictures):
            raise DataError(
                f"boxes are given for {len(boxes)} of {len(pictures)} pictures; give a list of them for each"
            )
        arrays = _pixels(pictures)
        looks: list[_Look] = []
        for number, array in enumerate(arrays):
            looks += self._looks(number, array, None if boxes is None else boxes[number])
            progress("pictures", number + 1, len(arrays))
        found: list[list[Instance]] = [[] for _ in arrays]
        if not looks:
            return found
        output = self._run(looks, arrays, heatmaps)
        if self._aligner is not None and (self.detect or boxes is not None):
            looks, output = self._refine(looks, arrays, output, heatmaps)
        for i, look in enumerate(looks):
            found[look.picture].append(_face(look, output, i, self._off))
        return found

    def _looks(self, number: int, image: NDArray[np.uint8], boxes: Sequence[Box] | None) -> list[_Look]:
        """Where to look in one picture at first."""
        height, width = image.shape[:2]
        size = self.card.config.size
        if boxes is None and self.detect:
            assert self._aligner is not None
            each = [(face.box, self._aligner.from_five_points(face.landmarks)) for face in faces.find(image)]
            return [_Look(number, *look) for look in each if crops.sane(look[1], size, (height, width))]
        if boxes is None:
            return [_Look(number, (-0.5, -0.5, float(width), float(height)), crops.whole((height, width), size))]
        for box in boxes:
            if len(box) != 4 or not np.isfinite(box).all() or min(box[2:]) <= 0 or np.abs(box).max() > _LARGEST:
                raise DataError(f"a box is x,y,width,height in pixels, width and height above 0; got {box}")
        looks = [_Look(number, box, self._from_box(box)) for box in boxes]
        outside = [look.box for look in looks if not crops.sane(look.affine, size, (height, width))]
        if outside:
            raise DataError(
                f"the box {outside[0]} lies outside the picture of {width}x{height} pixels, or is too small"
            )
        return looks

    def _from_box(self, box: Box) -> NDArray[np.float64]:
        return self._aligner.from_box(box) if self._aligner else crops.from_box(box, self.card)

    def _refine(
        self, looks: list[_Look], arrays: list[NDArray[np.uint8]], output: Output, heatmaps: bool
    ) -> tuple[list[_Look], Output]:
        """Look again at the faces that lay elsewhere in their crops than faces do, until they lie well."""
        looks = list(looks)
        for _ in range(_MORE_LOOKS):
            better = {i: self._better(look, arrays, output.points[i]) for i, look in enumerate(looks)}
            again = {i: look for i, look in better.items() if look is not None}
            if not again:
                break
            output = output.replaced(list(again), self._run(list(again.values()), arrays, heatmaps))
            for i, look in again.items():
                looks[i] = look
        return looks, output

    def _better(self, look: _Look, arrays: list[NDArray[np.uint8]], points: NDArray[np.float32]) -> _Look | None:
        """Where to look instead, by what was found; None where that is much the same, or makes no sense.

        Points are as labelled here, as those of the mean shape are.
        """
        assert self._aligner is not None
        affine = self._aligner.from_keypoints(apply_affine(invert_affine(look.affine), points))
        height, width = arrays[look.picture].shape[:2]
        if not crops.sane(affine, self.card.config.size, (height, width)):
            return None
        near = crops.shift(look.affine, affine, self._aligner.shape) <= _NEAR * max(self.card.config.size)
        return None if near else _Look(look.picture, look.box, affine)

    def _run(self, looks: list[_Look], arrays: list[NDArray[np.uint8]], heatmaps: bool) -> Output:
        config = self.card.config
        cut = [images.crop(arrays[look.picture], look.affine, config.size, config.channels) for look in looks]
        return self.network.run(np.stack(cut), heatmaps=heatmaps)


def _pixels(pictures: Sequence[object]) -> list[NDArray[np.uint8]]:
    """The pictures' pixels; what was odd about them is logged, a line for each kind."""
    decoded = [images.as_pixels(picture) for picture in pictures]
    named = [(f"picture {number}", each.remarks) for number, each in enumerate(decoded)]
    for sentence in intensity.remark_notes(named):
        log.log(logging.WARNING if sentence.endswith(intensity.FLAT) else logging.INFO, "%s", sentence)
    return [each.pixels for each in decoded]


def _face(look: _Look, output: Output, i: int, off: NDArray[np.float32]) -> Instance:
    """The `i`-th face in its picture's pixels; `off` (K, 2) is taken off its points in the crop, NaN where none is learnt."""
    learnt = np.isfinite(off).all(1)
    back = invert_affine(look.affine)
    scale = np.float32(np.linalg.norm(back[:, :2], ord=2))
    return Instance(
        box=look.box,
        keypoints=apply_affine(back, output.points[i] - off).astype(np.float32),
        scores=np.where(learnt, output.scores[i], np.float32(0)),
        radius90=np.where(learnt, output.radius90[i] * scale, np.float32(np.nan)),
        affine=look.affine,
        heatmaps=None if output.heatmaps is None else output.heatmaps[i],
    )
