"""Complete partly labelled faces by the labels of photos: python benchmarks/merge_faces.py TRAINING.zip COCO.json OUT.zip

Then, to validate a cache of OUT.zip on the images of another: python benchmarks/merge_faces.py split OLD.h5 NEW.h5

TRAINING.zip is Kaggle's training file or one in its schema, of which some rows have 4 of 15 keypoints; COCO.json labels 68
points of photos, some of which show the same frames, larger and in colour. A photo belongs to a row where its 68 points, as
the 15 of Kaggle and after a scaling and a shift along each axis, agree with every label of the row, and the two pictures look
the same. The row's missing keypoints are then the photo's. OUT.zip is TRAINING.zip with these rows completed; --groups takes
the same file as before.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from kptool.base import face68
from kptool.base.geometry import apply_affine, invert_affine
from kptool.base.skeleton import FACE15
from kptool.data import images
from kptool.data.splits import SPLITS

NEAR = 0.05
"""Pixels by which labels may differ after the fit: the same labels agree to rounding errors."""
ALIKE = 0.9
"""The least correlation between a row's picture and the photo's same region."""
SIDE = 96


def photos(path: Path) -> tuple[NDArray[np.float64], list[Path]]:
    """The 15 keypoints (N, 15, 2) of every labelled face, in pixels of its photo, and the photos."""
    coco = json.loads(path.read_text())
    files = {image["id"]: path.parent / "images" / image["file_name"] for image in coco["images"]}
    every = [np.array(one["keypoints"], float).reshape(-1, 3)[:, :2] for one in coco["annotations"]]
    points = np.array([[each[list(face68.PARTS[name])].mean(0) for name in FACE15.names] for each in every])
    return points, [files[one["image_id"]] for one in coco["annotations"]]


def fits(points: NDArray[np.float64], row: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The maps (N, 2, 2) of scale and shift by axis that bring faces (N, 15, 2) onto a row (15, 2) with NaN, and the largest
    distance (N,) that is left."""
    known = np.isfinite(row).all(1)
    mean, target = points[:, known].mean(1), row[known].mean(0)
    z, w = points[:, known] - mean[:, None], row[known] - target
    scale = (z * w).sum(1) / np.maximum((z**2).sum(1), 1e-9)
    left = np.abs(z * scale[:, None] - w).max((1, 2))
    return np.stack([scale, target - scale * mean], 1), left


def alike(photo: Path, fit: NDArray[np.float64], pixels: NDArray[np.uint8]) -> float:
    """The correlation of a row's picture with the region of a photo that `fit` (2, 2) maps onto it, inside of the photo."""
    affine = np.concatenate([np.diag(fit[0]), fit[1][:, None]], 1)
    grey = np.asarray(Image.open(photo).convert("L"))
    cut = images.crop(grey, affine, (SIDE, SIDE), 1)
    where = apply_affine(
        invert_affine(affine), np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2)
    )
    inside = ((where >= 0) & (where <= [grey.shape[1] - 1, grey.shape[0] - 1])).all(1).reshape(SIDE, SIDE)
    return float(np.corrcoef(cut[inside], pixels[inside])[0, 1]) if inside.sum() > SIDE else 0.0


def main(training: Path, coco: Path, out: Path) -> None:
    """Write the completed file, and print how many rows were completed."""
    with zipfile.ZipFile(training) as archive:
        name = archive.namelist()[0]
        with archive.open(name) as file:
            table = pd.read_csv(file)
    columns = [f"{keypoint}_{axis}" for keypoint in FACE15.names for axis in "xy"]
    rows = table[columns].to_numpy().reshape(-1, len(FACE15.names), 2)
    faces, files = photos(coco)
    partial = np.flatnonzero(np.isnan(rows).any((1, 2)))
    completed = 0
    for index in partial.tolist():
        maps, left = fits(faces, rows[index])
        pixels = np.array(table["Image"][index].split(), np.uint8).reshape(SIDE, SIDE)
        near = [i for i in np.flatnonzero(left < NEAR).tolist() if alike(files[i], maps[i], pixels) > ALIKE]
        if near:
            best = near[int(np.argmin(left[near]))]
            moved = faces[best] * maps[best][0] + maps[best][1]
            rows[index] = np.where(np.isnan(rows[index]), moved, rows[index])
            completed += 1
    table[columns] = rows.reshape(len(table), -1)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, table.to_csv(index=False))
    print(f"{out}: {completed} of {len(partial)} partly labelled rows completed; {len(table)} rows")


def same_split(old: Path, new: Path) -> None:
    """Make the validation images of a cache those rows of its file that another cache has there, and no others.

    Exits where a group would then be in both parts.
    """
    with h5py.File(old) as file:
        rows = file["row"][:][file["split"][:] == SPLITS["val"]]
    with h5py.File(new, "r+") as file:
        split, groups = np.isin(file["row"][:], rows), file["group"][:]
        both = np.intersect1d(groups[split], groups[~split])
        if len(both) or split.sum() != len(rows):
            sys.exit(
                f"{new} does not fit {old}: {split.sum()} of {len(rows)} rows, groups in both parts: {both.tolist()}"
            )
        file["split"][...] = np.where(split, SPLITS["val"], SPLITS["train"]).astype(np.uint8)
    print(f"{new}: {split.sum()} validation images, as in {old}; {(~split).sum()} training images")


if __name__ == "__main__":
    if sys.argv[1] == "split":
        same_split(*map(Path, sys.argv[2:4]))
    else:
        main(*map(Path, sys.argv[1:4]))
