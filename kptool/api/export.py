"""`kptool.export`: a trained model as one ONNX graph, from pixels to points, verified against torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kptool.api.arguments import DEFAULT_CACHE, PathLike, optional_path, path_of
from kptool.api.result import Result, remark

if TYPE_CHECKING:
    import pandas as pd

    from kptool.predict.agreement import Pictures
    from kptool.predict.export import Exported
    from kptool.predict.finder_export import ExportedFinder
    from kptool.report.canvas import Figure


_HIGHEST = "the graph gives the highest peak of each heatmap; kptool, which runs it too, chooses by the other keypoints"
_SCENES = 1000
"""Whole pictures, at most, on which a finder and its graph are compared."""


@dataclass(frozen=True)
class ExportResult(Result):
    """The written graph and its agreement with torch, see `kptool.predict.export.Exported`.

    model: the weights, in words. compared: the images that the graph and torch were compared on. finder: the graph of the
    run's finder, which finds instances for `Predictor`, None if it has none.
    """

    model: str
    exported: Exported
    compared: Pictures
    notes: tuple[str, ...] = ()
    finder: ExportedFinder | None = None

    @property
    def out(self) -> Path:
        """The .onnx file, which `Predictor` and `onnxruntime` load."""
        return self.exported.path

    def to_dict(self) -> dict[str, Any]:
        """The document of ``kptool export --json``."""
        done = self.exported
        return {
            "model": self.model,
            "out": str(done.path),
            "points": done.points,
            "bytes": done.size,
            "images": done.images,
            "real_images": self.compared.real,
            "largest_difference": done.difference.points,
            "largest_score_difference": done.difference.scores,
            "aspects": done.difference.aspects,
            "half": None if done.half is None else dict(zip(("mean", "largest"), done.half, strict=True)),
            **({"finder": str(self.finder.path)} if self.finder is not None else {}),
        }

    def plot(self) -> Figure:
        """The largest difference from torch by kind of picture."""
        from kptool.predict.export import TOLERANCE
        from kptool.report import charts

        return charts.differences(self.exported.difference.aspects, TOLERANCE)

    def to_pandas(self) -> pd.DataFrame:
        """The largest difference of points from torch by kind of picture, in pixels of the model's input."""
        import pandas as pd

        aspects = self.exported.difference.aspects
        return pd.DataFrame({"largest_difference": aspects}, dtype=float).rename_axis("pictures").loc[list(aspects)]

    def _rows(self) -> Sequence[tuple[str, ...]]:
        from kptool.network.label_shift import POINTS

        done = self.exported
        half = () if done.half is None else (("largest displacement by float16", f"{done.half[1]:.2g} px"),)
        return (
            ("model", self.model),
            ("file", str(done.path)),
            ("size", f"{done.size / 1e6:.1f} MB"),
            ("points", POINTS[done.points]),
            ("largest difference from torch", f"{done.difference.points:.2g} px"),
            ("compared on", self.compared.what),
            *half,
            *((("finder", str(self.finder.path)),) if self.finder is not None else ()),
        )


def export(
    model: PathLike,
    out: PathLike | None = None,
    *,
    cache: PathLike = DEFAULT_CACHE,
    half: bool = False,
    as_labelled: bool = False,
) -> ExportResult:
    """Export a model as one ONNX graph that takes images and returns keypoints, as ``kptool export`` does.

    `model` is a name, a run folder or a weights file; `out` defaults to model.onnx in the run's folder. The images of
    `cache`, or else synthetic faces, are used to compare the graph with torch before it is written. Raises CheckpointError
    if there is no such model, and ConfigError if `out` does not end in .onnx, the packages of the extra ``export`` are not
    installed, or the graph differs from torch.
    """
    from kptool.network import cards
    from kptool.predict import agreement
    from kptool.predict import export as exporting

    wanted = optional_path(out)
    if wanted is not None:
        exporting.check_name(wanted)
    exporting.require_packages()
    weights, origin = cards.resolve(str(model))
    remark(f"exporting {origin}")
    target = wanted or (weights.with_suffix(".onnx") if "ship with" not in origin else Path(f"{weights.stem}.onnx"))
    card = cards.read_card(weights)
    compared = agreement.pictures(path_of(cache), card.config)
    done = exporting.export(weights, target, compared.images, half=half, as_labelled=as_labelled)
    notes = (_HIGHEST,) if cards.PRIOR in card.data else ()
    for text in notes:
        remark(text)
    return ExportResult(origin, done, compared, notes, _finder(weights, target, path_of(cache)))


def _finder(weights: Path, target: Path, cache: Path) -> ExportedFinder | None:
    """Export the finder beside `weights`, if there is one, beside the graph `target`; compared on the whole pictures of
    `cache` if it holds some that fit."""
    from kptool.cache.scenes import read_scenes
    from kptool.cache.store import Cache
    from kptool.data.splits import VAL
    from kptool.network.finder import load_finder
    from kptool.network.finder_config import finder_beside
    from kptool.predict.finder_export import export_finder

    own = finder_beside(weights)
    if not own.is_file():
        return None
    config, shown = load_finder(own).config, None
    if cache.is_file():
        with Cache(cache) as opened:
            scenes = read_scenes(opened, VAL, _SCENES) if opened.scenes else None
        if scenes is not None and scenes.size == config.size:
            pixels = scenes.images if scenes.images.ndim == 4 else scenes.images[:, None]
            shown = pixels if pixels.shape[1] == config.channels else None
    return export_finder(own, finder_beside(target), shown)
