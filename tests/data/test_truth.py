"""The labelled instances of whole pictures: boxes, areas, and what counts neither way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kptool.data.sources import Opening
from kptool.data.truth import BOX_SHARE, LabelledPictures, labelled_pictures


def row(number: int, image: int, points: list[float], **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": 1, "keypoints": points, **more}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two pictures of fish, one without any."""
    rows = [
        row(1, 1, [2, 3, 2, 12, 3, 1], bbox=[1, 1, 20, 10], area=77.0),
        row(2, 1, [2, 30, 2, 12, 30, 2], bbox=[1, 25, 20, 10], area=200.0),
        row(3, 2, [30, 30, 2, 40, 30, 2]),
        row(4, 2, [0, 0, 0, 0, 0, 0], bbox=[5, 5, 10, 10], num_keypoints=0, area=60),
    ]
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 48} for i in (1, 2, 3)],
        "annotations": rows,
        "categories": [{"id": 1, "name": "fish", "keypoints": ["head", "tail"]}],
    }
    for i in (1, 2, 3):
        Image.new("L", (60, 48), i).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.json").write_text(json.dumps(document))
    return tmp_path / "labels.json"


def read(path: Path, share: float | None = None) -> LabelledPictures:
    return labelled_pictures(path, Opening(), share)


def test_pictures_with_their_instances(labels: Path) -> None:
    found = read(labels)
    assert found.names == ("head", "tail")
    assert [each.name for each in found.pictures] == ["1.png", "2.png", "3.png"]
    first, second, third = found.pictures
    assert first.points.tolist() == [[[2, 3], [12, 3]], [[2, 30], [12, 30]]]
    assert first.visibility.tolist() == [[2, 1], [2, 2]]
    assert first.boxes[0].tolist() == [0.5, 0.5, 20, 10]  # from the first pixel's centre
    assert first.rows.tolist() == [0, 1]
    assert third.points.shape == (0, 2, 2)
    assert [each.read().pixels[0, 0] for each in found.pictures] == [1, 2, 3]
    assert second.ignored.tolist() == [False, True]


def test_areas_are_the_stated_ones_unless_they_are_of_the_box(labels: Path) -> None:
    found = read(labels)
    assert found.pictures[0].areas.tolist() == [77, pytest.approx(BOX_SHARE * 200)]
    assert found.area_from == "as labelled for 1 instances, 0.53 of the box for 2"
    assert any(note.startswith("1 stated area is of the box, of which 0.53 is taken") for note in found.notes)


def test_a_share_of_the_box_is_taken_in_any_case(labels: Path) -> None:
    found = read(labels, 1.0)
    assert found.pictures[0].areas.tolist() == [200, 200]
    assert found.area_from == "1 of the box"
    assert not any("stated area" in note for note in found.notes)


def test_without_a_box_it_is_made_from_the_points(labels: Path) -> None:
    """As for crops: the points' extent, enlarged by the usual ratio."""
    second = read(labels).pictures[1]
    left, top, width, height = second.boxes[0].tolist()
    assert left < 29.5
    assert left + width > 40.5
    assert second.areas[0] == pytest.approx(BOX_SHARE * width * height)
    assert top + height / 2 == pytest.approx(30)


def test_a_source_with_its_pictures_inside(tmp_path: Path) -> None:
    """Kaggle's csv."""
    names = [f"{name}_{axis}" for name in ("nose_tip", "mouth_center") for axis in "xy"]
    pixels = " ".join(["7"] * 96 * 96)
    (tmp_path / "training.csv").write_text(f"{','.join(names)},Image\n40,30,44,60,{pixels}\n41,30,,,{pixels}\n")
    found = read(tmp_path / "training.csv")
    assert len(found.pictures) == 2
    assert found.pictures[0].points.tolist() == [[[40, 30], [44, 60]]]
    assert found.pictures[1].visibility.tolist() == [[2, 0]]
    assert np.array_equal(found.pictures[1].read().pixels, np.full((96, 96), 7, np.uint8))


def test_areas_of_crowds_and_boxes_without_keypoints_count_neither_way(labels: Path) -> None:
    """Of the category that is read; also in pictures that show nothing else, and in the parts of a set."""
    document = json.loads(labels.read_text())
    document["categories"].append({"id": 2, "name": "hook"})
    document["annotations"] += [
        row(5, 1, [0] * 6, iscrowd=1, num_keypoints=0, bbox=[40, 20, 10, 20], area=150),
        {"id": 6, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 5]},
        {"id": 7, "image_id": 1, "category_id": 2, "bbox": [0, 0, 4, 5]},
        row(8, 3, [0] * 6, iscrowd=1, num_keypoints=0, bbox=[1, 1, 2, 2]),
    ]
    labels.write_text(json.dumps(document))
    first, _, third = read(labels).pictures
    assert first.crowd.tolist() == [False, False, True, True]
    assert first.boxes[2:].tolist() == [[39.5, 19.5, 10, 20], [-0.5, -0.5, 4, 5]]
    assert first.areas[2:].tolist() == [150, 20]
    assert first.rows.tolist() == [0, 1, -1, -1]
    assert third.ignored.tolist() == [True]
    train, val = ({**document, "images": [document["images"][i]]} for i in (0, 1))
    for part, number in ((train, 1), (val, 2)):
        part["annotations"] = [each for each in document["annotations"] if each["image_id"] == number]
    labels.unlink()
    (labels.parent / "train.json").write_text(json.dumps(train))
    (labels.parent / "val.json").write_text(json.dumps(val))
    merged = {each.name: each.crowd.tolist() for each in read(labels.parent).pictures}
    assert merged == {"1.png": [False, False, True, True], "2.png": [False, False]}
