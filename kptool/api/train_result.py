"""The result of `kptool.train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kptool.api.result import Result
from kptool.base.config import require

if TYPE_CHECKING:
    import pandas as pd

    from kptool.report.canvas import Figure
    from kptool.training import run


@dataclass(frozen=True)
class TrainResult(Result):
    """The finished trainings: one, one per fold with `cv`, one per model with "all".

    runs: see `kptool.training.run.Result`; empty in processes of torchrun other than the first. documents: one per model, as
    in the JSON. folders: one per model. together: whether all models were trained, which the JSON then lists. notes: each
    model's RMSE beside that of the training images' mean shape.
    """

    runs: tuple[run.Result, ...] = field(repr=False)
    documents: tuple[dict[str, Any], ...] = field(repr=False)
    folders: tuple[Path, ...]
    together: bool
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> run.Result:
        """The run with the lowest RMSE. Raises ConfigError in processes of torchrun other than the first."""
        require(bool(self.runs), "under torchrun, only the first process has the results of a training")
        return min(self.runs, key=lambda each: each.metrics["rmse"])

    @property
    def checkpoint(self) -> Path:
        """The weights of `best`, for `Predictor`, `evaluate` and `export`."""
        return self.best.checkpoint

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of `best` at its best epoch; its RMSE in pixels of the source images is under "rmse"."""
        return self.best.metrics

    @property
    def title(self) -> str:
        """What the metrics in the table are of."""
        if len(self.runs) > 1:
            kind = "validation" if all(each["val"] for each in self.documents) else "training"
            return f"side by side, on the {kind} images"
        only = self.documents[0]
        where = "" if only["val"] else ", on the training images"
        return f"{only['model']}, best epoch {only['best_epoch']} of {only['epochs']}{where}"

    def to_dict(self) -> dict[str, Any]:
        """The document of ``kptool train --json``."""
        return {"models": list(self.documents)} if self.together else self.documents[0]

    def plot(self) -> Figure:
        """Loss, validation RMSE and learning rate over the epochs; of several runs, the validation RMSE."""
        from kptool.report import charts

        if len(self.runs) == 1:
            return charts.curves(self.checkpoint.parent)
        return charts.histories({label: charts.read_history(folder) for label, folder in self._labelled().items()})

    def to_pandas(self) -> pd.DataFrame:
        """The history, a row per epoch: the columns of metrics.csv; of several runs, after a column "run"."""
        import pandas as pd

        from kptool.report import charts

        if len(self.runs) == 1:
            return charts.read_history(self.checkpoint.parent)
        histories = {label: charts.read_history(folder) for label, folder in self._labelled().items()}
        return pd.concat(histories, names=["run"]).reset_index(level="run").reset_index(drop=True)

    def _labelled(self) -> dict[str, Path]:
        """The folder of each run, by a label such as "unet" or "unet/fold0"."""
        places = [each.checkpoint.parent for each in self.runs]
        own = [place in self.folders for place in places]
        models = [each.model for each in self.runs]
        return {
            model if whole else f"{model}/{place.name}": place
            for model, whole, place in zip(models, own, places, strict=True)
        }

    def _heads(self) -> tuple[str, ...]:
        from kptool.report import tables

        if len(self.runs) > 1:
            return ("model", *tables.COMPARED)
        return (self.title, "model", *(("mean shape",) if self.best.mean_shape is not None else ()))

    def _rows(self) -> Sequence[tuple[str, ...]]:
        from kptool.report import tables

        if len(self.runs) > 1:
            return [tables.comparison_row(each) for each in self.documents]
        measured = [each for each in (self.metrics, self.best.mean_shape) if each is not None]
        return tables.metric_rows(measured, keypoints=False)


def trained(runs: Sequence[run.Result], folders: Mapping[str, Path], cv: int | None, *, together: bool) -> TrainResult:
    """The result of finished trainings; `folders` holds the one of each model, `cv` is the number of folds, if any."""
    from kptool.report import tables
    from kptool.training import results

    documents = [results.describe(each) for each in runs]
    if cv:
        documents = [results.over_folds(documents[i : i + cv]) for i in range(0, len(documents), cv)]
    measured = [(results.metrics(each), each["model"]) for each in documents]
    notes = [tables.beside_mean_shape(each["rmse"], each.get("mean_shape_rmse"), name) for each, name in measured]
    return TrainResult(tuple(runs), tuple(documents), tuple(folders.values()), together, tuple(dict.fromkeys(notes)))
