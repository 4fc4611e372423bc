"""COCO's own evaluation of keypoints, by pycocotools: AP and AR, and which prediction is whose.

Nothing of the evaluation is done here: truth and predictions are handed over in memory, and the result is read back.
COCO's rules: predictions of a picture are matched best score first; crowds, and instances without a labelled keypoint, count
neither way, and neither does what matches them; only the best `MOST` predictions of a picture count.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError
from kptool.base.geometry import to_edges
from kptool.base.skeleton import UNLABELLED, VISIBLE
from kptool.base.version import install
from kptool.data.truth import LabelledPicture

MOST = 20
"""Predictions that count in a picture, in COCO's evaluation; more where a picture has more labelled instances."""
_STRICT, _LOOSE = 0.75, 0.5
_SIZES = ("all", "medium", "large")
_CATEGORY = 1


@dataclass(frozen=True)
class FoundInstances:
    """The m instances that were predicted in a picture. points: float (m, K, 2), pixels; NaN for a keypoint without a
    position. scores: float (m,), by which they are ranked. found: float (m,), with which they were found; None for `scores`."""

    points: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    found: NDArray[np.floating[Any]] | None = None

    def at_least(self, score: float) -> FoundInstances:
        """Those that were found with a score of at least `score`."""
        sure = (self.scores if self.found is None else self.found) >= score
        return FoundInstances(self.points[sure], self.scores[sure], None if self.found is None else self.found[sure])


@dataclass(frozen=True)
class Matches:
    """Which instance of the truth each of m predictions of a picture matches at one OKS threshold.

    truth: int64 (m,), -1 for none. counts: bool (m,), False where it matches what counts neither way.
    """

    truth: NDArray[np.int64]
    counts: NDArray[np.bool_]


@dataclass(frozen=True)
class CocoScores:
    """COCO's ten numbers, None where no instance has that size, and the matches in each picture.

    ap, ar: by "all", "medium" and "large" (areas of 32² to 96² and from 96² square pixels), over OKS thresholds 0.5 to
    0.95. ap50, ap75, ar50, ar75: at one threshold. most: the number of predictions that count in a picture.
    """

    ap: dict[str, float | None]
    ar: dict[str, float | None]
    ap50: float | None
    ap75: float | None
    ar50: float | None
    ar75: float | None
    most: int
    matches: Sequence[Matches]


def require() -> None:
    """Raise ConfigError where pycocotools is not installed."""
    try:
        import pycocotools.cocoeval  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ConfigError(f"measuring on whole pictures needs pycocotools: {install('coco')}") from error


