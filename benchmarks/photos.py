"""Photos with known points: kptool beside other toolkits, detection included, in accuracy and time.

    python benchmarks/photos.py annotations.json IMAGES [--every 4] [--with dlib] [--with mediapipe] [--as-labelled]

annotations.json: COCO keypoints in the 68-point scheme. Run it where the toolkits are installed; kptool itself needs
no torch for this. Errors are in pixels of a face brought to 96x96, as the model's own training images are; "bias
removed" takes off each point's mean error, which is what a toolkit calls that point rather than how well it finds it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from kptool.base.geometry import apply_affine, fit_similarity
from kptool.predict.predictor import Predictor
from kptool.report import peers
from kptool.report.compare import _ours


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--with", dest="others", action="append", default=[])
    parser.add_argument("--as-labelled", action="store_true", help="kptool's points where its labels would be")
    arguments = parser.parse_args()
    document = json.loads(arguments.annotations.read_text())
    files = {image["id"]: image["file_name"] for image in document["images"]}
    predictor = Predictor("unet", "cpu", as_labelled=arguments.as_labelled)
    shape = np.array(predictor.card.data["mean_shape"])
    finders = {"kptool": _ours(predictor), **{name: peers.load(name) for name in arguments.others}}
    errors: dict[str, list[np.ndarray]] = {name: [] for name in finders}
    seconds: dict[str, list[float]] = {name: [] for name in finders}
    chosen = document["annotations"][:: arguments.every]
    for annotation in chosen:
        with Image.open(arguments.images / files[annotation["image_id"]]) as picture:
            image = np.asarray(picture.convert("RGB"))
        truth = peers._mean(np.array(annotation["keypoints"], float).reshape(-1, 3)[:, :2], peers._IBUG68)
        points = np.array([truth[name] for name in predictor.names])
        affine = fit_similarity(points, shape)
        for name, find in finders.items():
            started = time.perf_counter()
            found = find(image)
            seconds[name].append(time.perf_counter() - started)
            each = [np.array([face[key] for key in predictor.names]) for face in found]
            near = [p for p in each if np.linalg.norm(p.mean(0) - points.mean(0)) < 0.3 * np.ptp(points, 0).max()]
            if near:
                errors[name].append(apply_affine(affine, near[0]) - apply_affine(affine, points))
    print(f"{len(chosen)} photos; median ms a photo, detection included")
    for name in finders:
        error = np.stack(errors[name])
        plain, centred = (float(np.sqrt((e**2).mean())) for e in (error, error - error.mean(0)))
        print(
            f"{name:10} found {len(error)}  RMSE {plain:.3f} px, bias removed {centred:.3f} px"
            f"  {1e3 * np.median(seconds[name]):.1f} ms"
        )


if __name__ == "__main__":
    main()
