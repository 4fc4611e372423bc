"""Keypoint colours follow the flip pairs, never substrings of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kptool.cache.store import Cache
from kptool.data import colours
from kptool.data.colours import LEFT, MIDDLE, RIGHT


def test_the_left_one_of_a_pair_is_told_by_its_names() -> None:
    names = ["eyeR", "eyeL", "upright", "bright_spot", "leftover"]
    assert colours.of(names, [(0, 1)]) == [RIGHT, LEFT, MIDDLE, MIDDLE, MIDDLE]
    assert colours.of(["lf_paw", "rf_paw"], [(0, 1)]) == [LEFT, RIGHT]
    assert colours.legend(names, [(0, 1)]) == "left: orange circles, right: blue squares, midline: red diamonds"


def test_pairs_without_sides_in_their_names_have_one_colour_on_each_side() -> None:
    shape = [[1, 0], [-1, 0], [-2, 3], [2, 3], [0, 5]]
    for angle in np.arange(0, 6.3, 0.7):
        c, s = np.cos(angle), np.sin(angle)
        turned = np.array(shape, float) @ np.array([[c, -s], [s, c]])
        found = colours.of(["a", "b", "c", "d", "e"], [(0, 1), (2, 3)], turned)
        assert found == [LEFT, RIGHT, RIGHT, LEFT, MIDDLE]
    assert colours.of(["right_a", "left_a", "c", "d", "e"], [(0, 1), (2, 3)], shape) == [
        RIGHT,
        LEFT,
        LEFT,
        RIGHT,
        MIDDLE,
    ]
    assert colours.legend(["a", "b"], [(0, 1)]) == "one side: orange circles, the other side: blue squares"
    assert colours.sides(["a", "b"], []) == {MIDDLE: "keypoint"}
    for nonsense in (None, [[1, 2]], "shape", [[None, None]] * 5):
        assert colours.of(["a", "b", "c", "d", "e"], [(0, 1), (2, 3)], nonsense) == [LEFT, RIGHT, LEFT, RIGHT, MIDDLE]


def test_the_picture_that_proves_sides_has_the_colours_of_all_others(faces: Path) -> None:
    """The drawn colours are those of `colours.of`; titles refer to the object, which may lie at any angle."""
    from kptool.report import figures

    with Cache(faces) as cache:
        wanted = set(colours.of(cache.info.names, cache.info.flip_pairs))
        for figure in (figures.flip_pairs(cache), figures.examples(cache, 4)):
            drawn: set[Any] = set()
            for axis in figure.axes:
                for dots in axis.collections:
                    drawn |= {tuple(np.round(colour[:3], 3)) for colour in dots.get_edgecolor()}
            from matplotlib.colors import to_rgb

            assert drawn == {tuple(np.round(to_rgb(colour), 3)) for colour in wanted}
        assert "with the object upright" in figures.flip_pairs(cache)._suptitle.get_text()
