"""Compare kptool with other toolkits on labelled photos: accuracy and time, including face detection.

    python benchmarks/photos.py annotations.json IMAGES [--every 4] [--model unet] [--model unet-small] [--with dlib]
        [--with mediapipe] [--as-labelled] [--unseen faces/dataset.h5 all/dataset.h5] [--json photos.json]

annotations.json holds COCO keypoints in the 68-point scheme. The toolkits must be installed; kptool itself runs without
torch. Errors are in pixels of a face scaled to 96x96, like the model's training images. "bias removed" subtracts each
keypoint's mean error, which reflects how a toolkit defines the keypoint, not how accurately it finds it. Faces that any
toolkit misses are left out of a second RMSE, over the same photos for all.

`--unseen` keeps the photos of people that the shipped weights never saw. It takes the cache that they were trained on, and
one of the same file with every person (`kptool extract training.zip --groups groups.csv`, without and with `--keypoints
all`): a photo shows the person of the row whose labels are the photo's, up to scale and translation.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kptool.base import face68
from kptool.base.geometry import apply_affine, fit_similarity
from kptool.base.skeleton import FACE15
from kptool.cache.store import Cache
from kptool.predict.predictor import Predictor
from kptool.report import peers
from kptool.report.compare import _finder

Floats = NDArray[np.float64]


def people(photos: Floats, trained: Path, everyone: Path) -> tuple[NDArray[np.int64], set[int]]:
    """The person in each photo, (N,), from its points (N, 15, 2), or -1; and the people in the training split of `trained`."""
    with Cache(trained) as cache:
        seen = set(cache.read("group", cache.index("train")).tolist())
    with Cache(everyone) as cache:
        labels, groups = cache.read("keypoints").astype(float), cache.read("group")
        labelled = cache.read("visibility") > 0
    person = np.full(len(photos), -1)
    for pattern in {tuple(row) for row in labelled}:
        some = np.array(pattern)
        if some.sum() < 4:
            continue
        rows = np.flatnonzero((labelled == some).all(1))
        a, b = shapes(labels[rows][:, some]), shapes(photos[:, some])
        apart = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
        same = apart.min(0) < 1e-8
        person[same] = groups[rows[apart.argmin(0)[same]]]
    return person, seen


def shapes(points: Floats) -> Floats:
    """Points (N, K, 2) with translation and scale removed, (N, 2 K)."""
    moved = points - points.mean(1, keepdims=True)
    flat: Floats = (moved / np.linalg.norm(moved, axis=(1, 2), keepdims=True)).reshape(len(points), -1)
    return flat


def main() -> None:
    """Predict the photos with every toolkit and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--with", dest="others", action="append", default=[])
    parser.add_argument(
        "--as-labelled", action="store_true", help="compare the positions that kptool's labels would have"
    )
    parser.add_argument("--unseen", nargs=2, type=Path, metavar=("TRAINED", "EVERYONE"))
    parser.add_argument("--repeats", type=int, default=1, help="times are those of the fastest of so many calls")
    parser.add_argument("--model", dest="models", action="append", help="kptool's; unet without one")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    document = json.loads(arguments.annotations.read_text())
    files = {image["id"]: arguments.images / image["file_name"] for image in document["images"]}
    labels = np.array([each["keypoints"] for each in document["annotations"]], float).reshape(-1, 68, 3)[..., :2]
    truth = np.stack([labels[:, list(face68.PARTS[name])].mean(1) for name in FACE15.names], 1)
    chosen, person = np.arange(len(truth)), np.arange(len(truth))
    if arguments.unseen:
        person, seen = people(truth, *arguments.unseen)
        chosen = np.flatnonzero([each >= 0 and each not in seen for each in person.tolist()])
    chosen = chosen[:: arguments.every]
    paths = [files[document["annotations"][i]["image_id"]] for i in chosen]
    predictors = {
        f"kptool {model}": Predictor(model, "cpu", as_labelled=arguments.as_labelled)
        for model in arguments.models or ["unet"]
    }
    finders = {name: _finder(predictor) for name, predictor in predictors.items()}
    finders |= {name: peers.load(name) for name in arguments.others}
    shape = np.array(next(iter(predictors.values())).card.data["mean_shape"])
    errors, seconds = measure(finders, shape, paths, truth[chosen], arguments.repeats)
    print(f"{len(chosen)} photos of {len(set(person[chosen].tolist()))} people; {machine()}")
    rows = summaries(errors, seconds, person[chosen])
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"photos": len(chosen), "machine": machine(), "toolkits": rows}, indent=1))


