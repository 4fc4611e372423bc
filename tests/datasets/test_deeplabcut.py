"""DeepLabCut's folders and files as found in practice: projects, several videos and animals, unusual separators."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_files import pictures, put

from kptool.base.errors import DataError
from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache
from kptool.data.annotations import LabelFile
from kptool.data.sources import find_source
from kptool.datasets import deeplabcut

HEAD = "scorer,me,me,me,me\nbodyparts,tip,tip,base,base\ncoords,x,y,x,y\n"


def seen(file: LabelFile) -> list[list[int]]:
    return [thing.visibility.tolist() for thing in file.things]


def project(folder: Path, videos: tuple[str, ...] = ("vid1", "vid2"), frames: int = 4) -> Path:
    """A project with several videos whose frames have the same names; x of the tip identifies the video."""
    for number, video in enumerate(videos):
        names = tuple(f"img{i}.png" for i in range(frames))
        pictures(folder / "labeled-data" / video, names)
        rows = [f"labeled-data/{video}/{name},{10 * number + 1},2,3,4\n" for name in names]
        put(folder / "labeled-data" / video / "CollectedData_me.csv", HEAD + "".join(rows))
    settings = (
        "Task: reach\nscorer: me\nvideo_sets:\n  ? C:\\videos\\vid1.avi\n  : crop: 0, 640\nbodyparts:\n- base\n- tip\n"
    )
    put(folder / "config.yaml", settings)
    return folder


@pytest.mark.parametrize("given", [".", "labeled-data", "config.yaml"])
def test_a_project_is_read_with_all_its_videos_each_a_group(given: str, tmp_path: Path) -> None:
    path = project(tmp_path / "p") / given
    source = find_source(path)
    blocks = next(source.blocks())
    order = ("tip", "base") if given == "labeled-data" else ("base", "tip")  # as in config.yaml, if any
    assert source.skeleton.names == order
    assert blocks.keypoints[:, order.index("tip"), 0].round().tolist() == [1] * 4 + [11] * 4
    assert source.groups is not None
    assert source.groups.tolist() == [0] * 4 + [1] * 4
    assert source.originals is not None
    assert [place.parent.name for place in source.originals] == ["vid1"] * 4 + ["vid2"] * 4
    assert source.notes[0] == "2 videos, whose frames stay together in a split"
    done = extract(source, tmp_path / "out", Options(val=0.3))
    with Cache(done.cache) as cache:
        assert sorted(cache.read("split").tolist()) == [0] * 4 + [1] * 4
        assert len(set(cache.read("split")[:4].tolist())) == 1


def test_one_video_is_split_by_frames_and_says_so(tmp_path: Path) -> None:
    source = find_source(project(tmp_path, ("vid1",)))
    assert source.groups is not None
    assert source.groups.tolist() == [0, 1, 2, 3]
    assert (
        "all pictures are in one folder, as frames of one video are; --split similar keeps near-duplicates together"
        in source.notes
    )
    alone = find_source(tmp_path / "labeled-data" / "vid1" / "CollectedData_me.csv")
    assert alone.total == 4


def test_a_csv_of_several_videos_has_their_groups(tmp_path: Path) -> None:
    for video in ("a", "b"):
        pictures(tmp_path / "labeled-data" / video, ("0.png",))
    rows = "labeled-data,a,0.png,1,2,3,4\nlabeled-data,b,0.png,1,2,3,4\n"
    head = HEAD.replace(",me,", ",,,me,", 1).replace("bodyparts", "bodyparts,,").replace("coords", "coords,,")
    source = find_source(put(tmp_path / "CollectedData.csv", head + rows))
    assert source.groups is not None
    assert source.groups.tolist() == [0, 1]
    assert "2 videos" in source.notes[0]


def test_what_config_and_labels_lack_of_each_other_is_said(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "labeled-data" / "vid3").mkdir()
    (tmp_path / "labeled-data" / "vid1_labeled").mkdir()
    put(tmp_path / "config.yaml", "Task: t\nscorer: me\nbodyparts: [base, tail]\n")
    file = deeplabcut.read(tmp_path)
    assert file.names == ("base", "tip")
    assert file.notes[:3] == (
        "1 folder of labeled-data has no CollectedData: vid3",
        "config.yaml names body parts without labels: tail",
        "config.yaml does not name these labelled body parts: tip",
    )


def test_the_scorer_of_the_project_is_taken_and_several_without_one_are_refused(tmp_path: Path) -> None:
    project(tmp_path, ("vid1",))
    put(tmp_path / "labeled-data" / "vid1" / "CollectedData_you.csv", HEAD + "labeled-data/vid1/img0.png,9,9,9,9\n")
    assert len(deeplabcut.read(tmp_path).things) == 4
    with pytest.raises(DataError, match=r"several label files: CollectedData_me\.csv, CollectedData_you\.csv"):
        deeplabcut.read(tmp_path / "labeled-data")


@pytest.mark.parametrize("change", ["semicolons", "blank lines", "short rows", "long rows"])
def test_csv_as_other_programs_leave_it(change: str, tmp_path: Path) -> None:
    rows = "labeled-data/v/a.png,1.5,2,3,4\nlabeled-data/v/b.jpg,5.25,6,,\n"
    text = HEAD + rows
    if change == "semicolons":
        text = text.replace(",", ";").replace(".5", ",5").replace(".25", ",25")
    elif change == "blank lines":
        text = "\n" + text.replace("\n", "\n\n") + ",,,,\n"
    elif change == "short rows":
        text = text.replace("5.25,6,,\n", "5.25,6\n")
    else:
        text = text.replace("3,4\n", "3,4,,\n").replace("coords,x,y,x,y", "coords,x,y,x,y,")
    file = deeplabcut.read(put(tmp_path / "CollectedData_me.csv", text))
    assert seen(file) == [[2, 2], [2, 0]]
    assert file.things[0].keypoints.tolist() == [[1.5, 2], [3, 4]]
    assert file.things[1].keypoints[0].tolist() == [5.25, 6]
    said = [note for note in file.notes if "early" in note]
    assert said == (["1 row ends early, in line 5; missing cells are read as empty"] if change == "short rows" else [])


def test_a_row_with_more_than_the_header_is_refused_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 5: 6 cells, but the header has 5"):
        deeplabcut.read(put(tmp_path / "CollectedData.csv", HEAD + "\na.png,1,2,3,4,5\n"))


@pytest.mark.parametrize(
    ("coord", "values", "expected"),
    [
        ("likelihood", ("0.99", "0.1", "0"), [2, 1, 0]),
        ("visible", ("2", "1", "0"), [2, 1, 0]),
        ("visible", ("1", "0", "1"), [2, 1, 2]),
    ],
)
def test_likelihood_and_visible_count(coord: str, values: tuple[str, ...], expected: list[int], tmp_path: Path) -> None:
    head = f"scorer,me,me,me\nbodyparts,tip,tip,tip\ncoords,x,y,{coord}\n"
    rows = "".join(f"v/{i}.png,5,6,{value}\n" for i, value in enumerate(values))
    file = deeplabcut.read(put(tmp_path / "CollectedData.csv", head + rows))
    assert [flag for (flag,) in seen(file)] == expected
    assert any("confidence" in note for note in file.notes) == (coord == "likelihood")


def test_coords_that_say_nothing_known_are_named(tmp_path: Path) -> None:
    text = "scorer,me,me,me\nbodyparts,tip,tip,tip\ncoords,x,y,z\nv/a.png,5,6,7\n"
    assert "the column z is not used" in deeplabcut.read(put(tmp_path / "CollectedData.csv", text)).notes


ANIMALS = (
    "scorer,me,me,me,me,me,me\nindividuals,m1,m1,m2,m2,single,single\nbodyparts,tip,tip,tip,tip,corner,corner\n"
    "coords,x,y,x,y,x,y\nv/a.png,1,2,3,4,5,6\nv/b.png,,,3,4,5,6\nv/c.png,,,,,5,6\n"
)


def test_body_parts_of_no_animal_are_no_animal(tmp_path: Path) -> None:
    path = put(tmp_path / "CollectedData.csv", ANIMALS)
    file = deeplabcut.read(path)
    assert file.names == ("tip",)
    assert [(thing.picture, thing.keypoints.tolist()) for thing in file.things] == [
        ("v/a.png", [[1, 2]]),
        ("v/a.png", [[3, 4]]),
        ("v/b.png", [[3, 4]]),
    ]
    assert file.notes[:2] == (
        "CollectedData.csv: 1 picture has no labelled animal and is not used",
        "3 labels of body parts that belong to no animal (corner) are not used; --category single reads them alone",
    )
    alone = deeplabcut.read(path, "single")
    assert alone.names == ("corner",)
    assert [thing.keypoints.tolist() for thing in alone.things] == [[[5, 6]]] * 3
    assert len(deeplabcut.read(path, "m1").things) == 1
    with pytest.raises(DataError, match="no individual 'm3'; choose one of m1, m2, single"):
        deeplabcut.read(path, "m3")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scorer,me,me\nbodyparts,tip,tip\ncoords,x,x\na.png,1,2\n", "tip does not have one x and one y"),
        ("scorer,me\nbodyparts,tip\ncoords,x\na.png,1\n", "tip does not have one x and one y"),
        ("scorer,me,me\nbodyparts,tip\ncoords,x,y\na.png,1,2\n", "its header rows differ in length"),
        (
            "scorer,me,me\nbodyparts,tip,tip\ncoords,x,y\n0,1,2\n1,1,2\n",
            "numbers its rows, as DeepLabCut's predictions",
        ),
        ("scorer,me,me\nbodyparts,tip,tip\ncoords,x,y\na.png,1,zwei\n", "line 4: tip y is 'zwei'"),
        ("scorer,me,me\nbodyparts,tip,tip\ncoords,x,y\na.png,1,\n", "line 4: a keypoint has one coordinate"),
        ("scorer,me,me\n", "expected DeepLabCut's header rows"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        deeplabcut.read(put(tmp_path / "CollectedData.csv", text))


def test_labels_of_another_videos_frames_are_refused_where_these_exist_and_else_said(tmp_path: Path) -> None:
    project(tmp_path)
    other = tmp_path / "labeled-data" / "vid2"
    put(other / "CollectedData_me.csv", HEAD + "labeled-data/vid1/img0.png,1,2,3,4\n")
    for given in (tmp_path, other / "CollectedData_me.csv"):
        with pytest.raises(
            DataError, match=r"line 4: the labels are of labeled-data/vid1/img0\.png, and img0\.png beside"
        ):
            deeplabcut.read(given)
    put(other / "CollectedData_me.csv", HEAD + "labeled-data/gone/img0.png,1,2,3,4\n")
    file = deeplabcut.read(tmp_path)
    assert file.things[-1].picture == "labeled-data/vid2/img0.png"
    assert any("1 picture is taken from vid2 by file name, not from the stated path" in note for note in file.notes)


def test_labels_of_another_scorer_are_named(tmp_path: Path) -> None:
    project(tmp_path, ("vid1",))
    put(tmp_path / "labeled-data" / "vid1" / "CollectedData_you.csv", HEAD + "labeled-data/vid1/img0.png,9,9,9,9\n")
    notes = deeplabcut.read(tmp_path).notes
    assert "CollectedData_you.csv of vid1 is not used, as config.yaml names the scorer me" in notes
