"""What `kptool doctor` shows: predictions of cross-validated runs to judge labels by, and a page of pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kptool import cards, report
from kptool.cache import Cache
from kptool.doctor import CHECKS, Finding
from kptool.errors import CheckpointError
from kptool.progress import Progress, silent
from kptool.report import picture_tag, standalone

_SHOWN, _COLUMNS = 24, 6
_TITLES = {
    "shares": "Labels that are shares, not pixels",
    "outside": "Keypoints outside their image",
    "swapped": "Left and right exchanged",
    "constant": "Images without contrast",
    "duplicate": "Images that are there twice",
    "leak": "Validation images that training has seen",
    "label": "Labels far from where they should be",
}


def unseen_predictions(model: str, cache: Cache, progress: Progress = silent) -> tuple[NDArray[np.float64], int]:
    """What `model` says of the images it was not trained on, (N, K, 2) in their pixels, NaN for the others; and how many.

    A folder of cross-validation folds says something of every image, another run of its validation images. Raises
    CheckpointError where it was trained on other data.
    """
    from kptool import checkpoint
    from kptool.evaluation import run

    folds = sorted(Path(model).glob(f"fold*/{cards.WEIGHTS}")) or [cards.resolve(model, measuring=True)[0]]
    rows, info = cache.read("row"), cache.info
    found = np.full((len(cache), len(info.names), 2), np.nan)
    for number, weights in enumerate(folds):
        detector, card = checkpoint.load_detector(weights)
        held = card.data.get("val_rows")
        fits = (card.config.names, card.config.size, card.config.channels) == (info.names, info.size, info.channels)
        if not fits or card.data.get("source_sha256") != info.source_sha256 or not isinstance(held, list):
            raise CheckpointError(f"{weights} was trained on other data than {cache.path}; train on this cache")
        index = np.flatnonzero(np.isin(rows, held))
        if len(index):
            found[index] = run([detector], cache.read("images", index)).points
        progress("folds", number + 1, len(folds))
    return found, int(np.isfinite(found).all((1, 2)).sum())


def write_page(findings: Sequence[Finding], cache: Cache) -> str:
    """An HTML page that needs nothing else: every check with its pictures, labels drawn on them."""
    parts = [f"<h1>{len(findings)} findings in {html.escape(str(cache.path))}</h1>"]
    for check in CHECKS:
        mine: dict[int, list[Finding]] = {}
        for finding in findings:
            if finding.check == check:
                mine.setdefault(finding.sample, []).append(finding)
        if not mine:
            continue
        shown = list(mine.values())[:_SHOWN]
        parts.append(f"<h2>{_TITLES[check]}: {len(mine)} image{'s' * (len(mine) > 1)}</h2>")
        parts.append(picture_tag(_figure(shown, cache), _TITLES[check]))
        lines = "".join(f"<li>row {f.row}: {html.escape(f.detail)}</li>" for some in shown for f in some)
        more = f"<p>and {len(mine) - _SHOWN} more images, which --json lists</p>" if len(mine) > _SHOWN else ""
        parts.append(f"<ul>{lines}</ul>{more}")
    if not findings:
        parts.append("<p>Nothing looks wrong.</p>")
    return standalone("kptool doctor", parts)


def _figure(groups: Sequence[Sequence[Finding]], cache: Cache) -> Figure:
    """A picture for each image and its findings of a check, labels drawn on it; beside it the image that it is like."""
    cells = [(some, sample) for some in groups for sample in (some[0].sample, some[0].other) if sample is not None]
    figure, axes = report.grid(len(cells), columns=min(_COLUMNS, len(cells)))
    for axis, (some, sample) in zip(axes, cells, strict=False):
        one = np.array([sample])
        image, points, visibility = (cache.read(name, one)[0] for name in ("images", "keypoints", "visibility"))
        report.draw_image(axis, image)
        report.draw_points(axis, points, visibility, cache.info.names, size=5)
        if sample == some[0].sample:
            _mark(axis, some, points)
        axis.set_title(f"row {some[0].row}" if sample == some[0].sample else "like it", fontsize=7, pad=1)
    for axis in axes[len(cells) :]:
        axis.set_axis_off()
    return figure


def _mark(axis: Axes, findings: Sequence[Finding], points: NDArray[np.float32]) -> None:
    """A ring about each point that a finding is of, and a line to a cross where it should be."""
    for finding in findings:
        if finding.keypoint is None:
            continue
        x, y = points[finding.keypoint]
        axis.scatter([x], [y], s=60, facecolors="none", edgecolors="red", linewidths=1.2)
        if finding.suggested is not None:
            to_x, to_y = finding.suggested
            axis.scatter([to_x], [to_y], marker="x", s=40, c="red", linewidths=1.2)
            axis.plot([x, to_x], [y, to_y], color="red", linewidth=0.6)