def measure(
    finders: dict[str, peers.Find], shape: Floats, paths: list[Path], truth: Floats, repeats: int
) -> tuple[dict[str, Floats], dict[str, list[tuple[float, float]]]]:
    """Errors (N, 15, 2) by toolkit, in pixels of a 96x96 face, NaN where it found no face; and the seconds of each
    photo, elapsed and of processor time, the fastest of `repeats`. One toolkit after the other: beside each other, they
    take the processor's caches from each other."""
    errors = {name: np.full(truth.shape, np.nan) for name in finders}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in finders}
    for name, find in finders.items():
        find(_read(paths[0]))  # the first call loads models and allocates
        for number, (path, points) in enumerate(zip(paths, truth, strict=True)):
            image = _read(path)
            affine = fit_similarity(points, shape)
            taken = []
            for _ in range(repeats):
                started, worked = time.perf_counter(), time.process_time()
                found = find(image)
                taken.append((time.perf_counter() - started, time.process_time() - worked))
            seconds[name].append(min(taken))
            each = [np.array([face[key] for key in FACE15.names]) for face in found]
            near = [p for p in each if np.linalg.norm(p.mean(0) - points.mean(0)) < 0.3 * np.ptp(points, 0).max()]
            if near:
                errors[name][number] = apply_affine(affine, near[0]) - apply_affine(affine, points)
    return errors, seconds


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def summaries(
    errors: dict[str, Floats], seconds: dict[str, list[tuple[float, float]]], person: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """A row of figures for each toolkit; the interval is a bootstrap over people."""
    shared = np.all([np.isfinite(each).all((1, 2)) for each in errors.values()], axis=0)
    rows = []
    for name, error in errors.items():
        known = np.isfinite(error).all((1, 2))
        plain, same = error[known], error[shared]
        low, high = interval((same**2).mean((1, 2)), person[shared])
        rows.append(
            {
                "name": name,
                "found": int(known.sum()),
                "rmse": round(rms(plain), 3),
                "rmse_bias_removed": round(rms(plain - plain.mean(0)), 3),
                "shared": int(shared.sum()),
                "rmse_shared": round(rms(same), 3),
                "rmse_shared_bias_removed": round(rms(same - same.mean(0)), 3),
                "interval_95": [round(low, 3), round(high, 3)],
                "median_ms": round(1e3 * float(np.median([wall for wall, _ in seconds[name]])), 1),
                "median_processor_ms": round(1e3 * float(np.median([cpu for _, cpu in seconds[name]])), 1),
            }
        )
    return rows


def rms(error: Floats) -> float:
    return float(np.sqrt((error**2).mean()))


def interval(squares: Floats, person: NDArray[np.int64], draws: int = 2000) -> tuple[float, float]:
    """The 95 % interval of the RMSE from each photo's mean square (N,), drawing people with replacement."""
    names, where = np.unique(person, return_inverse=True)
    total, count = np.bincount(where, squares), np.bincount(where)
    drawn = np.random.default_rng(0).integers(0, len(names), (draws, len(names)))
    values = np.sqrt(total[drawn].sum(1) / count[drawn].sum(1))
    return float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5))


def machine() -> str:
    """The processor, the number of cores, and the system's load."""
    import os

    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = lines[0].split(":")[1].strip() if lines else platform.processor()
    return f"{model}, {len(lines)} cores, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
