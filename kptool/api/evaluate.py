"""`kptool.evaluate`: the metrics of a model on the images of a cache, or on labels of whole pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kptool import plugins
from kptool.api import bars
from kptool.api.arguments import DEFAULT_CACHE, PathLike, check_split, optional_path, path_of
from kptool.api.result import Result, remark
from kptool.base.errors import ConfigError
from kptool.cache.store import Cache
from kptool.system import devices
from kptool.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from kptool.api.evaluate_pictures import PicturesResult
    from kptool.data.annotations import Dataset
    from kptool.evaluation.conformal import Coverage
    from kptool.evaluation.evaluation import Evaluation
    from kptool.evaluation.metrics import Metrics
    from kptool.evaluation.score_check import ScoreCheck
    from kptool.report.canvas import Figure

_CACHE_SUFFIXES = (".h5", ".hdf5")
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class EvaluateResult(Result):
    """The metrics of a model on one split of a cache.

    model: the weights, in words. points: what the predictions were compared as, "labelled". split: "train", "val" or "all".
    trained_on: how many of the images the model is known to have been trained on. metrics: see
    `kptool.evaluation.metrics.Metrics`. mean_shape: those of the training images' mean shape, None where they cannot be
    measured. evaluation: the predictions, points (N, K, 2) in pixels of the source images. scores: how reliable calibrated
    scores are, None where they are not calibrated, no keypoint is absent, or predictions are averaged. radius: how often 90 %
    radii that were calibrated on other groups of images hold the label, None with fewer than five groups.
    """

    model: str
    points: str
    split: str
    cache: Path
    trained_on: int
    metrics: Metrics
    mean_shape: Metrics | None
    evaluation: Evaluation = field(repr=False)
    notes: tuple[str, ...] = ()
    scores: ScoreCheck | None = None
    radius: Coverage | None = None

    @property
    def rmse(self) -> float:
        """The RMSE in pixels of the source images."""
        return self.metrics.rmse

    @property
    def nme(self) -> float:
        """The normalised mean error, see `metrics.normaliser`."""
        return self.metrics.nme

    def to_dict(self) -> dict[str, Any]:
        """The document of ``kptool evaluate --json``."""
        baseline = self.mean_shape
        return {
            "model": self.model,
            "points": self.points,
            "split": self.split,
            "trained_on": self.trained_on,
            **self.metrics.to_dict(),
            "mean_shape": None if baseline is None else {"rmse": baseline.rmse, "nme": baseline.nme},
            "presence": None if self.scores is None else self.scores.to_dict(),
            "radius90": None if self.radius is None else self.radius.to_dict(),
        }

    def plot(self) -> Figure:
        """The cumulative distribution of the images' NME, and that of the mean shape."""
        from kptool.evaluation.evaluation import mean_shape_nme
        from kptool.report import about, charts, figures

        with Cache(self.cache) as cache:
            baseline = None if self.mean_shape is None else mean_shape_nme(cache, self.split)
            return charts.cumulative(
                {self.model: figures.per_image_nme(cache, self.split, self.evaluation)},
                baseline,
                normaliser=self.metrics.normaliser,
                note=about.measured(cache, self.split),
            )

    def plot_predictions(self, count: int = 16) -> Figure:
        """`count` images from best to worst by NME, with the predictions in colour over the labels in white."""
        from kptool.report import figures

        with Cache(self.cache) as cache:
            return figures.predictions(cache, self.split, self.evaluation, count)

    def to_pandas(self) -> pd.DataFrame:
        """The RMSE of each keypoint in pixels, and that of the mean shape; NaN without labels. The index is its name."""
        import pandas as pd

        columns: dict[str, dict[str, float | None]] = {"rmse": self.metrics.per_keypoint}
        if self.mean_shape is not None:
            columns["mean_shape_rmse"] = self.mean_shape.per_keypoint
        names = list(self.metrics.per_keypoint)
        return pd.DataFrame(columns, dtype=float).reindex(names).rename_axis("keypoint")

    def _heads(self) -> tuple[str, ...]:
        title = f"{self.model}, {self.metrics.images} {self.split} images"
        return (title, "model") if self.mean_shape is None else (title, "model", "mean shape")

    def _rows(self) -> Sequence[tuple[str, ...]]:
        from kptool.report import tables

        measured = (self.metrics, *((self.mean_shape,) if self.mean_shape is not None else ()))
        rows = tables.metric_rows([each.to_dict() for each in measured], keypoints=False)
        beside = () if self.mean_shape is None else ("-",)
        return [*rows, *((*row, *beside) for row in self.checks())]

    def checks(self) -> list[tuple[str, str]]:
        """Names and texts of a table on how reliable scores and radii are."""
        return [row for each in (self.scores, self.radius) if each is not None for row in each.rows()]