def evaluate(
    truth: Sequence[LabelledPicture],
    found: Sequence[FoundInstances],
    sigmas: NDArray[np.float64],
    oks: float = _LOOSE,
) -> CocoScores:
    """Evaluate the predictions `found` of the pictures `truth`, of the same K keypoints, with `sigmas` (K,).

    `oks` is the threshold of the matches, above 0 and at most 1. A keypoint without a position is at (0, 0), as in COCO's
    files. Raises ConfigError where pycocotools is not installed.
    """
    require()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": number} for number in range(1, len(truth) + 1)]
    labelled = [row for number, each in enumerate(truth, 1) for row in truth_rows(number, each)]
    predicted = [row for number, each in enumerate(found, 1) for row in found_rows(number, each)]
    for rows in (labelled, predicted):
        for number, row in enumerate(rows, 1):
            row["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
        whole = _dataset(COCO(), images, labelled)
        other = whole.loadRes(predicted) if predicted else _dataset(COCO(), images, [])
        run = COCOeval(whole, other, "keypoints")
        run.params.kpt_oks_sigmas = sigmas
        most = max([MOST, *(int((~each.ignored).sum()) for each in truth)])
        run.params.maxDets = sorted({most, max([most, *(len(each.scores) for each in found)])})
        thresholds = run.params.iouThrs
        same = np.flatnonzero(np.isclose(thresholds, oks))
        if not len(same):
            run.params.iouThrs = np.append(thresholds, oks)
        run.evaluate()
        run.accumulate()
    matches = _matches(run, truth, found, labelled, int(same[0]) if len(same) else len(thresholds))
    return CocoScores(**_stats(run, len(thresholds)), most=most, matches=matches)


def _dataset(coco: Any, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> Any:
    category = {"id": _CATEGORY, "name": "instance"}
    coco.dataset = {"info": {}, "images": images, "annotations": annotations, "categories": [category]}
    coco.createIndex()
    return coco


def truth_rows(image: int, picture: LabelledPicture) -> list[dict[str, Any]]:
    """A picture's instances as annotations of COCO's, without ids."""
    rows = []
    for points, seen, box, area, crowd in zip(
        picture.points, picture.visibility, picture.boxes.tolist(), picture.areas.tolist(), picture.crowd, strict=True
    ):
        left, top = to_edges(np.array(box[:2])).tolist()
        rows.append(
            {
                "image_id": image,
                "category_id": _CATEGORY,
                "keypoints": np.column_stack([points, seen]).ravel().tolist(),
                "num_keypoints": int((seen > 0).sum()),
                "bbox": [left, top, *box[2:]],
                "area": area,
                "iscrowd": int(crowd),
            }
        )
    return rows


def found_rows(image: int | str, found: FoundInstances, category: int = _CATEGORY) -> list[dict[str, Any]]:
    """The predictions for a picture as results of COCO's."""
    rows: list[dict[str, Any]] = []
    for points, score in zip(found.points.astype(np.float64), found.scores.tolist(), strict=True):
        known = np.isfinite(points).all(-1)
        flat = np.column_stack([np.where(known[:, None], points, 0), np.where(known, VISIBLE, UNLABELLED)])
        rows.append(
            {"image_id": image, "category_id": category, "keypoints": flat.ravel().tolist(), "score": float(score)}
        )
    return rows


def _stats(run: Any, thresholds: int) -> dict[str, Any]:
    """The numbers that COCO summarises, of the first `thresholds` OKS thresholds and the fewest predictions a picture."""
    precision, recall = run.eval["precision"][:thresholds], run.eval["recall"][:thresholds]
    sizes = {name: run.params.areaRngLbl.index(name) for name in _SIZES}

    def at(oks: float) -> int:
        return int(np.flatnonzero(np.isclose(run.params.iouThrs, oks))[0])

    return {
        "ap": {name: _mean(precision[:, :, :, size, 0]) for name, size in sizes.items()},
        "ar": {name: _mean(recall[:, :, size, 0]) for name, size in sizes.items()},
        "ap50": _mean(precision[at(_LOOSE), :, :, 0, 0]),
        "ap75": _mean(precision[at(_STRICT), :, :, 0, 0]),
        "ar50": _mean(recall[at(_LOOSE), :, 0, 0]),
        "ar75": _mean(recall[at(_STRICT), :, 0, 0]),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of the values that COCO has; -1 stands for none."""
    known = values[values > -1]
    return float(known.mean()) if len(known) else None


def _matches(
    run: Any,
    truth: Sequence[LabelledPicture],
    found: Sequence[FoundInstances],
    labelled: Sequence[dict[str, Any]],
    threshold: int,
) -> list[Matches]:
    """The matches in each picture at the OKS threshold with this number, of instances of any size."""
    place: dict[int, int] = {}
    first: dict[int, int] = {}
    for row in labelled:  # ids ascend within a picture
        place[row["id"]] = row["id"] - first.setdefault(row["image_id"], row["id"])
    matches = [Matches(np.full(len(each.scores), -1), np.ones(len(each.scores), np.bool_)) for each in found]
    starts = np.cumsum([0, *(len(each.scores) for each in found)])
    everything = run.params.areaRng[0]
    for entry in run.evalImgs:
        if entry is None or entry["aRng"] != everything:
            continue
        number = int(entry["image_id"]) - 1
        which = np.array(entry["dtIds"], np.int64) - 1 - starts[number]
        whose = [place[int(each)] if each > 0 else -1 for each in entry["dtMatches"][threshold]]
        matches[number].truth[which] = whose
        matches[number].counts[which] = ~entry["dtIgnore"][threshold].astype(bool)
    return matches
