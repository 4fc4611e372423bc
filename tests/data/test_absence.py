"""Which missing labels mean that a keypoint is not there, and which that nobody labelled it."""

from __future__ import annotations

import numpy as np

from kptool.data.absence import countable, left_out, left_out_note


def flags(count: int, names: int, *missing: tuple[slice, list[int]]) -> np.ndarray:
    """Labels (count, names), all True but for keypoints without a label in some rows."""
    labelled = np.ones((count, names), bool)
    for rows, keypoints in missing:
        labelled[rows, keypoints] = False
    return labelled


def test_points_that_a_part_of_the_pictures_was_never_labelled_with_are_left_out() -> None:
    """As in a set of faces of which a third has 4 of 15 points."""
    few = list(range(4, 15))
    labelled = flags(300, 15, (np.s_[200:], few), (np.s_[:3], [6]), (np.s_[10:20], [1]))
    assert left_out(labelled).nonzero()[0].tolist() == few
    assert countable(labelled).nonzero()[0].tolist() == [0, 1, 2, 3]
    names = [f"p{k}" for k in range(15)]
    note = left_out_note(names, labelled)
    assert note is not None
    assert note.startswith("p4, p5, p6 and 8 more lack their labels in the same pictures, 100 of 300, so they count as")


def test_parts_that_are_hidden_together_count_as_absent() -> None:
    """An obstacle of 3 points of 17 that is not in every picture, a pair of fins, single points, and one never labelled."""
    labelled = flags(90, 17, (np.s_[:35], [7, 15, 16]), (np.s_[40:52], [4, 5]), (np.s_[52:60], [5]), (np.s_[:], [3]))
    assert not left_out(labelled).any()
    assert countable(labelled).tolist() == [k != 3 for k in range(17)]
    assert left_out_note([str(k) for k in range(17)], labelled) is None


def test_groups_that_mostly_but_not_always_go_together() -> None:
    """Missing together in 80 of 100 pictures is a coincidence of views, in 95 of 100 a scheme."""
    for together, expected in ((80, False), (95, True)):
        labelled = flags(200, 6, (np.s_[:together], [0, 1, 2]), (np.s_[together:100], [0]))
        assert left_out(labelled)[:3].any() == expected
        assert not left_out(labelled)[3:].any()
