"""The HTML page of `kptool doctor`: the findings of each check, with pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Size
from kptool.base.palette import FINDING
from kptool.base.version import __version__
from kptool.cache.store import Cache
from kptool.diagnosis.examine import CHECKS, Examination, Finding
from kptool.report import about, figures, html
from kptool.report.canvas import Figure
from kptool.report.tiles import HOLLOW, Key, Ring, Tile, figure_of

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
    count = len(done.findings)
    parts = [
        html.heading(f"{count} finding{'s' * (count != 1)} in {cache.path}", level=1),
        html.paragraph(f"{about.data(cache)} Checked by kptool {__version__}."),
    ]
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
        tiles = _tiles(list(images.values())[:count], cache, done.groups, others=False)
    else:
        suspects = done.suspicion.ranking()[:count].tolist()
        tiles = _tiles([[Finding("label", sample, None, "")] for sample in suspects], cache, done.groups)
    columns = max(1, min(_COLUMNS, len(tiles)))
    return figure_of(tiles, columns=columns, keys=_keys(tiles, cache), note=about.data(cache))


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
        tiles = _tiles(shown, cache, done.groups)
        parts.append(html.tiles(tiles, _keys(tiles, cache)))
    listed = [finding for finding in findings if finding.sample is None] + [f for some in shown for f in some]
    parts.append(html.bullets([_line(finding) for finding in listed]))
    if len(images) > _SHOWN:
        parts.append(html.paragraph(f"and {len(images) - _SHOWN} more images, which --json lists"))
    return parts


def _line(finding: Finding) -> str:
    return finding.detail if finding.row is None else f"row {finding.row}: {finding.detail}"


def _tiles(
    findings: Sequence[Sequence[Finding]], cache: Cache, known: NDArray[np.int64] | None, *, others: bool = True
) -> list[Tile]:
    """Images with their labels and findings; with `others`, each followed by the one it was compared with.

    `findings` holds the findings image by image; `known` are the groups (N,), -1 for none.
    """
    pairs = [(some, sample) for some in findings for sample in (some[0].sample, some[0].other if others else None)]
    cells = [(some, sample) for some, sample in pairs if sample is not None]
    rows, tint, tiles = cache.read("row"), figures.tints(cache), []
    for some, sample in cells:
        one = np.array([sample])
        image, points, visibility = (cache.read(name, one)[0] for name in ("images", "keypoints", "visibility"))
        group = "" if known is None or known[sample] < 0 else f", group {known[sample]}"
        mine = sample == some[0].sample
        caption = f"{'' if mine else 'similar: '}row {rows[sample]}{group}"
        rings = _rings(some, points, cache.info.size) if mine else ()
        tiles.append(Tile(image, caption, points, visibility, tint, cache.info.names, rings=rings))
    return tiles


def _keys(tiles: Sequence[Tile], cache: Cache) -> list[Key]:
    """The legend of the tiles: sides, occluded labels, and the marks of findings that occur."""
    keys = figures.keys(cache, occluded=any((tile.levels == HOLLOW).any() for tile in tiles))
    expected = [where for tile in tiles for _, where in tile.rings]
    if expected:
        keys.append(Key("finding", FINDING, "ring"))
    if any(where is not None for where in expected):
        keys.append(Key("to the expected position", FINDING, "line"))
    return keys


def _rings(findings: Sequence[Finding], points: NDArray[np.float32], size: Size) -> list[Ring]:
    """A ring around each keypoint with a finding, and its expected position; at the edge of the image (H, W) for one that
    lies outside."""
    found: list[Ring] = []
    for finding in findings:
        if finding.keypoint is not None:
            x, y = points[finding.keypoint].clip(0, (size[1] - 1, size[0] - 1)).tolist()
            found.append(((x, y), finding.suggested))
    return found
