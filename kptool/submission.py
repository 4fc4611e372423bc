"""Kaggle's submission file: what IdLookupTable.csv asks for, predicted for the pictures of test.csv."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kptool import images
from kptool.datasets.kaggle import read_test
from kptool.detector import Detector
from kptool.errors import DataError
from kptool.evaluation import run
from kptool.files import atomic
from kptool.geometry import apply_affine, invert_affine
from kptool.progress import Progress, silent


def submit(
    detector: Detector, test: Path, lookup: Path, out: Path, *, flip: bool = True, progress: Progress = silent
) -> dict[str, int]:
    """Write RowId,Location to `out`, a row for each of `lookup`, clipped to the picture.

    Raises DataError for bad input: a picture or a keypoint that is asked for and does not exist, among others.
    """
    asked = read_lookup(lookup)
    points, ids, side = predict_test(detector, test, set(asked["ImageId"].tolist()), flip, progress)
    names = {f"{name}_{axis}": (k, a) for k, name in enumerate(detector.config.names) for a, axis in enumerate("xy")}
    position = {int(image): i for i, image in enumerate(ids)}
    _require_known(lookup, asked, "ImageId", position, f"a picture of {test}")
    _require_known(lookup, asked, "FeatureName", names, "a keypoint of the model")
    which = np.array([names[name] for name in asked["FeatureName"]], dtype=np.int64).reshape(-1, 2)
    picture = np.array([position[image] for image in asked["ImageId"]], dtype=np.int64)
    location = points[picture, which[:, 0], which[:, 1]].clip(0, side)
    with atomic(out) as temporary:
        pd.DataFrame({"RowId": asked["RowId"], "Location": location.round(4)}).to_csv(temporary, index=False)
    return {"rows": len(asked), "images": len(ids)}


def read_lookup(path: Path) -> pd.DataFrame:
    """RowId, ImageId, FeatureName of IdLookupTable.csv."""
    try:
        table = pd.read_csv(path, usecols=["RowId", "ImageId", "FeatureName"])
    except OSError as error:
        raise DataError(f"the lookup table {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path}: expected Kaggle's IdLookupTable.csv with RowId, ImageId, FeatureName ({error})"
        ) from error
    for column in ("RowId", "ImageId"):
        if table[column].dtype.kind not in "iu":
            raise DataError(f"{path}: {column} must be whole numbers in every row")
    repeated = table["RowId"].duplicated()
    if repeated.any():
        raise DataError(
            f"{path}: RowId {table['RowId'][repeated].iloc[0]} stands there twice; every row is asked for once"
        )
    return table


def predict_test(
    detector: Detector, test: Path, wanted: set[int], flip: bool, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """Points (n, K, 2) in the test pictures' pixels, ImageIds (n,), and the pictures' side; only those wanted."""
    config = detector.config
    points, ids, side = [], [], 0
    for block_ids, pictures in read_test(test):
        chosen = np.isin(block_ids, list(wanted))
        side = pictures.shape[-1]
        if not chosen.any():
            continue
        fitted = [images.fit(picture, config.size, config.channels) for picture in pictures[chosen]]
        found = run([detector], np.stack([pixels for pixels, _ in fitted]), flip=flip)
        points.append(apply_affine(invert_affine(np.stack([affine for _, affine in fitted])), found.points))
        ids.append(block_ids[chosen])
        progress("images", sum(map(len, ids)), len(wanted))
    if not ids:
        raise DataError(f"{test} holds none of the pictures that the lookup table asks for")
    return np.concatenate(points).astype(np.float32), np.concatenate(ids), side


def _require_known(lookup: Path, asked: pd.DataFrame, column: str, known: Iterable[object], what: str) -> None:
    unknown = asked[~asked[column].isin(list(known))]
    if len(unknown):
        first = unknown.iloc[0]
        raise DataError(f"{lookup}: row {int(first['RowId'])} asks for {column} {first[column]}, which is not {what}")
