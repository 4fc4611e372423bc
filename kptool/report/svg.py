"""Charts and tiles as SVG elements inside a page: sharp at any size, in the page's own colours, light or dark.

The page's style sheet defines a variable for each colour of `kptool.base.palette`, see `kptool.report.html`.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
from PIL import Image

from kptool.base import palette
from kptool.base.palette import FINDING, OUTLINE, TRUTH, shape_of
from kptool.report.canvas import Figure
from kptool.report.tiles import FILLED, Key, Tile

VARIABLES = {
    "ink": (palette.INK, palette.INK_DARK),
    "muted": (palette.MUTED, palette.MUTED_DARK),
    "grid": (palette.GRID, palette.GRID_DARK),
    "paper": (palette.PAPER, palette.PAPER_DARK),
    "baseline": (palette.BASELINE, palette.BASELINE_DARK),
    **{f"s{i}": pair for i, pair in enumerate(zip(palette.SERIES, palette.SERIES_DARK, strict=True))},
}
"""Name -> the colour on a light and on a dark page."""
_NAMES = {light: name for name, (light, _) in VARIABLES.items()} | {"#000000": "ink"}
_FONT = "system-ui, sans-serif"
_GROWTH = 1.4
"""A chart grows to at most this multiple of its own size."""


def chart(figure: Figure, alt: str) -> str:
    """A matplotlib figure as an SVG element, without its note; `alt` says what it shows."""
    buffer = io.StringIO()
    figure.without_note()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "kptool"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    widest = round(float(box[1].split()[2]) * 96 / 72 * _GROWTH)
    opening = f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="{box[1]}" style="max-width:{widest}px">'
    text = opening + text[text.index(">") + 1 :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)  # would apply to the whole page
    text = re.sub(r"font-family: [^;\"]+", f"font-family: {_FONT}", text)
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]+", rf"\1 {_FONT}", text)
    text = re.sub(r"#[0-9a-f]{6}\b", lambda found: _variable(found[0]), text)
    return _with_own_ids(re.sub(r"\s*\n\s*", "\n", text).strip())


def _variable(colour: str) -> str:
    return f"var(--{_NAMES[colour]})" if colour in _NAMES else colour


def _with_own_ids(text: str) -> str:
    """The element with ids that no other chart of the page has, and only those that are referred to."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    own = hashlib.sha256(text.encode()).hexdigest()[:8]

    def rename(found: re.Match[str]) -> str:
        return f' id="{own}-{found[1]}"' if found[1] in used else ""

    text = re.sub(r' id="([^"]+)"', rename, text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{own}-", text).replace("xlink:href", "href")


def tile(tile: Tile) -> str:
    """A tile as an SVG element; each keypoint's name is its tooltip."""
    height, width = tile.pixels.shape[:2]
    dot = 0.013 * max(height, width)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(tile.pixels)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    shown = f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/>'
    marks = "".join(_marks(tile, dot))
    head = f'<svg role="img" aria-label="{html.escape(tile.caption)}" viewBox="0 0 {width} {height}">'
    return f"{head}{shown}{marks}</svg>"


def _marks(tile: Tile, dot: float) -> Iterator[str]:
    """The elements on a tile; an integer coordinate is a pixel's centre, half a pixel from the SVG's corner."""
    for label, found in tile.errors:
        yield _line(label, found, TRUTH, dot)
    if tile.truth is not None:
        for point in tile.truth[np.isfinite(tile.truth).all(-1)]:
            yield mark("circle", point, 1.5 * dot, TRUTH, filled=False)
    names = tile.names or [""] * len(tile.points)
    for point, level, tint, name in zip(tile.points, tile.levels, tile.tints, names, strict=True):
        if level and np.isfinite(point).all():
            yield mark(shape_of(tint), point, dot, tint, filled=bool(level == FILLED), name=name)
    for at, expected in tile.rings:
        if expected is not None:
            yield _line(at, expected, FINDING, dot)
            yield mark("cross", expected, 1.6 * dot, FINDING, filled=False)
        yield mark("circle", at, 3 * dot, FINDING, filled=False, pen=1.3 * dot)


def mark(
    shape: str, at: Sequence[float], dot: float, tint: str, *, filled: bool, name: str = "", pen: float = 0.0
) -> str:
    """A mark of radius `dot` at the pixel position `at`, (x, y), in outlines that show on any picture.

    pen: the radius to which the outlines' width is in proportion, if not that of the mark itself.
    """
    x, y = float(at[0]) + 0.5, float(at[1]) + 0.5
    title = f"<title>{html.escape(name)}</title>" if name else ""
    pen = pen or dot
    wide, narrow = (0.7 * pen, 0.35 * pen) if filled else (0.95 * pen, 0.5 * pen)
    inner = (tint, TRUTH) if filled else ("none", tint)
    under = _shape(shape, x, y, dot + wide / 2 if filled else dot, fill="none", stroke=OUTLINE, width=wide)
    over = _shape(shape, x, y, dot, fill=inner[0], stroke=inner[1], width=narrow)
    return f"<g>{title}{under}{over}</g>"


def _shape(shape: str, x: float, y: float, r: float, *, fill: str, stroke: str, width: float) -> str:
    look = f'fill="{fill}" stroke="{stroke}" stroke-width="{width:.3g}"'
    if shape == "circle":
        return f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{r:.2f}" {look}/>'
    if shape == "square":
        r *= 0.9
        return f'<rect x="{x - r:.2f}" y="{y - r:.2f}" width="{2 * r:.2f}" height="{2 * r:.2f}" {look}/>'
    if shape == "cross":
        return f'<path d="M{x - r:.2f} {y - r:.2f}l{2 * r:.2f} {2 * r:.2f}m0 {-2 * r:.2f}l{-2 * r:.2f} {2 * r:.2f}" {look}/>'
    r *= 1.25
    return f'<path d="M{x:.2f} {y - r:.2f}l{r:.2f} {r:.2f}l{-r:.2f} {r:.2f}l{-r:.2f} {-r:.2f}z" {look}/>'


def _line(one: object, other: object, tint: str, dot: float) -> str:
    (x1, y1), (x2, y2) = (np.asarray(end, float) + 0.5 for end in (one, other))
    ends = f'x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}"'
    return "".join(
        f'<line {ends} stroke="{colour}" stroke-width="{width:.3g}"/>'
        for colour, width in ((OUTLINE, 0.9 * dot), (tint, 0.45 * dot))
    )


def legend(keys: list[Key]) -> str:
    """A legend as a paragraph of marks and texts."""
    items = []
    for key in keys:
        if key.kind == "line":
            drawn = _line((-0.5, 9), (19, 9), key.tint, 4)
        else:
            size = 8 if key.kind == "ring" else 5
            drawn = mark(shape_of(key.tint), (9, 9), size, key.tint, filled=key.kind == "filled", pen=4)
        sign = f'<svg aria-hidden="true" viewBox="0 0 20 20" width="20" height="20">{drawn}</svg>'
        items.append(f"<span>{sign}{html.escape(key.text)}</span>")
    return f'<p class="legend">{"".join(items)}</p>'
