"""The palette's colours can be told apart, also with protanopia and deuteranopia, and stand out on their backgrounds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool.base import palette

Array = NDArray[np.float64]

# Machado, Oliveira & Fernandes, IEEE TVCG 15 (2009), severity 1; applied to linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def linear(colour: str) -> Array:
    """Linear RGB (3,) of #rrggbb."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: Array) -> Array:
    """CIE L*a*b* (D65) of linear RGB."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = to_xyz @ rgb.clip(0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one: Array, other: Array) -> float:
    """The distance of two colours in L*a*b*; Sharma, Wu & Dalal, Color Research and Application 30 (2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    hue = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * _cos(hue - 30) + 0.24 * _cos(2 * hue) + 0.32 * _cos(3 * hue + 6) - 0.2 * _cos(4 * hue - 63)
    d_light = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    d_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    twist = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    return float(np.sqrt(d_light**2 + d_chroma**2 + d_hue**2 - twist * d_chroma * d_hue))


def _cos(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def closest(colours: Sequence[str]) -> float:
    """The smallest distance of any two colours, by any eye."""
    seen = [[lab(matrix @ linear(each)) for each in colours] for matrix in SIGHT.values()]
    return min(ciede2000(a, b) for row in seen for a, b in itertools.combinations(row, 2))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    low, high = sorted(float(linear(each) @ [0.2126, 0.7152, 0.0722]) + 0.05 for each in (one, other))
    return high / low


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((90.8027, -2.0831, 1.441), (91.1528, -1.6435, 0.0447), 1.4441),
    ],
)
def test_the_distance_has_its_published_values(one: Sequence[float], other: Sequence[float], apart: float) -> None:
    """Table 1 of Sharma, Wu & Dalal."""
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(apart, abs=1e-4)


def test_keypoints_on_photos_are_told_apart() -> None:
    assert closest([palette.LEFT, palette.RIGHT, palette.MIDDLE, palette.TRUTH]) >= 20
    assert len({palette.shape_of(each) for each in (palette.LEFT, palette.RIGHT, palette.MIDDLE)}) == 3
    assert closest(["#ff9f1c", "#2ec4b6", "#f15bb5"]) < 7  # the measure finds what it is for


@pytest.mark.parametrize(
    ("series", "baseline", "paper"),
    [
        (palette.SERIES, palette.BASELINE, palette.PAPER),
        (palette.SERIES_DARK, palette.BASELINE_DARK, palette.PAPER_DARK),
    ],
)
def test_lines_are_told_apart_and_stand_out(series: Sequence[str], baseline: str, paper: str) -> None:
    assert closest([*series, baseline]) >= 15
    assert min(contrast(each, paper) for each in (*series, baseline)) >= 3


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        (palette.INK, palette.PAPER),
        (palette.MUTED, palette.PAPER),
        (palette.INK_DARK, palette.PAPER_DARK),
        (palette.MUTED_DARK, palette.PAPER_DARK),
    ],
)
def test_text_can_be_read(ink: str, paper: str) -> None:
    assert contrast(ink, paper) >= 4.5


def test_no_two_of_the_first_twenty_lines_look_the_same() -> None:
    lines = [palette.line(number)[:2] for number in range(20)]
    assert len(set(lines)) == 20
