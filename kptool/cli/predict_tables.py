"""What ``kptool predict`` prints for people: a table per instance, or a line per picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kptool.cli.output import emit
from kptool.cli.video_options import lines

if TYPE_CHECKING:
    from kptool.predict.output import PicturePrediction
    from kptool.predict.predictor import Predictor
    from kptool.predict.stream import Predicted

_TABLES = 5


def print_tables(predictor: Predictor, done: Predicted, written: Sequence[str]) -> None:
    """Print the tables, and which outputs were written."""
    emit(*_tables(done.found, predictor))
    if written:
        emit(f"wrote {', '.join(written)}: {about(predictor)}")


def about(predictor: Predictor) -> str:
    """The weights, and what their points are, for titles."""
    from kptool.network.label_shift import POINTS

    return f"by {predictor.origin}, {POINTS[predictor.points]}"


def _tables(found: list[PicturePrediction], predictor: Predictor) -> list[Any]:
    """One table per instance, or if there are many, one line per picture."""
    thing, count = predictor.thing, sum(len(each.faces) for each in found)
    if count > _TABLES or sum(each.frame is not None for each in found) > _TABLES:
        pictures = "frames" if all(each.frame is not None for each in found) else "pictures"
        whole = f"{thing.counted(count)} in {len(found)} {pictures}"
        last = f"{whole}, {about(predictor)}; --csv and --json print their keypoints"
        return [*lines(found, thing.counted), last]
    nothing = f"no {thing.name} found"
    return [part for each in found for part in (_instance_tables(each, predictor) or [f"{each.name}: {nothing}"])]


def _instance_tables(found: PicturePrediction, predictor: Predictor) -> list[Any]:
    """One table of keypoints per instance, titled with the picture's name."""
    from rich.table import Table

    tables = []
    described = found.describe(predictor.names)["faces"]
    for number, face in enumerate(described):
        which = found.name if len(described) == 1 else f"{found.name}, {predictor.thing.name} {number}"
        title = f"{which}, {about(predictor)}"
        table = Table("keypoint", title=title, title_justify="left")
        for head in ("x", "y", "score", "90 % within, px"):
            table.add_column(head, justify="right")
        for point in face["keypoints"]:
            cells = ("-" if point[key] is None else f"{point[key]:.2f}" for key in ("x", "y", "score", "radius90"))
            table.add_row(point["name"], *cells)
        tables.append(table)
    return tables
