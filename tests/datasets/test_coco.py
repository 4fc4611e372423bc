"""COCO keypoints as found in practice: ids, names, visibilities, and what is reported as unused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from label_files import pictures, put

from kptool.base.errors import DataError
from kptool.data.annotations import LabelFile
from kptool.data.sources import Opening, find_reader, read_labels


def document(count: int = 3, **image: object) -> dict[str, Any]:
    """`count` pictures, each with one object of two keypoints."""
    return {
        "images": [{"id": i + 1, "file_name": f"{i}.png", **image} for i in range(count)],
        "annotations": [
            {"id": i, "image_id": i + 1, "category_id": 1, "keypoints": [10 + i, 20, 2, 30, 40, 1]}
            for i in range(count)
        ],
        "categories": [{"id": 1, "name": "leaf", "keypoints": ["tip", "base"]}],
    }


def read(folder: Path, content: dict[str, Any], category: str | None = None) -> LabelFile:
    pictures(folder, tuple(f"{i}.png" for i in range(3)))
    found, reader = find_reader(put(folder / "labels.json", json.dumps(content)))
    return read_labels(found, reader, Opening(category=category))[0]


def test_a_plain_file_needs_no_note(tmp_path: Path) -> None:
    assert read(tmp_path, document()).notes == ()


def test_lines_of_the_skeleton_count_from_one_and_odd_ones_are_told_of(tmp_path: Path) -> None:
    content = document()
    content["categories"][0]["skeleton"] = [[1, 2], [2, 1], [0, 1], [2, 3], "x", [1.0, 2]]
    file = read(tmp_path, content)
    assert file.edges == ((0, 1), (1, 0))
    assert file.notes == ("4 lines of the skeleton are not between keypoints",)


@pytest.mark.parametrize("where", ["images", "annotations", "categories"])
def test_ids_that_are_text_in_one_part_are_matched(where: str, tmp_path: Path) -> None:
    content = document()
    for row in content[where]:
        key = "image_id" if where == "annotations" else "id"
        row[key] = f"{row[key]:04d}"
    file = read(tmp_path, content)
    assert [thing.picture for thing in file.things] == ["0.png", "1.png", "2.png"]
    assert (
        any("text in one part and a number in another, and matched" in note for note in file.notes)
        or where == "categories"
    )


def test_ids_that_are_ambiguous_or_missing_are_refused(tmp_path: Path) -> None:
    content = document()
    content["images"][0]["id"], content["images"][1]["id"] = "01", "1"
    with pytest.raises(DataError, match=r"annotation 0: there is no image 1 with a file_name"):
        read(tmp_path, content)
    content = document()
    content["images"][1]["id"] = 1
    with pytest.raises(DataError, match=r"two image rows have the id 1; give each its own"):
        read(tmp_path, content)


@pytest.mark.parametrize("category", [{"id": 1, "name": "leaf"}, {"id": 1, "name": "leaf", "keypoints": []}, None])
def test_keypoints_without_names_are_numbered(category: dict[str, Any] | None, tmp_path: Path) -> None:
    content = document()
    content["categories"] = [category] if category else []
    file = read(tmp_path, content)
    assert file.names == ("p01", "p02")
    assert file.things[1].keypoints.tolist() == [[11, 20], [30, 40]]
    assert "its category does not name the keypoints, so they are called p01 to p02" in file.notes
    content["annotations"][1]["keypoints"] = [1, 2, 2]
    with pytest.raises(DataError, match=r"annotations have 3 to 6 numbers; add the names"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("given", "seen", "note"),
    [
        ((True, False), [2, 0], None),
        ((0.9, 0.0), [2, 0], "confidences (0.9 to 0.9)"),
        ((1, 0.25), [2, 1], "below 0.6 count as occluded"),
        ((1, 0), [1, 0], "visibility 1, which means occluded"),
        ((2, 1), [2, 1], None),
    ],
)
def test_visibility_is_a_number_a_truth_or_a_confidence(
    given: tuple[Any, Any], seen: list[int], note: str | None, tmp_path: Path
) -> None:
    content = document()
    for row in content["annotations"]:
        row["keypoints"][2::3] = given
    file = read(tmp_path, content)
    assert file.things[0].visibility.tolist() == seen
    assert any(note in text for text in file.notes) if note else file.notes == ()


@pytest.mark.parametrize(
    ("keypoints", "says"),
    [
        ([1, 2, 3, 4], r"annotation 1: its keypoints are 4 numbers, x and y of 2; write x, y, v of each"),
        ([1, 2, 2], r"annotation 1: expected 2 keypoints as x, y, v each, but got 3 numbers"),
        ([1, 2, 7, 3, 4, 2], r"annotation 1: a keypoint's v is 7, but must be 0"),
        ([1, 2, 1.5, 3, 4, 2], r"annotation 1: a keypoint's v is 1\.5"),
        (["a", 2, 2, 3, 4, 2], r"annotation 1: expected 2 keypoints"),
    ],
)
def test_keypoints_that_are_no_triples_are_refused(keypoints: list[Any], says: str, tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["keypoints"] = keypoints
    with pytest.raises(DataError, match=says):
        read(tmp_path, content)


def test_what_is_not_used_is_counted_and_named(tmp_path: Path) -> None:
    content = document()
    content["categories"] += [{"id": 2, "name": "car", "keypoints": ["wheel"]}, {"id": 3, "name": "sky"}]
    content["annotations"] += [
        {"id": 7, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 2], "iscrowd": 1},
        {"id": 8, "image_id": 1, "category_id": 2, "keypoints": [1, 2, 2]},
        {"id": 9, "image_id": 1, "category_id": 2, "keypoints": [1, 2, 2]},
        {"id": 10, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]},
    ]
    content["annotations"][0]["face_kpts"] = [1, 2, 2]
    content["faces"], content["info"], content["licenses"] = [{"bbox": [1, 2, 3, 4]}] * 2, {"year": 1}, [{"id": 1}]
    with pytest.raises(DataError, match=r"choose one with --category: leaf, car"):
        read(tmp_path, content)
    file = read(tmp_path, content, "leaf")
    assert len(file.things) == 3
    assert set(file.notes) == {
        "1 annotation of crowds is not used",
        "1 annotation without keypoints is not used",
        "2 annotations of other categories are not used (car 2)",
        "the annotations' face_kpts are not used, only their keypoints",
        "the file's part 'faces', with 2 rows, is not used",
    }


def test_an_image_may_say_its_part(tmp_path: Path) -> None:
    content = document()
    for row, part in zip(content["images"], ("train", "valid", "Test"), strict=True):
        row["split"] = part
    assert [thing.split for thing in read(tmp_path, content).things] == ["train", "val", "test"]


@pytest.mark.parametrize("place", ["images", "train2017", "images/train2017", "."])
def test_pictures_beside_a_folder_of_annotations_are_found(place: str, tmp_path: Path) -> None:
    pictures(tmp_path / place, ("0.png", "1.png", "2.png"))
    pictures(tmp_path / "val2017", ("0.png", "1.png", "2.png"))
    path = put(tmp_path / "annotations" / "person_keypoints_train2017.json", json.dumps(document()))
    found, reader = find_reader(path)
    assert read_labels(found, reader, Opening())[1] == tmp_path / place


def test_labels_without_a_place_and_empty_boxes_are_counted(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0].update(keypoints=[-1, -1, 2, 30, 40, 2], bbox=[])
    content["annotations"][1]["keypoints"] = [0, 0, 2, -1, -1, 0]
    file = read(tmp_path, content)
    assert [thing.visibility.tolist() for thing in file.things] == [[0, 2], [2, 0], [2, 1]]
    assert file.things[0].box is None
    assert file.notes == (
        "1 keypoint at -1,-1 is marked as labelled, but taken as missing",
        "1 keypoint at 0,0 is marked as labelled, and used",
    )


def test_the_category_names_the_thing_and_its_lines(tmp_path: Path) -> None:
    content = document()
    content["categories"][0]["skeleton"] = [[1, 2]]
    file = read(tmp_path, content)
    assert (file.category, file.edges, file.notes) == ("leaf", ((0, 1),), ())
    content["categories"][0]["skeleton"] = [[0, 1]]  # counted from 0
    assert read(tmp_path, content).edges == ((0, 1),)
    content["categories"][0]["skeleton"] = [[1, 2], [1, 3], [2, 2]]
    file = read(tmp_path, content)
    assert (file.edges, file.notes) == (((0, 1),), ("2 lines of the skeleton are not between keypoints",))
    content["categories"] = [{"id": i, "name": f"leaf{i}", "keypoints": ["tip", "base"]} for i in (1, 2)]
    content["annotations"][0]["category_id"] = 2
    assert read(tmp_path, content).category is None  # two kinds of things


def test_what_the_source_says_of_the_thing_goes_into_the_cache_and_the_weights(tmp_path: Path) -> None:
    import torch

    from kptool.cache.extraction import Options, extract
    from kptool.cache.store import Cache
    from kptool.data.sources import find_source
    from kptool.training.split import Split, describe_data

    content = document()
    content["categories"][0]["skeleton"] = [[2, 1]]
    pictures(tmp_path, tuple(f"{i}.png" for i in range(3)))
    source = find_source(put(tmp_path / "labels.json", json.dumps(content)), Opening(size=(16, 16)))
    done = extract(source, tmp_path / "out", Options(val=0.3, heatmaps="none"))
    with Cache(done.cache) as cache:
        assert (cache.info.category, cache.info.edges, cache.info.skeleton.edges) == ("leaf", ((1, 0),), ((1, 0),))
        described = describe_data(cache, Split.load(cache, torch.device("cpu")))
    assert (described["category"], described["edges"]) == ("leaf", [[1, 0]])
