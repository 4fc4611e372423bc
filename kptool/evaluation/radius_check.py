"""Whether radii that were calibrated on some groups of a cache's images hold on the others, by group."""

from __future__ import annotations

from kptool.cache.store import Cache
from kptool.evaluation.conformal import FOLDS, Coverage, cross_coverage
from kptool.evaluation.evaluation import Evaluation, split_index


def check_radius(cache: Cache, split: str, found: Evaluation) -> Coverage | None:
    """The coverage of 90 % radii on a split of a cache that `found` measured, each group's by radii calibrated on others.

    None where there are fewer than five groups or images, or too few labels to calibrate a radius.
    """
    index = split_index(cache, split)
    groups = cache.read("group", index)
    known = len(set(groups[groups >= 0].tolist())) + int((groups < 0).sum())
    if known < FOLDS:
        return None
    labelled = cache.read("visibility", index) > 0
    coverage = cross_coverage(found.distances, found.predictions.std, labelled, groups)
    return coverage if coverage.labels else None
