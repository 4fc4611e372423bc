"""Labels of other tools are opened to be corrected, and none is lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kptool.base.errors import DataError
from kptool.label import existing
from kptool.label.entries import Entry, Instance
from kptool.label.labels import Labels
from kptool.label.project import Project

POINTS = ("tip", "base")


def coco(folder: Path, *annotations: dict[str, Any]) -> Path:
    """A COCO file of a.png, b.png, and one outside the folder."""
    for name in ("photos/a.png", "photos/sub/b.png", "photos/c.png"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("L", (40, 30)).save(folder / name)
    images = [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(("a.png", "sub/b.png"))]
    document = {
        "images": images,
        "annotations": [{"id": i, "category_id": 1, "iscrowd": 0, **each} for i, each in enumerate(annotations)],
        "categories": [{"id": 1, "name": "tool", "keypoints": list(POINTS), "skeleton": [[1, 2]]}],
    }
    path = folder / "others.json"
    path.write_text(json.dumps(document))
    return path


def test_points_boxes_and_visibility_are_taken_over(tmp_path: Path) -> None:
    path = coco(
        tmp_path,
        {"image_id": 0, "keypoints": [3, 4, 2, 0, 0, 0], "bbox": [1, 2, 10, 12], "area": 120, "num_keypoints": 1},
        {"image_id": 1, "keypoints": [5, 6, 1, 7, 8, 2], "bbox": [0, 0, 0, 0], "area": 0, "num_keypoints": 2},
    )
    folder = tmp_path / "photos"
    file, places = existing.read(path, folder)
    assert (file.names, file.edges) == (POINTS, ((0, 1),))
    labels = Labels(folder, file.names, file.edges)
    project = Project.of(labels)
    notes = existing.add(project, file, places)
    assert labels.get("a.png") == Entry((Instance(((3.0, 4.0, 2), (0.0, 0.0, 0)), (1.0, 2.0, 10.0, 12.0)),), done=True)
    assert labels.get("sub/b.png").instances == (Instance(((5.0, 6.0, 1), (7.0, 8.0, 2))),)
    assert not any("not used" in note for note in notes)
    labels.close()
    again = Labels(folder, POINTS)
    assert again.get("a.png").done
    assert not again.get("c.png").done
    again.close()


def test_what_is_labelled_here_stays_and_is_counted(tmp_path: Path) -> None:
    path = coco(tmp_path, {"image_id": 0, "keypoints": [3, 4, 2, 5, 6, 2], "bbox": [1, 2, 9, 9], "num_keypoints": 2})
    folder = tmp_path / "photos"
    labels = Labels(folder, POINTS)
    mine = labels.put("a.png", (30, 40), Entry((Instance(((1.0, 1.0, 2), (2.0, 2.0, 2))),)))
    project = Project.of(labels)
    notes = existing.add(project, *existing.read(path, folder))
    assert labels.get("a.png") == mine
    assert notes[-1] == "1 instances are in pictures that are labelled here already, and are not used"
    labels.close()


def test_labels_of_a_picture_of_another_size_are_counted(tmp_path: Path) -> None:
    path = coco(tmp_path, {"image_id": 0, "keypoints": [3, 4, 2, 5, 6, 2], "bbox": [1, 2, 9, 9], "num_keypoints": 2})
    folder = tmp_path / "photos"
    Image.new("L", (30, 40)).save(folder / "a.png")  # turned since
    labels = Labels(folder, POINTS)
    notes = existing.add(Project.of(labels), *existing.read(path, folder))
    assert labels.entries == {}
    assert notes[-1].startswith("1 instances are of pictures of another size than the files in")
    labels.close()


def test_a_source_with_pictures_of_its_own_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.csv"
    path.write_text("left_eye_center_x,left_eye_center_y,Image\n1,2," + " ".join(["0"] * 9216) + "\n")
    with pytest.raises(DataError, match="holds its pictures itself"):
        existing.read(path, tmp_path)
