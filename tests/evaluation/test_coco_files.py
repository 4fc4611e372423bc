"""Equal to pycocotools on files: the labels read by kptool, and by pycocotools alone."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kptool.data.sources import Opening
from kptool.data.truth import labelled_pictures
from kptool.evaluation import coco
from kptool.evaluation.coco import FoundInstances


def scene(random: np.random.Generator, pictures: int, names: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A document of COCO's with people of all kinds, and results: shifted, missing, repeated and invented, with ties."""
    document: dict[str, Any] = {
        "images": [{"id": 7 * i + 3, "file_name": f"{i}.png", "width": 700, "height": 700} for i in range(pictures)],
        "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}],
    }
    results: list[dict[str, Any]] = []
    for image in document["images"]:
        for kind in random.choice(["full", "full", "some", "none", "crowd"], random.integers(0, 6)):
            side, left, top = float(random.choice([20, 60, 250])), *random.uniform(0, 400, 2).tolist()
            points = random.uniform(0, side, (len(names), 2)) + (left, top)
            seen = random.choice([0, 1, 2], len(names)) if kind == "some" else np.full(len(names), 2)
            seen = seen * (kind in ("full", "some"))
            flat = np.column_stack([points * (seen > 0)[:, None], seen]).ravel().tolist()
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 11,
                    "image_id": image["id"],
                    "category_id": 1,
                    "iscrowd": int(kind == "crowd"),
                    "num_keypoints": int((seen > 0).sum()),
                    "keypoints": flat,
                    "bbox": [left, top, side, side],
                    "area": float(random.uniform(0.3, 0.8)) * side * side,
                }
            )
            for _ in range(random.integers(0, 3)):
                moved = points + random.normal(0, side * random.choice([0.003, 0.03, 0.1]), points.shape)
                results.append(_result(image["id"], moved, random))
        results += [
            _result(image["id"], random.uniform(0, 600, (len(names), 2)), random) for _ in range(random.integers(0, 3))
        ]
    return document, results


def _result(image: int, points: Any, random: np.random.Generator) -> dict[str, Any]:
    flat = np.column_stack([points, np.full(len(points), 2)]).ravel().tolist()
    return {"image_id": image, "category_id": 1, "keypoints": flat, "score": float(random.integers(0, 20)) / 20}


def by_pycocotools(truth: Path, results: Path) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO(str(truth))
        run = COCOeval(labels, labels.loadRes(str(results)), "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(each) for each in run.stats]


def ten(scores: coco.CocoScores) -> list[float]:
    """COCO's ten numbers in its order."""
    ap, ar = scores.ap, scores.ar
    values = [ap["all"], scores.ap50, scores.ap75, ap["medium"], ap["large"]]
    return [-1 if v is None else v for v in (*values, ar["all"], scores.ar50, scores.ar75, ar["medium"], ar["large"])]


@pytest.mark.parametrize("count", [30, pytest.param(240, marks=pytest.mark.long)])
def test_equal_to_pycocotools_on_files(count: int, tmp_path: Path) -> None:
    """Pictures with crowds, instances without keypoints, occluded and unlabelled keypoints, ties, and without any."""
    from kptool.evaluation.sigmas import COCO as SIGMAS

    document, results = scene(np.random.default_rng(5), count, list(SIGMAS))
    (tmp_path / "truth.json").write_text(json.dumps(document))
    (tmp_path / "results.json").write_text(json.dumps(results))
    Image.new("1", (700, 700)).save(tmp_path / "0.png")
    for image in document["images"][1:]:
        (tmp_path / image["file_name"]).hardlink_to(tmp_path / "0.png")
    source = labelled_pictures(tmp_path / "truth.json", Opening())
    predicted = []
    numbers = {image["file_name"]: image["id"] for image in document["images"]}
    for each in source.pictures:
        rows = [row for row in results if row["image_id"] == numbers[each.name]]
        points = np.array([row["keypoints"] for row in rows], np.float64).reshape(-1, 17, 3)[..., :2]
        predicted.append(FoundInstances(points, np.array([row["score"] for row in rows], np.float64)))
    stats = by_pycocotools(tmp_path / "truth.json", tmp_path / "results.json")
    ours = ten(coco.evaluate(source.pictures, predicted, np.array(list(SIGMAS.values()))))
    assert len(source.pictures) == count
    assert 0.05 < min(stats) <= max(stats) < 0.95
    np.testing.assert_allclose(ours, stats, rtol=0, atol=1e-12)
