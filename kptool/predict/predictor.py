"""The Python interface for prediction.

    picture -> found instances (or boxes, or the whole picture) -> crops -> keypoints -> refined crops -> keypoints

A run with a finder of its own finds its instances with that; a model of a face's keypoints finds faces with YuNet.

If the first crop shows an object too large, too small or off-centre, or a face tilted, it is cropped again from its predicted
keypoints, so results depend little on how tight a box is or how far a head is tilted. That needs training images that were
cut out about their keypoints or turned upright, or faces. Torch is imported only if the model needs it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kptool.base.config import require
from kptool.base.errors import ConfigError, DataError
from kptool.base.geometry import Box, Size, apply_affine, invert_affine
from kptool.data import colours, images, intensity
from kptool.data.notes import listed
from kptool.network import cards
from kptool.network.presence import CALIBRATED, CONSTANT, HEIGHT
from kptool.predict import backends, crops, faces, finding
from kptool.predict.backends import Output
from kptool.predict.instances import Instances, Shown
from kptool.predict.regions import FOLLOWED, FRAMED, NEAR, Region, instance_of
from kptool.predict.things import Thing
from kptool.system.progress import Progress, silent

log = logging.getLogger(__name__)

_LARGEST = 1e6
"""Largest coordinate of a box, in pixels."""
_REFINEMENTS = 3


class Predictor:
    """A trained model that predicts on pictures of any size. Instances can be shared between threads.

    `model` is a name, a run folder, a weights file or an exported .onnx; `device` is "auto", "cpu" or "cuda". `detect`
    selects between finding instances and treating the whole picture as one, in one look; None finds them if the run has a
    finder or the model's keypoints are a face's. `flip` averages with the prediction for the mirrored picture. Keypoints are the
    features' positions, as far as the offset of the training data's labels is known; with `as_labelled`, the positions
    where labels would be. `points` says which of the two they are, `shift` describes the offset. Keypoints with a score
    below `min_score`, 0..1, are absent: they have NaN for a position; `scores` says in words what a score is. Instances
    are found with a score of at least `find_score`, by default the finder's own threshold. Raises CheckpointError if
    the model does not exist, ConfigError if it does not support the options.

    >>> import numpy as np
    >>> predictor = Predictor("unet")
    >>> predictor.predict(np.zeros((120, 160), np.uint8))  # no face
    []
    >>> face = predictor.predict(np.zeros((120, 160), np.uint8), boxes=[(40, 30, 60, 60)])[0]
    >>> face.keypoints.shape, face.scores.shape, predictor.names[0]
    ((15, 2), (15,), 'left_eye_center')
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "unet",
        device: str = "auto",
        *,
        detect: bool | None = None,
        flip: bool = False,
        as_labelled: bool = False,
        min_score: float | None = None,
        find_score: float | None = None,
    ) -> None:
        require(min_score is None or 0 <= min_score <= 1, f"min_score must be 0 to 1; got {min_score}")
        require(find_score is None or 0 <= find_score <= 1, f"find_score must be 0 to 1; got {find_score}")
        path, self.origin = cards.resolve(str(model))
        self.weights, self.flip = path, flip
        self.backend = backends.load(path, device, flip=flip)
        self.card = self.backend.card
        cards.warn_unflipped(self.card.config, flip)
        self.names = self.card.config.names
        self.as_labelled, self.shift = as_labelled, self.card.shift
        self.points = self.shift.points(as_labelled)
        self._off = np.zeros_like(self.shift.vector()) if as_labelled else self.shift.vector()
        self._off[np.isin(self.names, self.card.unlearnt)] = np.nan
        self._ellipses = backends.ellipses(self.card)
        self._aligner = crops.Aligner.of(self.card)
        self._refiner: crops.Refiner | None = self._aligner
        self._near = NEAR
        follower = crops.Follower.of(self.card)
        if self._aligner is not None and follower is not None:
            self._refiner, self._near = crops.FaceFollower(self._aligner, follower), FOLLOWED
        elif self._aligner is None and self.backend.has_heatmaps:  # without, no score tells the better look
            self._refiner = crops.Turner.of(self.card) or follower
        self._looks_again = detect is not False
        self.thing, self.min_score = Thing.of(self.card), min_score
        require(
            min_score is None or self.backend.has_heatmaps,
            f"{self.origin} predicts coordinates and its scores are all 1, so --min-score has no meaning; leave it out",
        )
        self.finder = finding.load(path, device) if detect is not False else None
        if find_score is not None:
            if self.finder is None:
                raise ConfigError(
                    f"{self.origin} is used without a finder of its own, so --find-score has no meaning; leave it out"
                )
            self.finder.threshold = find_score
        can = self.finder is not None or self._aligner is not None
        self.detect = can if detect is None else detect
        if self.detect and not can:
            raise ConfigError(
                f"{self.origin} cannot find anything: it was trained without a finder, and its keypoints are not a face's; use"
                " --no-detect or --box"
            )

    @property
    def calibrated(self) -> NDArray[np.bool_]:
        """The keypoints (K,) whose scores are probabilities of being there."""
        presence = self.card.presence
        known = np.zeros(len(self.names), np.bool_) if presence is None else presence.known
        return known & ~np.isin(self.names, self.card.unlearnt) & self.backend.has_heatmaps

    @property
    def scores(self) -> str:
        """What a keypoint's score is, in words."""
        if not self.backend.has_heatmaps:
            return CONSTANT
        if not self.calibrated.any():
            return HEIGHT
        others = [n for n, k in zip(self.names, self.calibrated, strict=True) if not (k or n in self.card.unlearnt)]
        return f"{CALIBRATED}; of {listed(others)} it is {HEIGHT}" if others else CALIBRATED

    @cached_property
    def tints(self) -> list[str]:
        """The colour of each keypoint in pictures: see `kptool.data.colours`."""
        config, data = self.card.config, self.card.data
        return colours.of(config.names, config.flip_pairs, data.get("turned_shape") or data.get("mean_shape"))

    def predict(self, image: object, *, boxes: Sequence[Box] | None = None, heatmaps: bool = False) -> Instances:
        """The faces or other objects in a picture, from left to right.

        `image` is a path, a Pillow image, or an array (H, W) or (H, W, 3). Arrays of other types than uint8 are scaled to
        0..255 as pictures are, see `kptool.data.intensity`. `boxes` (x, y, width, height), in pixels, replace face
        detection. Raises DataError for an invalid picture or box.
        """
        return self.predict_many([image], boxes=None if boxes is None else [boxes], heatmaps=heatmaps)[0]

    def predict_many(
        self,
        pictures: Sequence[object],
        *,
        boxes: Sequence[Sequence[Box]] | None = None,
        heatmaps: bool = False,
        progress: Progress = silent,
    ) -> list[Instances]:
        """`predict` for several pictures in one batch, which is faster; `boxes` holds a list of boxes per picture.

        The instances hold on to pictures that are given as arrays or Pillow images, for notebooks to show.
        """
        if boxes is not None and len(boxes) != len(pictures):
            raise DataError(f"boxes are given for {len(boxes)} of {len(pictures)} pictures; give one list per picture")
        arrays = _pixels(pictures)
        regions: list[Region] = []
        for number, array in enumerate(arrays):
            regions += self._first_crops(number, array, None if boxes is None else boxes[number])
            progress("pictures", number + 1, len(arrays))
        found = [Instances((), Shown(picture, self.names, self.tints)) for picture in pictures]
        if not regions:
            return found
        output = self._run(regions, arrays, heatmaps)
        again = boxes is not None or (self.detect if self._aligner is not None else self._looks_again)
        if self._refiner is not None and again:
            regions, output = self._refine(regions, arrays, output, heatmaps)
        for i, region in enumerate(regions):
            one = instance_of(region, output, i, self._off, self._ellipses, found[region.picture].shown)
            found[region.picture].append(one if self.min_score is None else one.without_absent(self.min_score))
        return found

    def _first_crops(self, number: int, image: NDArray[np.uint8], boxes: Sequence[Box] | None) -> list[Region]:
        """The crops of one picture before refinement: one per detected face or box, or the whole picture."""
        height, width = image.shape[:2]
        size = self.card.config.size
        if boxes is None and self.detect and self.finder is not None:
            # boxes as in the training data, also of faces, whose detector draws others
            found = [(each, crops.from_box(each.box, self.card)) for each in self.finder.find(image)]
            return [
                Region(number, each.box, affine, each.score)
                for each, affine in found
                if crops.sane(affine, size, (height, width))
            ]
        if boxes is None and self.detect:
            assert self._aligner is not None
            each = [(face, self._aligner.from_five_points(face.landmarks)) for face in faces.find(image)]
            regions = [
                Region(number, face.box, affine, face.score, self._near)
                for face, affine in each
                if crops.sane(affine, size, (height, width))
            ]
            only = len(regions) == 1 and not isinstance(self._refiner, crops.FaceFollower)
            return [self._framed(regions[0], (height, width))] if only else regions
        if boxes is None:
            whole = crops.whole_box((height, width))
            return [Region(number, whole, crops.whole((height, width), size))]
        for box in boxes:
            if len(box) != 4 or not np.isfinite(box).all() or min(box[2:]) <= 0 or np.abs(box).max() > _LARGEST:
                raise DataError(f"a box is x,y,width,height in pixels, width and height above 0; got {box}")
        regions = [Region(number, box, self._from_box(box), near=self._near) for box in boxes]
        outside = [region.box for region in regions if not crops.sane(region.affine, size, (height, width))]
        if outside:
            raise DataError(
                f"the box {outside[0]} lies outside the picture of {width}x{height} pixels, or is too small"
            )
        return regions

    def _framed(self, region: Region, picture: Size) -> Region:
        """A picture's only face: the whole picture if that shows it as the training images do, which were pictures too."""
        assert self._aligner is not None
        size = self.card.config.size
        whole = crops.whole(picture, size)
        off = crops.shift(whole, region.affine, self._aligner.shape) / max(size)
        return replace(region, affine=whole, near=FRAMED) if off <= FRAMED else region

    def _from_box(self, box: Box) -> NDArray[np.float64]:
        return self._aligner.from_box(box) if self._aligner else crops.from_box(box, self.card)

    def _refine(
        self, regions: list[Region], arrays: list[NDArray[np.uint8]], output: Output, heatmaps: bool
    ) -> tuple[list[Region], Output]:
        """Crop and predict again wherever the predicted keypoints ask for another crop, until none does."""
        regions = list(regions)
        for _ in range(_REFINEMENTS):
            refined = {i: self._refined(region, arrays, output.points[i]) for i, region in enumerate(regions)}
            changed = {i: region for i, region in refined.items() if region is not None}
            if not changed:
                break
            seen = self._run(list(changed.values()), arrays, heatmaps)
            surer = seen.scores.mean(1) >= output.scores[list(changed)].mean(1)
            if self._aligner is None and not surer.all():  # the first look may have been too poor
                changed = {i: region for (i, region), sure in zip(changed.items(), surer, strict=True) if sure}
                seen = seen.take(surer)
            if not changed:
                break
            output = output.replaced(list(changed), seen)
            for i, region in changed.items():
                regions[i] = region
        return regions, output

    def _refined(self, region: Region, arrays: list[NDArray[np.uint8]], points: NDArray[np.float32]) -> Region | None:
        """The crop that fits predicted points (K, 2); None if it is nearly the same crop, or not a usable one.

        The points are as labelled, like those of the training images.
        """
        assert self._refiner is not None
        affine = self._refiner.from_keypoints(apply_affine(invert_affine(region.affine), points))
        height, width = arrays[region.picture].shape[:2]
        if not crops.sane(affine, self.card.config.size, (height, width)):
            return None
        near = crops.shift(region.affine, affine, self._refiner.shape) <= region.near * max(self.card.config.size)
        return None if near else replace(region, affine=affine, near=self._near)

    def _run(self, regions: list[Region], arrays: list[NDArray[np.uint8]], heatmaps: bool) -> Output:
        """Cut the regions out of their pictures and predict on them."""
        config = self.card.config
        cut = [images.crop(arrays[each.picture], each.affine, config.size, config.channels) for each in regions]
        return self.backend.run(np.stack(cut), heatmaps=heatmaps)


def _pixels(pictures: Sequence[object]) -> list[NDArray[np.uint8]]:
    """The pictures' pixels; remarks on them are logged, one line for each kind."""
    decoded = [images.as_pixels(picture) for picture in pictures]
    named = [(f"picture {number}", each.remarks) for number, each in enumerate(decoded)]
    for sentence in intensity.remark_notes(named):
        log.log(logging.WARNING if sentence.endswith(intensity.FLAT) else logging.INFO, "%s", sentence)
    return [each.pixels for each in decoded]
