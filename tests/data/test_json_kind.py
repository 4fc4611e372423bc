"""The kind of a JSON file from its beginning: whatever the order of keys and the size, and never two kinds for a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from label_files import MORE, write_labelme, write_pts
from label_tools import write_openpose

from kptool import plugins
from kptool.base.errors import DataError
from kptool.data.formats import json_kind
from kptool.data.sources import find_reader

LONG = "x" * 200_000
SHAPES = [{"label": "a", "points": [[1, 2]], "shape_type": "point"}]
KINDS: list[tuple[Any, str | None]] = [
    ({"imageData": LONG, "shapes": SHAPES, "version": "1"}, json_kind.LABELME),
    ({"shapes": SHAPES, "flags": {}, "imageData": LONG}, json_kind.LABELME),
    ({"info": {"a": '\\"{['}, "images": [], "annotations": [{"keypoints": [], "note": LONG}]}, json_kind.COCO),
    ({"annotations": [{"a": LONG, "lefthand_kpts": []}], "images": []}, json_kind.COCO_WHOLEBODY),
    ({"a.png1": {"filename": "a.png", "regions": [], "x": LONG}}, json_kind.VIA),
    ({"_via_settings": {"ui": {}}, "_via_img_metadata": {}}, json_kind.VIA),
    ([{"joints": [], "image": "a.png"}], json_kind.MPII),
    ([{"id": 1, "data": {}, "annotations": []}], json_kind.LABEL_STUDIO),
    ([], json_kind.OTHER_LIST),
    ({"people": [], "version": 1.3}, json_kind.OPENPOSE),
    ({"objects": [{"classTitle": "x"}], "size": {}}, json_kind.SUPERVISELY),
    ({"classes": [{"title": "x", "shape": "graph"}]}, json_kind.SUPERVISELY_META),
    ({}, json_kind.OTHER_OBJECT),
    (5, None),
]


@pytest.mark.parametrize(("document", "kind"), KINDS)
def test_kinds(document: Any, kind: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    assert json_kind.kind(path) == kind
    assert json_kind.kind(tmp_path / "b.json") is None
    takers = [name for name in plugins.names("datasets") if plugins.load("datasets", name).matches(path)]
    assert len(takers) == (kind is not None)


@pytest.mark.parametrize("name", [name for name in MORE if name != "numbered"])
def test_a_folder_is_recognised_as_its_label_file_is(name: str, tmp_path: Path) -> None:
    path = MORE[name](tmp_path / "set")
    folder = path if path.is_dir() else path.parent
    assert find_reader(folder)[1] is find_reader(path)[1]


def test_a_folder_of_two_kinds_is_refused(tmp_path: Path) -> None:
    write_labelme(tmp_path)
    write_pts(tmp_path)
    with pytest.raises(
        DataError, match=r"holds labels in several formats, LabelMe's json.* and a folder of .pts files"
    ):
        find_reader(tmp_path)
    for file in tmp_path.glob("*.pts"):
        file.unlink()
    write_openpose(tmp_path)
    with pytest.raises(DataError, match="holds several label files"):
        find_reader(tmp_path)
