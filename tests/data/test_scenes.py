"""Whole pictures for a finder: when there are any, the boxes in them, and what teaches nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scene_data import SIZE, picture, some_scenes, write_scenes

from kptool.data.annotations import SceneBlock, Source
from kptool.data.sources import Opening, find_source


def blocks_of(source: Source) -> list[SceneBlock]:
    assert source.scenes is not None
    return list(source.scenes())


def test_every_instance_of_a_picture_has_its_box_in_the_scene(tmp_path: Path) -> None:
    source = find_source(write_scenes(tmp_path, some_scenes(10)))
    size = source.scene_size
    assert size is not None
    assert all(side % 32 == 0 for side in size)
    scale = min(size[0] / SIZE[0], size[1] / SIZE[1])
    seen = 0
    for block in blocks_of(source):
        for image, boxes, teaches, rows in zip(block.images, block.boxes, block.teaches, block.rows, strict=True):
            assert image.shape == size
            assert teaches.all()
            assert len(rows) in (1, 2)
            assert np.allclose(boxes[:, 2:], [31 * scale, 17 * scale], rtol=1e-5)  # of pixels, from edge to edge
            for x, y, width, height in boxes:
                inside = image[round(y + height / 2), round(x + 0.3 * width)]
                assert inside > 180, "the box lies around the arrow"
            seen += len(rows)
    assert seen == source.total == 15
    assert any("for a finder to learn where instances are" in note for note in source.notes)


def test_one_instance_that_fills_its_picture_is_not_searched_for(tmp_path: Path) -> None:
    path = write_scenes(tmp_path, [[(100, 50)], [(90, 40)]])
    assert find_source(path, Opening(crop="picture")).scenes is None
    text = path.read_text(encoding="utf-8")
    large = text.replace('"keypoints": [', '"bbox": [5, 5, 170, 80], "keypoints": [', 2)
    path.write_text(large, encoding="utf-8")
    source = find_source(path)
    assert source.margin == 0.15
    assert source.scenes is None
    assert source.scene_size is None


def test_small_instances_are_cut_out_of_large_pictures(tmp_path: Path) -> None:
    source = find_source(write_scenes(tmp_path, [[(30, 25)], [(40, 20)], [(50, 30)]]))
    assert source.margin == 0.15
    assert len(blocks_of(source)) == 1
    for place in (
        tmp_path / "images"
    ).iterdir():  # in a picture that is no larger than the default image, nothing is lost
        Image.open(place).resize((100, 50)).save(place)
    small = (tmp_path / "labels.json").read_text(encoding="utf-8").replace('"width": 200, "height": 100', '"id2": 0')
    (tmp_path / "labels.json").write_text(small, encoding="utf-8")
    assert find_source(tmp_path / "labels.json").margin is None


def test_crowds_and_instances_without_labels_teach_nothing_and_empty_pictures_do(tmp_path: Path) -> None:
    crowd = {"id": 90, "image_id": 0, "category_id": 1, "iscrowd": 1, "bbox": [100, 0, 100, 100], "keypoints": [0] * 9}
    bare = {"id": 91, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 20], "keypoints": [0] * 9}
    empty = {"id": 50, "file_name": "empty.png", "width": 200, "height": 100}
    path = write_scenes(tmp_path, [[(30, 30)], [(150, 50), (100, 20)]], annotations=[crowd, bare], images=[empty])
    picture([]).save(tmp_path / "images" / "empty.png")
    source = find_source(path)
    (block,) = blocks_of(source)
    assert [each.tolist() for each in block.teaches] == [[True, False], [True, True, False], []]
    assert [each.tolist() for each in block.rows] == [[0, -1], [1, 2, 3], []]
    assert "1 annotation of crowds is not used" in source.notes
    assert not any("without an instance" in note for note in source.notes)
    assert source.scene_size is not None
    scale = min(source.scene_size[0] / SIZE[0], source.scene_size[1] / SIZE[1])
    assert block.boxes[0][1][2] == pytest.approx(100 * scale)
