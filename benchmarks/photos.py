"""Compare kptool with other toolkits on labelled photos: accuracy and time, including face detection.

    python benchmarks/photos.py annotations.json IMAGES [--every 4] [--with dlib] [--with mediapipe] [--as-labelled]

annotations.json holds COCO keypoints in the 68-point scheme. The toolkits must be installed; kptool itself runs without
torch. Errors are in pixels of a face scaled to 96x96, like the model's training images. "bias removed" subtracts each
keypoint's mean error, which reflects how a toolkit defines the keypoint, not how accurately it finds it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from kptool.base import face68
from kptool.base.geometry import apply_affine, fit_similarity
from kptool.predict.predictor import Predictor
from kptool.report import peers
from kptool.report.compare import _ours


def main() -> None:
    """Predict the photos with every toolkit and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--with", dest="others", action="append", default=[])
    parser.add_argument(
        "--as-labelled", action="store_true", help="compare the positions that kptool's labels would have"
    )
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
        truth = np.array(annotation["keypoints"], float).reshape(-1, 3)[:, :2]
        points = np.array([truth[list(face68.PARTS[name])].mean(0) for name in predictor.names])
        affine = fit_similarity(points, shape)
        for name, find in finders.items():
            started = time.perf_counter()
            found = find(image)
            seconds[name].append(time.perf_counter() - started)
            each = [np.array([face[key] for key in predictor.names]) for face in found]
            near = [p for p in each if np.linalg.norm(p.mean(0) - points.mean(0)) < 0.3 * np.ptp(points, 0).max()]
            if near:
                errors[name].append(apply_affine(affine, near[0]) - apply_affine(affine, points))
    print(f"{len(chosen)} photos; median ms per photo, including detection")
    for name in finders:
        error = np.stack(errors[name])
        plain, centred = (float(np.sqrt((e**2).mean())) for e in (error, error - error.mean(0)))
        print(
            f"{name:10} found {len(error)}  RMSE {plain:.3f} px, bias removed {centred:.3f} px"
            f"  {1e3 * np.median(seconds[name]):.1f} ms"
        )


if __name__ == "__main__":
    main()