def evaluate(
    model: PathLike,
    cache: PathLike = DEFAULT_CACHE,
    *,
    split: str | None = None,
    ensemble: Sequence[PathLike] = (),
    decoder: str | None = None,
    tta: bool = False,
    picture: PathLike | None = None,
    images: PathLike | None = None,
    category: str | None = None,
    sigmas: str | float | None = None,
    area_of_box: float | None = None,
    score: float | None = None,
    oks: float = 0.5,
    detect: bool | None = None,
    coco: PathLike | None = None,
    device: str = "auto",
    progress: bool | Progress | None = None,
) -> EvaluateResult | PicturesResult:
    """Measure a model on labelled images, as ``kptool evaluate`` does, which explains the arguments.

    `model` is a name, a run folder or a weights file; the predictions of the models in `ensemble` are averaged with its own.
    `cache` is a cache, whose images are measured one by one, or labels of any format that `extract` reads, in whose whole
    pictures instances are found first. For labels, `ensemble`, `decoder` and `picture` have no meaning, and for a cache the
    arguments from `images` to `coco` have none. `split` is by default "val" for a cache and "all" for labels. Points are
    compared as labelled, without the correction of the labels' offset that `Predictor` applies. `progress` False shows no
    bar. Returns an `EvaluateResult` for a cache, a `PicturesResult` for labels. Raises CheckpointError if there is no such
    model or it does not fit the cache, CacheError for a damaged cache, ConfigError for invalid arguments, DataError for bad
    labels or if the split has no images or labels.
    """
    if split is not None:
        check_split(split)
    where = path_of(cache)
    pictures = _Pictures(optional_path(images), category, sigmas, area_of_box, score, oks, detect, optional_path(coco))
    crops = _Crops(split or "val", tuple(map(str, ensemble)), decoder, tta, optional_path(picture))
    if not is_labels(where):
        pictures.refuse(where)
        return _evaluate_cache(str(model), where, crops, device, progress)
    crops.refuse(where)
    return pictures.evaluate(str(model), where, split or "all", tta, device, progress)


def is_labels(path: Path) -> bool:
    """Whether `path` holds labels rather than a cache: a folder, or a file that is no HDF5 file but of a format of labels."""
    if not path.is_file():
        return path.is_dir()
    if path.suffix.lower() not in _CACHE_SUFFIXES and not _starts_as_hdf5(path):
        return True
    readers: list[Dataset] = [plugins.load("datasets", name) for name in plugins.names("datasets")]
    return any(reader.matches(path) for reader in readers)


def _starts_as_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


@dataclass(frozen=True)
class _Pictures:
    """The arguments of `evaluate` for labels of whole pictures."""

    images: Path | None = None
    category: str | None = None
    sigmas: str | float | None = None
    area_of_box: float | None = None
    score: float | None = None
    oks: float = 0.5
    detect: bool | None = None
    coco: Path | None = None

    def refuse(self, path: Path) -> None:
        """Raise ConfigError where any is given for the cache at `path`."""
        _refuse(self, f"{path} is a cache of single images", "give labels, such as a COCO json, or leave it out")

    def evaluate(
        self, model: str, path: Path, split: str, tta: bool, device: str, progress: bool | Progress | None
    ) -> PicturesResult:
        """Measure on the labels at `path`."""
        from kptool.api import evaluate_pictures as whole
        from kptool.data.sources import Opening
        from kptool.network import cards
        from kptool.network.finder_config import LEAST_SCORE
        from kptool.predict.predictor import Predictor

        options = whole.Options(self.sigmas, self.area_of_box, self.score, self.oks, split, self.coco)
        weights, origin = cards.resolve(model, measuring=True)
        predictor = Predictor(weights, device, detect=self.detect, flip=tta, as_labelled=True)
        if predictor.finder is not None:
            predictor.finder.threshold = LEAST_SCORE  # average precision is about all candidates
        predictor.origin = origin
        remark(f"using {origin}")
        with bars.showing(progress) as bar:
            opening = Opening(images=self.images, category=self.category)
            return whole.evaluate_pictures(predictor, path, opening, options, bar)


@dataclass(frozen=True)
class _Crops:
    """The arguments of `evaluate` for a cache."""

    split: str = "val"
    ensemble: tuple[str, ...] = ()
    decoder: str | None = None
    tta: bool = False
    picture: Path | None = None

    def refuse(self, path: Path) -> None:
        """Raise ConfigError where any is given for the labels at `path`, but those that both know."""
        _refuse(
            replace(self, tta=False, split="val"),
            f"{path} holds labels of whole pictures",
            "give a cache, or leave it out",
        )


def _refuse(given: _Pictures | _Crops, what: str, fix: str) -> None:
    for each in fields(given):
        if getattr(given, each.name) != each.default:
            raise ConfigError(f"{what}, so --{each.name.replace('_', '-')} has no meaning; {fix}")


def _evaluate_cache(
    model: str, where: Path, crops: _Crops, device: str, progress: bool | Progress | None
) -> EvaluateResult:
    from kptool.evaluation.evaluation import coverage_by_group, evaluate_cache, mean_shape_baseline, trained_on
    from kptool.evaluation.score_check import check_scores
    from kptool.network import cards, checkpoint
    from kptool.network.keypoint_model import Inference
    from kptool.network.label_shift import AS_LABELLED

    if crops.decoder is not None:
        plugins.load_decoder(crops.decoder)
    place = devices.pick(device)
    found = [cards.resolve(name, measuring=True) for name in (model, *crops.ensemble)]
    origin = " + ".join(words for _, words in found)
    remark(f"using {origin}")
    loaded = [checkpoint.load_model(path, place) for path, _ in found]
    split = crops.split
    with Cache(where) as opened:
        with bars.showing(progress) as bar:
            networks = [network for network, _ in loaded]
            measured = evaluate_cache(networks, opened, split, Inference(crops.tta, crops.decoder), progress=bar)
        baseline = mean_shape_baseline(opened, split)
        seen = max(trained_on(card.data, opened, split) for _, card in loaded)
        alone = len(loaded) == 1 and not crops.tta  # averaged heatmaps have lower peaks
        scores = check_scores(opened, split, measured.predictions.scores, loaded[0][1]) if alone else None
        radius = coverage_by_group(opened, split, measured)
        notes = (f"{seen} of these images were used for training, so the metrics are too optimistic",) if seen else ()
        for text in notes:
            remark(text)
        if crops.picture is not None:
            from kptool.report import figures

            figures.save(figures.predictions(opened, split, measured), crops.picture)
    metrics = measured.metrics
    return EvaluateResult(origin, AS_LABELLED, split, where, seen, metrics, baseline, measured, notes, scores, radius)
