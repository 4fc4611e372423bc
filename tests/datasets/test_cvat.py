"""CVAT's xml: its categories and flags, and what is reported as unused."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_files import pictures, put

from kptool.base.errors import DataError
from kptool.data.annotations import LabelFile
from kptool.data.sources import Opening, find_reader, read_labels

LEAF = (
    '<skeleton label="leaf" {flags}><points label="tip" points="10.5,20.5" occluded="1"/>'
    '<points label="base" points="30.5,40.5" outside="0"/><points label="side" points="1,1" outside="1"/></skeleton>'
)
LOOSE = '<points label="eye" points="50.5,60.5"/><points label="ear" points="70.5,80.5" occluded="1"/>'


def read(folder: Path, *shapes: str, category: str | None = None, more: str = "") -> LabelFile:
    """Two pictures, the first with `shapes`, the second with a leaf."""
    pictures(folder)
    images = (("a.png", "".join(shapes)), ("b.jpg", LEAF.format(flags="")))
    text = "".join(f'<image name="{name}" width="100" height="90">{inner}</image>' for name, inner in images)
    found, reader = find_reader(put(folder / "a.xml", f"<annotations>{text}{more}</annotations>"))
    return read_labels(found, reader, Opening(category=category))[0]


def test_skeletons_and_loose_points_are_two_kinds(tmp_path: Path) -> None:
    both = LEAF.format(flags=""), LOOSE
    with pytest.raises(DataError, match=r"choose one with --category: leaf \(base, side, tip\); points \(ear, eye\)"):
        read(tmp_path, *both)
    file = read(tmp_path, *both, category="leaf")
    assert file.names == ("tip", "base", "side")
    assert file.things[0].keypoints[:2].tolist() == [[10, 20], [30, 40]]
    assert file.things[0].visibility.tolist() == [1, 2, 0]
    assert file.notes == ("1 instance of the category 'points' is not used",)
    file = read(tmp_path, *both, category="points")
    assert (file.names, len(file.things)) == (("eye", "ear"), 1)
    assert file.things[0].visibility.tolist() == [2, 1]
    assert file.notes == ("2 instances of the category 'leaf' are not used",)
    with pytest.raises(DataError, match=r"has no 'tree' with keypoints; choose one of leaf"):
        read(tmp_path, *both, category="tree")


def test_skeletons_of_other_labels_are_another_kind_unless_their_points_are_the_same(tmp_path: Path) -> None:
    assert len(read(tmp_path, LEAF.format(flags="").replace('"leaf"', '"twig"')).things) == 2
    with pytest.raises(
        DataError,
        match=r"several categories with different keypoints; choose one with --category: twig \(base, side, top\); leaf",
    ):
        read(tmp_path, LEAF.format(flags="").replace('"leaf"', '"twig"').replace('"tip"', '"top"'))
    with pytest.raises(
        DataError,
        match=r"several categories with different keypoints; choose one with --category: pair \(pair01, pair02\); leaf",
    ):
        read(tmp_path, '<points label="pair" points="1,2;3,4"/>')


def test_a_skeletons_own_flags_count(tmp_path: Path) -> None:
    file = read(tmp_path, LEAF.format(flags='occluded="1"'))
    assert [thing.visibility.tolist() for thing in file.things] == [[1, 1, 0], [1, 2, 0]]
    file = read(tmp_path, LEAF.format(flags='outside="1"'))
    assert [thing.picture for thing in file.things] == ["b.jpg"]
    assert file.notes == ("1 shape that CVAT marks as outside of the picture is not used",)


def test_other_shapes_tags_and_tracks_are_counted(tmp_path: Path) -> None:
    file = read(tmp_path, '<tag label="x"/><box label="b" xtl="1"/><box label="b" xtl="2"/>', more="<track/>")
    assert file.notes == (
        "3 shapes or tags without keypoints are not used (box 2, tag 1)",
        "1 track of videos is not used; export as 'CVAT for images'",
    )


def test_a_file_of_tracks_alone_says_how_to_export(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.xml", '<annotations><track label="x"><points frame="0" points="1,2"/></track></annotations>'
    )
    found, reader = find_reader(path)
    with pytest.raises(DataError, match=r"holds tracks of a video .* export it as 'CVAT for images', with the frames"):
        read_labels(found, reader, Opening())


def test_a_name_that_is_there_twice_in_a_skeleton_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image 'a\.png': the leaf has 'tip' twice"):
        read(tmp_path, LEAF.format(flags="").replace('"base"', '"tip"'))


def test_a_label_of_skeletons_and_of_points_is_two_kinds(tmp_path: Path) -> None:
    pair = '<points label="leaf" points="1.5,2.5;3.5,4.5"/>'
    with pytest.raises(
        DataError,
        match=r"choose one with --category: points:leaf \(leaf01, leaf02\); skeleton:leaf \(base, side, tip\)",
    ):
        read(tmp_path, pair)
    file = read(tmp_path, pair, category="skeleton:leaf")
    assert (file.names, len(file.things)) == (("tip", "base", "side"), 1)
    assert file.notes == ("1 instance of the category 'points:leaf' is not used",)
    file = read(tmp_path, pair, category="points:leaf")
    assert file.things[0].keypoints.tolist() == [[1, 2], [3, 4]]


def test_points_elements_of_fewer_points_than_others_are_counted(tmp_path: Path) -> None:
    shapes = '<points label="f" points="1,2;3,4"/><points label="f" points="1,2;3,4;5,6"/>'
    file = read(tmp_path, shapes, category="f")
    assert [thing.visibility.tolist() for thing in file.things] == [[2, 2, 0], [2, 2, 2]]
    assert file.notes[0] == (
        "1 instance of the category 'f' has fewer points than others, which have up to 3; the last ones are unlabelled there"
    )
