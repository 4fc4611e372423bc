"""What came of a training beside the labelling."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.label.entries import Entry, Instance


@dataclass(frozen=True)
class Round:
    """A training. images: finished pictures. rmse, mean_shape: pixels of the cache's images, on those kept apart, by the model
    and by the mean shape. seconds: of all its commands."""

    images: int
    rmse: float
    mean_shape: float
    seconds: float


def gain(rounds: Sequence[Round]) -> Mapping[str, float] | None:
    """What as many labels more as there are would change: the RMSE by the power law through the last two trainings; None
    before there are two, or where the second one was not better."""
    if len(rounds) < 2 or rounds[-1].images <= rounds[-2].images or not 0 < rounds[-1].rmse < rounds[-2].rmse:
        return None
    before, now = rounds[-2:]
    steps = math.log(2) / math.log(now.images / before.images)
    return {"images": now.images, "rmse": now.rmse * (now.rmse / before.rmse) ** steps - now.rmse}


def best_epoch(run: Path) -> dict[str, str]:
    """The row of a run's best epoch. Raises DataError if it has none."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise DataError("the training reached no epoch; label a few pictures more")
    return min(rows, key=lambda row: float(row["rmse"]))


def proposed(picture: Mapping[str, Any]) -> Entry:
    """The instances that were predicted in a picture, as proposals."""
    instances = []
    for each in picture["faces"]:
        points = tuple((float(p["x"]), float(p["y"]), 2) for p in each["keypoints"])
        radii = tuple(None if p["radius90"] is None else float(p["radius90"]) for p in each["keypoints"])
        instances.append(Instance(points, None, True, radii))
    return Entry(tuple(instances))


def sureness(picture: Mapping[str, Any]) -> float:
    """How sure the model is of a picture's least sure instance: the mean height of its peaks; 0 where it finds none."""
    scores = [[point["score"] for point in each["keypoints"]] for each in picture["faces"]]
    return min((sum(each) / len(each) for each in scores if each), default=0.0)


def sentence(finding: Mapping[str, Any]) -> str:
    """What the doctor says of a picture."""
    point = f"{finding['keypoint']}: " if finding["keypoint"] else ""
    return f"{point}{finding['detail']}"
