"""COCO keypoint JSON: images, annotations with keypoints (x, y, v) and a box, categories with the keypoints' names.

`kptool.data.formats.coco_document` has the conventions. A JSON object of unknown kind is taken for COCO's, too, so that the
error says what COCO's format is.
"""

from __future__ import annotations

from pathlib import Path

from kptool.base.errors import DataError
from kptool.data.annotations import Dataset, LabelFile
from kptool.data.formats import coco_document, json_kind
from kptool.system.text import read_json


def matches(path: Path) -> bool:
    """Whether `path` is a JSON file that holds an object, and of no other kind that kptool knows."""
    return json_kind.kind(path) in (json_kind.COCO, json_kind.OTHER_OBJECT)


def read(path: Path, category: str | None = None) -> LabelFile:
    """All annotations of one category that have keypoints. Raises DataError, naming the annotation, for invalid ones."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected COCO's keypoint format, an object; export it again")
    return coco_document.labels(path, document, category)


DATASET = Dataset("COCO keypoints (json)", matches, read=read)
