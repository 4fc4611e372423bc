"""`kptool.evaluate` on labels of whole pictures: instances are found and compared with all that are labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kptool.api.result import Result, remark
from kptool.base.config import require
from kptool.base.errors import DataError
from kptool.data import intensity
from kptool.data.notes import counted
from kptool.data.pictures import InputPicture
from kptool.data.sources import Opening
from kptool.data.truth import LabelledPicture, labelled_pictures
from kptool.evaluation import coco, coco_results, instances, seen_pictures, sigmas
from kptool.evaluation.coco import CocoScores, FoundInstances
from kptool.evaluation.instances import InstanceMetrics
from kptool.evaluation.shared_keypoints import shared
from kptool.network.label_shift import AS_LABELLED
from kptool.predict import stream
from kptool.predict.predictor import Predictor
from kptool.system.processors import READERS
from kptool.system.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from kptool.report.canvas import Figure

_AHEAD = 16
_TRAINED = "{n} of these pictures {are} of the training, so the numbers are too good; --split val leaves them out"


@dataclass(frozen=True)
class Options:
    """How predictions are compared.

    sigmas: see `kptool.evaluation.sigmas.choose`. area_of_box: an instance's area as a share of its box, None for the labels'
    own where they have any. score: least score of the instances that precision, recall, PCK and distances are about, None
    for the finder's own threshold. oks: from which OKS on a prediction matches. split: "val" for the pictures that the model
    was not trained on, "train" for the others, or "all". coco: where to write the predictions as COCO's results. Raises
    ConfigError for values out of range.
    """

    sigmas: str | float | None = None
    area_of_box: float | None = None
    score: float | None = None
    oks: float = 0.5
    split: str = "all"
    coco: Path | None = None

    def __post_init__(self) -> None:
        share = self.area_of_box
        require(share is None or 0 < share <= 2, f"--area-of-box is a share of the box, above 0 to 2; got {share}")
        require(self.score is None or 0 <= self.score <= 1, f"--score must be 0 to 1; got {self.score}")
        require(0 < self.oks <= 1, f"--oks must be above 0 and at most 1; got {self.oks}")


@dataclass(frozen=True)
class PicturesResult(Result):
    """The accuracy of a model on whole pictures.

    model: the weights, in words. points: what the predictions were compared as, "labelled". labels: their file or folder.
    coco: COCO's numbers, see `kptool.evaluation.coco.CocoScores`. instances: precision, recall, PCK and distances, see
    `kptool.evaluation.instances.InstanceMetrics`, of instances that were found with at least `score`. sigmas: by keypoint;
    sigmas_from, area_from: where they come from, in words. files: the pictures' names. trained_on: how many of the pictures
    the model is known to have been trained on. found: the predictions of each picture, with keypoints as in `sigmas`.
    """

    model: str
    points: str
    labels: Path
    coco: CocoScores
    instances: InstanceMetrics
    score: float
    sigmas: dict[str, float]
    sigmas_from: str
    area_from: str
    options: Options
    files: tuple[str, ...]
    trained_on: int
    found: Sequence[FoundInstances] = field(repr=False)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The document of ``kptool evaluate --json``."""
        ap, ar, found = self.coco.ap, self.coco.ar, self.instances
        return {
            "model": self.model,
            "points": self.points,
            "labels": str(self.labels),
            "split": self.options.split,
            "trained_on": self.trained_on,
            "pictures": len(self.files),
            **{key: getattr(found, key) for key in ("instances", "ignored", "found", "missed", "extra")},
            "map": ap["all"],
            "map50": self.coco.ap50,
            "map75": self.coco.ap75,
            "map_medium": ap["medium"],
            "map_large": ap["large"],
            "mar": ar["all"],
            "mar50": self.coco.ar50,
            "mar75": self.coco.ar75,
            "mar_medium": ar["medium"],
            "mar_large": ar["large"],
            **{key: getattr(found, key) for key in ("precision", "recall", "pck", "pck_found", "distance")},
            "keypoints": {name: {**asdict(each), "sigma": self.sigmas[name]} for name, each in found.keypoints.items()},
            "score_threshold": self.score,
            "oks_threshold": self.options.oks,
            "most_predictions": self.coco.most,
            "sigmas": self.sigmas,
            "sigmas_from": self.sigmas_from,
            "area_from": self.area_from,
            "notes": list(self.notes),
        }

    def plot(self) -> Figure:
        """The mean distance of each keypoint, of found instances, in pixels."""
        from kptool.report import charts

        values = {name: each.distance for name, each in self.instances.keypoints.items()}
        return charts.keypoint_bars({self.model: values}, unit="mean distance, px")

    def to_pandas(self) -> pd.DataFrame:
        """A row per keypoint: labelled, distance, its PCK, sigma. The index is its name."""
        import pandas as pd

        rows = {
            name: {
                "labelled": each.labelled,
                "distance": each.distance,
                **{f"pck_{level}": share for level, share in each.pck.items()},
                "sigma": self.sigmas[name],
            }
            for name, each in self.instances.keypoints.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("keypoint")

    def _heads(self) -> tuple[str, ...]:
        return f"{self.model}, {len(self.files)} pictures", ""

    def _rows(self) -> Sequence[tuple[str, ...]]:
        from kptool.report.instance_tables import instance_rows

        return instance_rows(self.to_dict())


def evaluate_pictures(
    predictor: Predictor, path: Path, opening: Opening, options: Options, progress: Progress = silent
) -> PicturesResult:
    """Predict on all pictures that the labels at `path` are about, and compare. `predictor` predicts as labelled.

    Raises DataError for bad input, or where nothing can be compared, ConfigError where pycocotools is not installed.
    """
    coco.require()
    source = labelled_pictures(path, opening, options.area_of_box)
    same = shared(source.names, predictor.names)
    used = seen_pictures.seen(source, predictor.card.data)
    source = seen_pictures.part(source, used, options.split, str(path))
    truth = [same.labels(each) for each in source.pictures]
    if all(each.ignored.all() for each in truth):
        raise DataError(
            f"{path} has no instance with a labelled keypoint that is compared, so there is nothing to measure"
        )
    predicted, odd = _predict(predictor, source.pictures, progress)
    found = [replace(each, points=same.predicted(each.points)) for each in predicted]
    if options.coco is not None:
        coco_results.write(options.coco, source, same, found)
    chosen = _sigmas(same.names, options, truth, found)
    scores = coco.evaluate(truth, found, chosen.values, options.oks)
    least = _least(predictor, options)
    sure = [each.at_least(least) for each in found]
    fewer = any(len(one.scores) < len(each.scores) for one, each in zip(sure, found, strict=True))
    matches = coco.evaluate(truth, sure, chosen.values, options.oks).matches if fewer else scores.matches
    trained = 0 if used is None or options.split == "val" else int(used.sum())
    notes = (*source.notes, *same.notes, *odd, *_limits(scores), *counted(trained, _TRAINED))
    for text in notes:
        remark(text)
    return PicturesResult(
        predictor.origin,
        AS_LABELLED,
        path,
        scores,
        instances.measure(truth, sure, matches, same.names),
        least,
        dict(zip(same.names, chosen.values.tolist(), strict=True)),
        chosen.origin,
        source.area_from,
        options,
        tuple(each.name for each in truth),
        trained,
        found,
        notes,
    )


def _sigmas(
    names: Sequence[str], options: Options, truth: Sequence[LabelledPicture], found: Sequence[FoundInstances]
) -> sigmas.Sigmas:
    """The sigmas; those that are estimated rest on matches with the ones that would be used otherwise."""
    if options.sigmas != sigmas.ESTIMATE:
        return sigmas.choose(names, options.sigmas)
    first = coco.evaluate(truth, found, sigmas.choose(names, None).values, options.oks)
    return sigmas.estimated(instances.relative_errors(truth, found, first.matches), names)


def _least(predictor: Predictor, options: Options) -> float:
    """The score from which an instance counts as found: the one given, else that from which `predict` reports it."""
    if options.score is not None:
        return options.score
    return 0.0 if predictor.finder is None else predictor.finder.config.threshold


def _limits(scores: CocoScores) -> tuple[str, ...]:
    """A note where more predictions count than COCO counts."""
    if scores.most == coco.MOST:
        return ()
    return (
        f"the best {scores.most} predictions of a picture count, as many as are labelled in one; COCO counts {coco.MOST}",
    )


def _predict(
    predictor: Predictor, pictures: Sequence[LabelledPicture], progress: Progress
) -> tuple[list[FoundInstances], tuple[str, ...]]:
    """The predictions for each picture, and remarks on how pictures were decoded. Raises DataError for a picture that cannot
    be read."""
    done = stream.run(predictor, _read(pictures), len(pictures), progress=progress)
    keypoints = len(predictor.names)
    found = [
        FoundInstances(
            np.array([one.keypoints for one in each.faces], np.float32).reshape(-1, keypoints, 2),
            np.array([one.confidence for one in each.faces], np.float64),
            np.array([one.confidence if one.score is None else one.score for one in each.faces], np.float64),
        )
        for each in done.found
    ]
    return found, tuple(intensity.remark_notes(done.remarks))


def _read(pictures: Sequence[LabelledPicture]) -> Iterator[InputPicture]:
    """The pictures in order, some read ahead."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(pictures), _AHEAD):
            some = pictures[start : start + _AHEAD]
            for each, decoded in zip(some, pool.map(lambda picture: picture.read(), some), strict=True):
                yield InputPicture(each.name, decoded.pixels, remarks=decoded.remarks)
