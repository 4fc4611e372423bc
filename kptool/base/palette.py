"""The colours, markers and dashes of every picture, chart and page.

Colours that must be told apart keep CIEDE2000 distances of at least 20 (keypoints on photos) or 15 (chart lines) for normal
vision, protanopia and deuteranopia; tests/base/test_palette.py simulates both after Machado, Oliveira & Fernandes, IEEE TVCG
2009. Colour never stands alone: keypoints of the left, the right and the midline differ in shape, lines in dash and marker,
bars in hatching.
"""

from __future__ import annotations

LEFT, RIGHT, MIDDLE = "#ffa21a", "#3a86ff", "#a3125f"
"""Keypoints on photos: the left and the right one of a flip pair, and those without a partner."""
TRUTH, OUTLINE = "#ffffff", "#000000"
"""Labels beside predictions; and the line around light marks, so that they show on any photo."""
TRACKS = ("#e69f00", "#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#ffffff")
"""Boxes of tracked instances, which have their number beside them (Okabe and Ito, Color Universal Design, 2008)."""
FINDING = "#ff2d2d"
"""Rings and crosses of `kptool doctor`, told from keypoints by their size and shape."""
SHAPES = {LEFT: "circle", RIGHT: "square", MIDDLE: "diamond"}

SERIES = ("#0969da", "#e0440e", "#45996b", "#4c0041")
"""Lines and bars of charts on white; a fifth one repeats the first colour with other dashes."""
SERIES_DARK = ("#58a6ff", "#ffb224", "#7ee8b5", "#c2255c")
"""The same lines on a dark page."""
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 1)))
"""matplotlib's line styles, by series; their number and that of colours have no common divisor."""
MARKERS = ("o", "s", "D", "^", "v")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx")

INK, MUTED, GRID, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
INK_DARK, MUTED_DARK, GRID_DARK, PAPER_DARK = "#e6edf3", "#9da7b1", "#3d444d", "#0d1117"
BASELINE, BASELINE_DARK = "#6e7781", "#9198a1"
"""The mean shape, in every chart."""


def shape_of(tint: str) -> str:
    """The shape of a keypoint's mark: "circle", "square" or "diamond"; "circle" for a colour that is not of this palette."""
    return SHAPES.get(tint, "circle")


def line(number: int) -> tuple[str, str | tuple[int, tuple[int, ...]], str]:
    """The colour, dashes and marker of the chart line `number`, from 0."""
    return SERIES[number % len(SERIES)], DASHES[number % len(DASHES)], MARKERS[number % len(MARKERS)]
