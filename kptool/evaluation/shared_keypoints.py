"""Which keypoints of labels and of a model are the same, so that a model can be measured on labels of another scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.face68 import PARTS, is_face68
from kptool.data.notes import listed
from kptool.data.truth import LabelledPicture

Group = tuple[int, ...]


@dataclass(frozen=True)
class SharedKeypoints:
    """The keypoints that both have. names: of the K keypoints. truth, model: for each, the indices of the labels' and of the
    model's keypoints whose mean it is. notes: what is left out, one sentence each."""

    names: tuple[str, ...]
    truth: tuple[Group, ...]
    model: tuple[Group, ...]
    notes: tuple[str, ...] = ()

    def labels(self, picture: LabelledPicture) -> LabelledPicture:
        """The picture with these keypoints alone; a mean is labelled where all of its points are."""
        points = mean(picture.points, self.truth).astype(np.float64)
        seen = [picture.visibility[:, group] for group in self.truth]
        least = np.stack([each.min(1) for each in seen], 1) if len(self.truth) else picture.visibility
        return replace(picture, points=points, visibility=least)

    def predicted(self, points: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """A model's keypoints (m, K', 2) as these (m, K, 2)."""
        return mean(points, self.model)


def mean(points: NDArray[np.floating[Any]], groups: Sequence[Group]) -> NDArray[np.floating[Any]]:
    """The mean (n, K, 2) of the points (n, K', 2) in each of K groups."""
    return np.stack([points[:, group].mean(1) for group in groups], 1)


def shared(truth: Sequence[str], model: Sequence[str]) -> SharedKeypoints:
    """Match keypoints by name; the 68 points of a face, which have numbers, give the features of a face that they surround.

    truth, model: the names of the labels' and of the model's keypoints. Raises DataError where no keypoint is the same.
    """
    features = _features(truth), _features(model)
    same = [name for name in model if name in features[0]]
    if set(truth) & set(model):
        features = tuple({name: (k,) for k, name in enumerate(names)} for names in (truth, model))  # type: ignore[assignment]
        same = [name for name in model if name in set(truth)]
    elif not same:
        same = [name for name in truth if name in features[1]]
    if not same:
        raise DataError(
            f"the labels have keypoints {listed(truth)}, and the model {listed(model)}: none is the same, so there is nothing to"
            " compare; give labels with the model's names, or train on these"
        )
    groups = [tuple(each[name] for name in same) for each in features]
    notes = [
        f"{whose} {listed(left)} {'is' if len(left) == 1 else 'are'} not compared, as {other} none of that name"
        for names, used, whose, other in (
            (truth, groups[0], "the labels'", "the model has"),
            (model, groups[1], "the model's", "the labels have"),
        )
        if (left := _unused(names, used))
    ]
    return SharedKeypoints(tuple(same), groups[0], groups[1], tuple(notes))


def _features(names: Sequence[str]) -> dict[str, Group]:
    """The indices of each named keypoint, or with the 68 points of a face, of each of its named features."""
    return dict(PARTS) if is_face68(names) else {name: (k,) for k, name in enumerate(names)}


def _unused(names: Sequence[str], used: Sequence[Group]) -> list[str]:
    inside = {k for group in used for k in group}
    return [name for k, name in enumerate(names) if k not in inside]
