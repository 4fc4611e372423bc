"""YOLO's folders: paths, lists and links of other machines, and the split that they tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_files import pictures, put
from test_yolo import WHOLE, labelled, read, write

from kptool.base.errors import DataError
from kptool.data.sources import Opening, find_source

SPLIT = {"train/a": labelled(2, 2), "train/b": labelled(2, 2), "valid/a": labelled(2, 2), "test/a": labelled(2, 2)}


@pytest.mark.parametrize(
    "settings",
    [
        WHOLE,
        WHOLE.replace("val:", "valid:"),
        WHOLE.replace(": images", ": ../images"),
        "path: /nowhere/at/all/ds\n" + WHOLE,
        "path: C:\\ds\n" + WHOLE.replace("/", "\\"),
        WHOLE.replace(": images", ": /content/ds/images"),
        "train: [images/train]\nval: [images/valid]\ntest: [images/test]",
    ],
)
def test_paths_of_other_machines_are_found_beside_the_yaml_with_their_split(settings: str, tmp_path: Path) -> None:
    file = read(write(tmp_path / "ds", SPLIT, settings))
    assert [(thing.picture, thing.split) for thing in file.things] == [
        ("images/test/a.png", "test"),
        ("images/train/a.png", "train"),
        ("images/train/b.png", "train"),
        ("images/valid/a.png", "val"),
    ]
    assert file.notes == ()


def test_roboflows_layout_is_read(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        pictures(tmp_path / part / "images", ("0.png",))
        put(tmp_path / part / "labels" / "0.txt", labelled(2, 2))
    path = put(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nkpt_shape: [2, 3]\n")
    assert [(t.picture, t.split) for t in read(path).things] == [
        ("train/images/0.png", "train"),
        ("valid/images/0.png", "val"),
    ]
    assert find_source(path).split is not None


def test_a_yaml_beside_another_folder_is_read_and_said(tmp_path: Path) -> None:
    inside = write(tmp_path / "ds", SPLIT)
    for home in ("../ds", str(tmp_path / "ds")):
        path = put(tmp_path / "cfg" / "data.yaml", f"path: {home}\n{WHOLE}\nkpt_shape: [2, 3]\n")
        file = read(path)
        assert len(file.things) == 4
        assert file.folder == inside.parent / "images"
        assert any(f"pictures are read from {tmp_path / 'ds' / 'images' / 'train'}" in note for note in file.notes)
        assert next(iter(find_source(path, Opening(size=(16, 16))).blocks())).images.shape == (4, 16, 16)


@pytest.mark.parametrize("home", ["../private", "{}/private", "../../private"])
@pytest.mark.parametrize("train", ["images", "../private/images", "."])
def test_a_yaml_reads_nothing_elsewhere_that_is_not_laid_out_as_yolo(home: str, train: str, tmp_path: Path) -> None:
    pictures(tmp_path / "private" / "images")
    path = write(tmp_path / "ds" / "deep", {}, f"path: {home.format(tmp_path)}\ntrain: {train}")
    with pytest.raises(DataError, match=r"data\.yaml"):
        read(path)


def test_a_list_names_nothing_outside(tmp_path: Path) -> None:
    pictures(tmp_path / "private" / "images")
    put(tmp_path / "private" / "labels" / "a.txt", labelled(2, 2))
    path = write(tmp_path / "ds", {"train/0": labelled(2, 2)}, "train: list.txt")
    for name in ("../private/images/a.png", str(tmp_path / "private" / "images" / "a.png")):
        put(path.parent / "list.txt", name)
        with pytest.raises(DataError, match=r"outside of its folder; name pictures from the yaml's folder on"):
            read(path)
    put(path.parent / "list.txt", "/content/ds/images/train/0.png\n")
    assert [thing.picture for thing in read(path).things] == ["images/train/0.png"]


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "ds", {"train/0": labelled(2, 2)})
    (tmp_path / "ds" / "images").rename(tmp_path / "store")
    (tmp_path / "ds" / "images").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store" / "train" / "round").symlink_to(tmp_path / "store", target_is_directory=True)
    assert next(iter(find_source(path, Opening(size=(16, 16))).blocks())).images.shape == (1, 16, 16)


def test_labels_beside_pictures_are_read_where_no_folder_is_called_images(tmp_path: Path) -> None:
    pictures(tmp_path / "images" / "ds" / "train", ("0.png",))  # the parent folder is not part of the set
    put(tmp_path / "images" / "ds" / "train" / "0.txt", labelled(2, 2))
    path = put(tmp_path / "images" / "ds" / "data.yaml", "train: train\nkpt_shape: [2, 3]\n")
    assert [thing.picture for thing in read(path).things] == ["train/0.png"]


@pytest.mark.parametrize(
    ("settings", "parts", "note"),
    [
        ("train: images/train\nval: images/train", ["", ""], "bring no split of their own"),
        ("train: images/train\nval: images/train\ntest: images/test", ["test", "", ""], "bring no split"),
        ("train: images\nval: images/valid", ["train", "train", "train", "val"], "1 picture is named in several parts"),
        ("train: images/train\nval: images/valid\ntest: images/valid", ["train", "train", "val"], "1 picture is named"),
        ("train: images/train\nval: images/gone", ["train", "train"], "val: images/gone of the yaml is not there"),
    ],
)
def test_parts_that_overlap_or_are_missing_are_told(settings: str, parts: list[str], note: str, tmp_path: Path) -> None:
    file = read(write(tmp_path, SPLIT, settings))
    assert [thing.split for thing in file.things] == parts
    assert any(note in text for text in file.notes)


def test_a_list_in_another_folder_is_read_where_it_lies_as_yolo_has_it(tmp_path: Path) -> None:
    home = write(tmp_path / "ds", {"train/0": labelled(2, 2)}).parent
    put(home / "train.txt", f"{home}/images/train/0.png\n")
    (tmp_path / "cfg").mkdir()
    path = put(tmp_path / "cfg" / "g.yaml", f"path: {home}\ntrain: train.txt\nkpt_shape: [2, 3]\n")
    file = read(path)
    assert len(file.things) == 1
    assert any(f"pictures are read from {home / 'train.txt'}" in note for note in file.notes)
    put(home / "secret" / "a.png", "")
    put(home / "train.txt", "secret/a.png\n")
    with pytest.raises(DataError, match="names a picture outside of the folder images beside it"):
        read(path)


@pytest.mark.parametrize("train", [r"C:\\u\\ds\\images\\train", r"C:\u\ds\images\train", "//server/ds/images/train"])
def test_paths_of_another_system_are_absolute(train: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"train/0": labelled(2, 2), "val/1": labelled(2, 2)}, f"train: {train}\nval: images/val")
    assert [thing.split for thing in read(path).things] == ["train", "val"]


def test_that_nothing_is_for_training_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, {"val/1": labelled(2, 2)}, "train: images/train\nval: images/val")
    assert "none of the yaml's pictures are for training, so those for validation are split anew, at random" in (
        read(path).notes
    )
