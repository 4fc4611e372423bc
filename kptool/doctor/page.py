"""What `kptool doctor` shows: predictions of cross-validated runs to judge labels by, and a page of pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kptool.base.errors import CheckpointError
from kptool.cache.store import Cache
from kptool.doctor.examine import CHECKS, Examination, Finding
from kptool.network import cards
from kptool.report import figures
from kptool.report.html import picture_tag, standalone
from kptool.system.progress import Progress, silent

_SHOWN, _COLUMNS = 24, 6
_TITLES = {
    "unlabelled": "Keypoints that nobody labelled",
    "shares": "Labels that are shares, not pixels",
    "outside": "Keypoints outside their image",
    "swapped": "Left and right exchanged",
    "constant": "Images without contrast",
    "duplicate": "Images that are there twice",
    "leak": "Validation images that training has seen, or the like of which",
    "label": "Labels far from where they should be",
}


def unseen_predictions(model: str, cache: Cache, progress: Progress = silent) -> tuple[NDArray[np.float64], int]:
    """What `model` says of the images it was not trained on, (N, K, 2) in their pixels, NaN for the others; and how many.

    A folder of cross-validation folds says something of every image, another run of its validation images. Raises
    CheckpointError where it was trained on other data.
    """
    from kptool.evaluate.evaluation import require_fit, run
    from kptool.network import checkpoint

    folds = sorted(Path(model).glob(f"fold*/{cards.WEIGHTS}")) or [cards.resolve(model, measuring=True)[0]]
    rows, info = cache.read("row"), cache.info
    found = np.full((len(cache), len(info.names), 2), np.nan)
    for number, weights in enumerate(folds):
        loaded, card = checkpoint.load_model(weights)
        held = card.data.get("val_rows")
        require_fit(card.config, cache, str(weights))
        if card.data.get("source_sha256") != info.source_sha256 or not isinstance(held, list):
            raise CheckpointError(f"{weights} was trained on other data than {cache.path}; train on this cache")
        index = np.flatnonzero(np.isin(rows, held))
        if len(index):
            found[index] = run([loaded], cache.read("images", index)).points
        progress("folds", number + 1, len(folds))
    return found, int(np.isfinite(found).all((1, 2)).sum())


def write_page(done: Examination, cache: Cache) -> str:
    """An HTML page that needs nothing else: every check with its pictures, labels drawn on them."""
    parts = [f"<h1>{len(done.findings)} findings in {html.escape(str(cache.path))}</h1>"]
    for check in CHECKS:
        mine = [finding for finding in done.findings if finding.check == check]
        parts += _section(check, mine, done, cache) if mine else []
    if not done.findings:
        parts.append("<p>Nothing looks wrong.</p>")
    return standalone("kptool doctor", parts)


def _section(check: str, findings: Sequence[Finding], done: Examination, cache: Cache) -> list[str]:
    """A check's part of the page: pictures of the first images that it names, and what is said of them."""
    images: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.sample is not None:
            images.setdefault(finding.sample, []).append(finding)
    shown = list(images.values())[:_SHOWN]
    count = f": {len(images)} image{'s' * (len(images) > 1)}" if images else ""
    parts = [f"<h2>{_TITLES[check]}{count}</h2>"]
    if check == "leak":
        sure = sum(finding.certain for finding in findings)
        parts.append(
            f"<p>{sure} for certain: the same pixels, or the same group. The others look alike: their patterns correlate"
            f" by more than {done.threshold:.2f}, which pictures of different things may do.</p>"
        )
    if shown:
        parts.append(picture_tag(_figure(shown, cache, done.groups), _TITLES[check]))
    said = [f for f in findings if f.sample is None] + [f for some in shown for f in some]
    lines = "".join(f"<li>{html.escape(_said(finding))}</li>" for finding in said)
    more = f"<p>and {len(images) - _SHOWN} more images, which --json lists</p>" if len(images) > _SHOWN else ""
    return [*parts, f"<ul>{lines}</ul>{more}"]


def _said(finding: Finding) -> str:
    return finding.detail if finding.row is None else f"row {finding.row}: {finding.detail}"


def _figure(findings: Sequence[Sequence[Finding]], cache: Cache, known: NDArray[np.int64] | None) -> Figure:
    """A picture for each image and its findings of a check, labels drawn on it; beside it the image that it is like."""
    cells = [(some, sample) for some in findings for sample in (some[0].sample, some[0].other) if sample is not None]
    figure, axes = figures.grid(len(cells), columns=min(_COLUMNS, len(cells)))
    rows, tint = cache.read("row"), figures.tints(cache)
    for axis, (some, sample) in zip(axes, cells, strict=False):
        one = np.array([sample])
        image, points, visibility = (cache.read(name, one)[0] for name in ("images", "keypoints", "visibility"))
        figures.draw_image(axis, image)
        figures.draw_points(axis, points, visibility, tint, size=5)
        if sample == some[0].sample:
            _mark(axis, some, points)
        group = "" if known is None or known[sample] < 0 else f", group {known[sample]}"
        like = "" if sample == some[0].sample else "like it: "
        axis.set_title(f"{like}row {rows[sample]}{group}", fontsize=7, pad=1)
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
