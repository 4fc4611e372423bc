"""Data sets in several label files, and splits that come with the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import pictures, put, write_wide
from test_coco import document

from kptool.base.errors import ConfigError, DataError
from kptool.cache.extraction import Options
from kptool.data import convert, splits
from kptool.data.sources import Opening, find_reader, find_source, read_labels


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train2017", "train"),
        ("person_keypoints_val2017", "val"),
        ("valid", "val"),
        ("Validation", "val"),
        ("training-set", "train"),
        ("testing", "test"),
        ("trainval", ""),
        ("train_val", ""),
        ("restrained", ""),
        ("", ""),
    ],
)
def test_names_tell_parts(name: str, part: str) -> None:
    assert splits.part_of(name) == part


@pytest.mark.parametrize(
    ("parts", "codes"),
    [
        (["train", "val", "test"], [0, 1, 2]),
        (["train", "train", "test"], [-1, -1, 2]),
        (["", "", "test"], [-1, -1, 2]),
        (["train", "val", ""], None),
        (["train", "train"], None),
        (["val"], None),
        (["test", "test"], None),
        ([], None),
    ],
)
def test_a_split_is_the_datas_own_where_it_is_whole(parts: list[str], codes: list[int] | None) -> None:
    own = splits.own_split(parts)
    assert own is None if codes is None else own is not None and own.tolist() == codes


def coco(path: Path, folder: Path, count: int = 3, first: int = 0) -> Path:
    """A COCO file whose `count` pictures, numbered from `first`, are in `folder`."""
    pictures(folder, tuple(f"{i + first}.png" for i in range(count)))
    content = document(count)
    for i, row in enumerate(content["images"]):
        row["file_name"] = f"{i + first}.png"
    return put(path, json.dumps(content))


def parts(path: Path, **opening: Any) -> list[tuple[str, str]]:
    found, reader = find_reader(path)
    return [(thing.picture, thing.split) for thing in read_labels(found, reader, Opening(**opening))[0].things]


BOTH = [*((f"train2017/{i}.png", "train") for i in range(3)), *((f"val2017/{i}.png", "val") for i in range(2))]


def test_a_second_file_holds_the_validation_part(kptool: Any, tmp_path: Path) -> None:
    train = coco(tmp_path / "annotations" / "train2017.json", tmp_path / "train2017")
    val = coco(tmp_path / "annotations" / "val2017.json", tmp_path / "val2017", 2)
    assert parts(train, val_from=val) == BOTH
    assert parts(tmp_path) == BOTH  # both are found by their names
    ran = kptool("extract", train, "--val-from", val, "--out", tmp_path / "out", "--size", 16, "--json")
    assert ran.code == 0, ran.err
    assert ran.json()["splits"] == {"train": 3, "val": 2}
    source = find_source(train, Opening(val_from=val))
    assert source.files == (train, val)
    assert source.originals is not None
    assert [str(place.relative_to(tmp_path)) for place in source.originals] == [name for name, _ in BOTH]


def test_roboflows_folders_of_parts_are_one_set(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("valid", 2), ("test", 1)):
        coco(tmp_path / part / "_annotations.coco.json", tmp_path / part, count)
    assert parts(tmp_path) == [
        *((f"train/{i}.png", "train") for i in range(3)),
        *((f"valid/{i}.png", "val") for i in range(2)),
        ("test/0.png", "test"),
    ]


def test_a_test_part_without_labels_is_told(tmp_path: Path) -> None:
    coco(tmp_path / "train.json", tmp_path)
    coco(tmp_path / "val.json", tmp_path, 2, first=3)
    put(tmp_path / "test.json", json.dumps({"images": [], "annotations": []}))
    found, reader = find_reader(tmp_path)
    file, _ = read_labels(found, reader, Opening())
    assert [thing.split for thing in file.things] == ["train"] * 3 + ["val"] * 2
    assert any(note.startswith("the test part is not used: ") for note in file.notes)


def test_a_picture_in_two_parts_is_validated_with_only(tmp_path: Path) -> None:
    train = coco(tmp_path / "a.json", tmp_path, 3)
    val = coco(tmp_path / "b.json", tmp_path, 2, first=2)
    found, reader = find_reader(train)
    file, _ = read_labels(found, reader, Opening(val_from=val))
    assert [(t.picture, t.split) for t in file.things] == [
        ("0.png", "train"),
        ("1.png", "train"),
        ("2.png", "val"),
        ("3.png", "val"),
    ]
    assert "1 label of pictures that several parts name is used for validation or test alone" in file.notes
    with pytest.raises(DataError, match=r"b\.json names all pictures of .*a\.json"):
        parts(coco(tmp_path / "a.json", tmp_path, 2, first=2), val_from=val)


def test_parts_have_the_same_keypoints_in_any_order(tmp_path: Path) -> None:
    train = coco(tmp_path / "a.json", tmp_path)
    val = coco(tmp_path / "b.json", tmp_path, 1, first=3)
    content = json.loads(val.read_text())
    content["categories"][0]["keypoints"] = ["base", "tip"]
    put(val, json.dumps(content))
    found, reader = find_reader(train)
    last = read_labels(found, reader, Opening(val_from=val))[0].things[-1]
    assert last.keypoints.tolist() == [[30, 40], [10, 20]]
    assert last.visibility.tolist() == [1, 2]
    content["categories"][0]["keypoints"] = ["base"]
    content["annotations"][0]["keypoints"] = [30, 40, 1]
    put(val, json.dumps(content))
    last = read_labels(found, reader, Opening(val_from=val))[0].things[-1]
    assert last.visibility.tolist() == [0, 1]
    assert np.isnan(last.keypoints[0]).all()
    content["categories"][0]["keypoints"] = ["stem"]
    put(val, json.dumps(content))
    with pytest.raises(DataError, match=r"b\.json has a keypoint 'stem' and .*a\.json none of that name"):
        parts(train, val_from=val)


def test_val_from_wants_a_second_file_of_the_same_format(refused: Any, in_tmp: Path) -> None:
    coco(in_tmp / "a.json", in_tmp)
    write_wide(in_tmp / "b")
    assert "is another format than a.json; give both as COCO" in refused(
        "extract", "a.json", "--val-from", "b/wide.csv"
    )
    assert "names a.json itself" in refused("extract", "a.json", "--val-from", "a.json")
    assert "there is no file or folder c.json" in refused("extract", "a.json", "--val-from", "c.json")
    assert "--val-from wants SOURCE" in refused("extract", "--val-from", "a.json")
    assert "--val has no meaning" in refused("extract", "b/wide.csv", "--val-from", other(in_tmp), "--val", 0.5)


def other(folder: Path) -> Path:
    pictures(folder / "c", ("c.png",))
    return put(folder / "c" / "c.csv", "image,nose_x,nose_y\nc.png,1,2\n")


def test_a_folder_of_other_files_wants_one_named(tmp_path: Path) -> None:
    coco(tmp_path / "captions_train.json", tmp_path)
    coco(tmp_path / "keypoints_train.json", tmp_path)
    with pytest.raises(
        DataError, match=r"several label files: captions_train\.json, keypoints_train\.json; name one, and"
    ):
        find_source(tmp_path)


@pytest.mark.parametrize("form", ["coco", "yolo", "csv"])
def test_a_conversion_keeps_the_split_or_says_that_it_is_lost(form: str, tmp_path: Path) -> None:
    for part, count in (("train", 3), ("valid", 2), ("test", 1)):
        coco(tmp_path / "in" / part / "_annotations.coco.json", tmp_path / "in" / part, count)
    done = convert.convert(tmp_path / "in", tmp_path / "out", form, Opening())
    again = sorted(part for _, part in parts(done.file))
    assert again == ([""] * 6 if form == "csv" else ["test"] + ["train"] * 3 + ["val"] * 2)
    assert any("the data's own split is not written" in note for note in done.notes) == (form == "csv")


def test_a_split_of_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="--split must be own, random or similar"):
        Options(split="none")
