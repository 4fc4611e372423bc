"""``kptool evaluate`` on labels of whole pictures: what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import synthetic
from PIL import Image

from kptool.api.evaluate import evaluate
from kptool.base.skeleton import FACE15


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten synthetic faces as COCO, one picture each; the boxes are the pictures."""
    folder = tmp_path_factory.mktemp("whole")
    images, keypoints = synthetic(10)
    document: dict[str, Any] = {"images": [], "annotations": []}
    document["categories"] = [{"id": 1, "name": "face", "keypoints": list(FACE15.names)}]
    for number, (image, points) in enumerate(zip(images, keypoints, strict=True)):
        height, width = image.shape
        name = f"{number}.png"
        Image.fromarray(image).save(folder / name)
        document["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        flat = np.column_stack([points, np.full(15, 2)]).ravel().tolist()
        about = {"id": number, "image_id": number, "category_id": 1, "bbox": [0, 0, width, height]}
        document["annotations"].append(about | {"keypoints": flat})
    (folder / "labels.json").write_text(json.dumps(document))
    return folder / "labels.json"


def test_json_is_the_functions_document(kptool: Any, run_folder: Path, labels: Path) -> None:
    ran = kptool("evaluate", run_folder, labels, "--no-detect", "--json")
    document = ran.json()
    mine = evaluate(run_folder, labels, detect=False, progress=False).to_dict()
    assert document == json.loads(json.dumps(mine))
    assert (document["pictures"], document["instances"]) == (10, 10)
    assert document["area_from"] == "0.53 of the box"
    assert document["recall"] == document["found"] / 10
    assert "kptool: using the run in " in ran.err


def test_the_tables(kptool: Any, run_folder: Path, labels: Path, in_tmp: Path) -> None:
    ran = kptool(
        "evaluate", run_folder, labels, "--no-detect", "--sigmas", "1/11", "--oks", "0.3", "--coco", in_tmp / "c.json"
    )
    assert f"10 instances in 10 pictures of {labels}" in ran.out
    assert "mAP, OKS 0.50 to 0.95" in ran.out
    assert "precision at OKS 0.3" in ran.out
    assert "mouth_center_bottom_lip" in ran.out
    assert "sigmas: 1/11 for each keypoint, as given; areas: 0.53 of the box" in ran.out
    assert f"wrote {in_tmp / 'c.json'}" in ran.out
    assert {row["image_id"] for row in json.loads((in_tmp / "c.json").read_text())} == set(range(10))


def test_one_sentence_for_what_does_not_fit(kptool: Any, run_folder: Path, labels: Path, faces: Path) -> None:
    for line, words in (
        ((labels, "--decoder", "dark"), "--decoder has no meaning; give a cache"),
        ((labels, "--split", "some"), "--split must be train, val or all"),
        ((faces, "--sigmas", "0.1"), "--sigmas has no meaning; give labels"),
        ((labels, "--no-detect", "--sigmas", "wide"), "--sigmas is a number"),
        ((labels, "--category", "fish"), "no category 'fish'"),
    ):
        ran = kptool("evaluate", run_folder, *line)
        assert (ran.code, ran.out) == (2, "")
        assert words in ran.err.splitlines()[-1]
