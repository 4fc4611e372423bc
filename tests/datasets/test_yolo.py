"""YOLO pose as found in practice: third numbers, folders, links, and the split of its yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import pictures, put, write_yolo
from PIL import Image

from kptool.base.errors import DataError
from kptool.data import images
from kptool.data.annotations import LabelFile
from kptool.data.sources import Opening, find_reader, find_source, read_labels

POINTS = "0.2 0.3 {} 0.6 0.7 {}"


def read(path: Path, category: str | None = None) -> LabelFile:
    found, reader = find_reader(path)
    return read_labels(found, reader, Opening(category=category))[0]


def write(folder: Path, lines: dict[str, str], settings: str = "train: images/train") -> Path:
    """A yaml beside `images` and `labels`; `lines` maps picture paths below these, without suffix, to labels."""
    for name, text in lines.items():
        place = folder / "images" / f"{name}.png"
        pictures(place.parent, (place.name,))
        put(folder / "labels" / f"{name}.txt", text)
    return put(folder / "data.yaml", f"{settings}\nkpt_shape: [2, 3]\nnames: [leaf, tree]\n")


def labelled(*seen: float, kind: int = 0) -> str:
    return f"{kind} 0.5 0.5 0.8 0.8 " + POINTS.format(*seen) + "\n"


@pytest.mark.parametrize(
    ("numbers", "seen", "note"),
    [
        ([(0, 1), (2, 2)], [[0, 1], [2, 2]], None),
        ([(1, 0.97), (0.4, 0)], [[2, 2], [1, 0]], "confidences (0.4 to 1), not visibilities"),
        (
            [(0.02, 0.6), (0.5, 0.7)],
            [[1, 2], [1, 2]],
            "2 below 0.6 count as occluded, those above as visible, 0 keypoints",
        ),
        ([(1, 0.7), (2, 0)], [[1, 2], [2, 0]], "confidences"),
        ([(1, 1), (1, 0)], [[1, 1], [1, 0]], "visibility 1, which means occluded"),
        ([(-1, 3), (2, 1)], [[0, 2], [2, 1]], "1 keypoint with a third number above 2 is read as visible"),
    ],
)
def test_the_third_number_is_a_visibility_or_a_confidence(
    numbers: list[tuple[float, float]], seen: list[list[int]], note: str | None, tmp_path: Path
) -> None:
    file = read(write(tmp_path, {f"train/{i}": labelled(*pair) for i, pair in enumerate(numbers)}))
    assert [thing.visibility.tolist() for thing in file.things] == seen
    assert any(note in text for text in file.notes) if note else file.notes == ()


@pytest.mark.parametrize("number", [1.5, -0.5, 2.5])
def test_other_third_numbers_are_refused_by_line(number: float, tmp_path: Path) -> None:
    path = write(tmp_path, {"train/0": labelled(2, 2) + labelled(0.5, number)})
    with pytest.raises(DataError, match=rf"0\.txt, line 2: a keypoint's third number is {number}; expected 0"):
        read(path)


def test_boxes_without_keypoints_other_classes_and_lonely_labels_are_counted(tmp_path: Path) -> None:
    lines = {"train/0": labelled(2, 2) + "0 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1\n", "train/1": labelled(2, 2, kind=1)}
    path = write(tmp_path, lines)
    put(tmp_path / "labels" / "train" / "9.txt", labelled(2, 2))
    assert "2 lines of labels with a box and no keypoints are not used" in read(path).notes
    assert "1 file of labels without a picture is not used, the first is 9.txt" in read(path).notes
    file = read(path, "leaf")
    assert len(file.things) == 1
    assert "2 lines of labels of other classes than leaf are not used" in file.notes


WHOLE = "train: images/train\nval: images/valid\ntest: images/test"


def test_two_numbers_each_and_no_third(tmp_path: Path) -> None:
    path = write_yolo(tmp_path)
    put(tmp_path / "labels" / "train" / "a.txt", "0 0.5 0.5 0.8 0.8 0.2 0.3 0 0")
    put(tmp_path / "labels" / "train" / "b.txt", "0 0.5 0.5 0.8 0.8 0.2 0.3 0 0.1")
    put(path, "train: images/train\nkpt_shape: [2, 2]\n")
    assert np.array_equal([thing.visibility for thing in read(path).things], [[2, 0], [2, 2]])


def extracted(kptool: Any, path: Path, *arguments: object) -> tuple[Any, list[str]]:
    from kptool.cache.store import Cache

    ran = kptool("extract", path, "--out", path.parent / "out", "--size", 16, "--force", "--json", *arguments)
    assert ran.code == 0, ran.err
    with Cache(Path(ran.json()["cache"])) as cache:
        return ran.json(), [("train", "val")[side] for side in cache.read("split")]


def test_the_datas_own_split_is_kept_unless_another_is_asked_for(kptool: Any, refused: Any, tmp_path: Path) -> None:
    lines = {f"{part}/{i}": labelled(2, 2) for part, n in (("train", 6), ("valid", 3), ("test", 2)) for i in range(n)}
    path = write(tmp_path / "ds", lines, WHOLE)
    for asked in ([], ["--split", "own"]):
        done, split = extracted(kptool, path, *asked)
        assert split == ["train"] * 6 + ["val"] * 3
        assert (done["rows"], done["kept"], done["splits"]) == (11, 9, {"train": 6, "val": 3})
        assert done["dropped"] == {"of the data's own test part": 2}
        assert (
            "the split is the data's own, 6 to train and 3 for validation; --split random draws another"
            in done["notes"]
        )
        assert "2 images of the data's own test part are kept out of training and validation" in done["notes"]
    done, split = extracted(kptool, path, "--split", "random", "--val", 0.2)
    assert done["splits"] == {"train": 7, "val": 2}
    assert done["dropped"] == {"of the data's own test part": 2}
    assert "--val has no meaning" in refused("extract", path, "--out", tmp_path / "new", "--val", 0.2)
    assert "--val has no meaning" in refused("extract", path, "--out", tmp_path / "new", "--val", 0.2, "--split", "own")
    write(tmp_path / "ds", {}, "train: images/train")
    assert "has no split of its own" in refused("extract", path, "--out", tmp_path / "new", "--split", "own")
    assert not (tmp_path / "new").exists()


def test_groups_hold_beside_the_datas_own_split_or_contradict_it(kptool: Any, refused: Any, tmp_path: Path) -> None:
    path = write(
        tmp_path / "ds", {f"{part}/{i}": labelled(2, 2) for part in ("train", "valid") for i in range(3)}, WHOLE
    )
    good = put(tmp_path / "good.csv", "row,group\n" + "".join(f"{row},{row // 3}\n" for row in range(6)))
    assert extracted(kptool, path, "--groups", good)[1] == ["train"] * 3 + ["val"] * 3
    bad = put(tmp_path / "bad.csv", "row,group\n" + "".join(f"{row},{row % 3}\n" for row in range(6)))
    said = refused("extract", path, "--out", tmp_path / "new", "--size", 16, "--groups", bad)
    assert "group 0 is in both parts of the data's own split, row 0 in train and row 3 in val" in said
    assert "--split random" in said
    split = extracted(kptool, path, "--groups", bad, "--split", "random")[1]
    assert all(split[row] == split[row + 3] for row in range(3))


def test_pictures_may_lie_where_images_says(tmp_path: Path) -> None:
    """Labels are normalised by their own pictures, whatever lies beside the yaml."""
    path = write(tmp_path / "ds", {"train/0": labelled(2, 2), "val/1": labelled(2, 0), "val/2": ""})
    put(tmp_path / "ds" / "labels" / "classes.txt", "leaf")
    for k, name in enumerate(("a/train/0.jpg", "1.png", "3.png")):
        (tmp_path / "far" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (200 + 100 * k, 100), 90).save(tmp_path / "far" / name)
    opening = Opening(images=tmp_path / "far")
    file, folder = read_labels(*find_reader(path), opening)
    assert folder == tmp_path / "far"
    assert [(thing.picture, thing.split) for thing in file.things] == [("a/train/0.jpg", "train"), ("1.png", "val")]
    assert file.things[0].keypoints[0] == pytest.approx([0.2 * 200 - 0.5, 0.3 * 100 - 0.5])
    assert file.things[1].keypoints[0] == pytest.approx([0.2 * 300 - 0.5, 0.3 * 100 - 0.5])
    notes = find_source(path, opening).notes
    assert "1 picture is found by the last part of the name alone, the first is 'images/val/1.*' as 1.png" in notes
    assert any("1 picture in" in note and "the first is 3.png" in note for note in notes)
    (tmp_path / "far" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 pictures are not in .*far, the first is 'images/val/1"):
        find_source(path, opening)
    (tmp_path / "ds" / "labels").rename(tmp_path / "ds" / "other")
    with pytest.raises(DataError, match="no files of labels in a folder called labels beside it; keep them together"):
        find_source(path, opening)


def test_a_yaml_that_is_too_large_is_refused_with_the_limit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.yaml is larger than 256 KiB"):
        read(put(tmp_path / "data.yaml", "#" * (1 << 18) + "\n"))


def test_a_file_of_labels_is_of_one_picture(tmp_path: Path) -> None:
    path = write(tmp_path, {"train/0": labelled(2, 2)})
    pictures(tmp_path / "images" / "train", ("0.bmp",))
    with pytest.raises(DataError, match=r"0\.txt would be the labels of both .*0\.bmp and 0\.png; remove"):
        read(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (labelled(2, 2).strip() + " 0.9", "perhaps it ends with a confidence"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", "perhaps it is a polygon"),
        ("0 7 7", "as kpt_shape states$"),
    ],
)
def test_lines_that_other_exports_write_are_told(line: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"line 2: .*{says}"):
        read(write(tmp_path, {"train/0": labelled(2, 2) + line}))


def test_a_box_alone_is_an_area_and_an_empty_file_a_picture_without_anything(tmp_path: Path) -> None:
    """The picture without a file of labels is not stated to show nothing."""
    lines = {
        "train/0": labelled(2, 2) + "0 0.5 0.5 0.5 0.25\n1 0.5 0.5 0.1 0.1\n",
        "train/1": "",
        "train/2": labelled(2, 2),
    }
    path = write(tmp_path, lines)
    height, width = images.size(tmp_path / "images/train/0.png") or (0, 0)
    pictures(tmp_path / "images" / "train", ("3.png",))
    file = read(path, "leaf")
    (area,) = file.crowds
    assert (area.picture, area.visibility.tolist()) == ("images/train/0.png", [0, 0])
    assert area.box == (width / 4 - 0.5, height * 3 / 8 - 0.5, width / 2, height / 4)
    assert [(thing.picture, thing.box) for thing in file.empty] == [("images/train/1.png", None)]
