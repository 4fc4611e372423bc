"""The HTML page of `kptool doctor`: the findings of each check, with pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from kptool.cache.store import Cache
from kptool.diagnosis.examine import CHECKS, Examination, Finding
from kptool.report import figures, html
from kptool.report.canvas import Figure

_SHOWN, _COLUMNS = 24, 6
_TITLES = {
    "unlabelled": "Keypoints without any label",
    "shares": "Labels that are fractions of the picture instead of pixels",
    "outside": "Keypoints outside their image",
    "swapped": "Left and right swapped",
    "constant": "Images without contrast",
    "duplicate": "Duplicate images",
    "leak": "Validation images that are also in training, or similar to a training image",
    "label": "Labels far from their expected positions",
}


def write_page(done: Examination, cache: Cache) -> str:
    """The findings as a self-contained HTML page, check by check, with the labels drawn on pictures."""
    parts = [html.heading(f"{len(done.findings)} findings in {cache.path}", level=1)]
    for check in CHECKS:
        mine = [finding for finding in done.findings if finding.check == check]
        parts += _section(check, mine, done, cache) if mine else []
    if not done.findings:
        parts.append(html.paragraph("No problems found."))
    return html.standalone("kptool doctor", parts)


def overview(done: Examination, cache: Cache, count: int) -> Figure:
    """Up to `count` images with findings, these marked; if there are none, the most suspicious images."""
    images: dict[int, list[Finding]] = {}
    for finding in done.findings:
        if finding.sample is not None:
            images.setdefault(finding.sample, []).append(finding)
    if images:
        return _figure(list(images.values())[:count], cache, done.groups, others=False)
    suspects = done.suspicion.ranking()[:count].tolist()
    return _figure([[Finding("label", sample, None, "")] for sample in suspects], cache, done.groups)


def _section(check: str, findings: Sequence[Finding], done: Examination, cache: Cache) -> list[str]:
    """The section of one check: pictures of its first images, and the list of findings on them."""
    images: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.sample is not None:
            images.setdefault(finding.sample, []).append(finding)
    shown = list(images.values())[:_SHOWN]
    count = f": {len(images)} image{'s' * (len(images) > 1)}" if images else ""
    parts = [html.heading(f"{_TITLES[check]}{count}")]
    if check == "leak":
        certain = sum(finding.certain for finding in findings)
        parts.append(
            html.paragraph(
                f"{certain} for certain: the same pixels, or the same group. The others are only similar: their descriptors"
                f" correlate by more than {done.threshold:.2f}, which can happen with pictures of different objects."
            )
        )
    if shown:
        parts.append(html.chart(_figure(shown, cache, done.groups), _TITLES[check]))
    listed = [finding for finding in findings if finding.sample is None] + [f for some in shown for f in some]
    parts.append(html.bullets([_line(finding) for finding in listed]))
    if len(images) > _SHOWN:
        parts.append(html.paragraph(f"and {len(images) - _SHOWN} more images, which --json lists"))
    return parts


def _line(finding: Finding) -> str:
    return finding.detail if finding.row is None else f"row {finding.row}: {finding.detail}"


def _figure(
    findings: Sequence[Sequence[Finding]], cache: Cache, known: NDArray[np.int64] | None, *, others: bool = True
) -> Figure:
    """Pictures of images with their labels and findings; with `others`, each followed by the one it was compared with.

    `findings` holds the findings image by image; `known` are the groups (N,), -1 for none.
    """
    pairs = [(some, sample) for some in findings for sample in (some[0].sample, some[0].other if others else None)]
    cells = [(some, sample) for some, sample in pairs if sample is not None]
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
        like = "" if sample == some[0].sample else "similar: "
        axis.set_title(f"{like}row {rows[sample]}{group}", fontsize=7, pad=1)
    for axis in axes[len(cells) :]:
        axis.set_axis_off()
    return figure


def _mark(axis: Axes, findings: Sequence[Finding], points: NDArray[np.float32]) -> None:
    """Draw a ring around each keypoint with a finding, and a line to a cross at its expected position."""
    for finding in findings:
        if finding.keypoint is None:
            continue
        x, y = points[finding.keypoint]
        axis.scatter([x], [y], s=60, facecolors="none", edgecolors="red", linewidths=1.2)
        if finding.suggested is not None:
            to_x, to_y = finding.suggested
            axis.scatter([to_x], [to_y], marker="x", s=40, c="red", linewidths=1.2)
            axis.plot([x, to_x], [y, to_y], color="red", linewidth=0.6)
