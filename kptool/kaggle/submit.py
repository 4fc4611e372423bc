"""Kaggle's submission file: the predictions that IdLookupTable.csv asks for, for the images of test.csv.

The table asks for a few keypoints of some images and for all keypoints of the others; either kind may have its own model.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import apply_affine, invert_affine
from kptool.data import images
from kptool.datasets.kaggle import read_test
from kptool.evaluation.evaluation import require_finite, run
from kptool.network import cards
from kptool.network.keypoint_model import Inference, KeypointModel
from kptool.system.files import atomic
from kptool.system.progress import Progress, silent

FLIPPED = Inference(flip=True)
"""The default: predictions averaged with those of mirrored images."""


def submit(
    model: KeypointModel,
    test: Path,
    lookup: Path,
    out: Path,
    *,
    few: KeypointModel | None = None,
    inference: Inference = FLIPPED,
    progress: Progress = silent,
) -> dict[str, int]:
    """Write RowId,Location to `out`, a row for each of `lookup` in its order, clipped to 0 up to the image's side.

    `few` predicts the images that `asks_few` selects. Returns the numbers of rows, images, and images that `few`
    predicted. Raises DataError for bad input, such as an image or a keypoint that does not exist.
    """
    asked = read_lookup(lookup)
    for served in (model, few):
        if served is not None:
            cards.warn_unflipped(served.config, inference.flip)
    rare = asks_few(asked, model, few) & (few is not None)
    parts = [(model, ~rare), (few or model, rare)]
    columns = [features(lookup, asked[rows], served) for served, rows in parts]  # raises before anything is predicted
    location = np.empty(len(asked))
    for (served, rows), which in zip(parts, columns, strict=True):
        if rows.any():
            points, picture = _predict(served, test, lookup, asked[rows], inference, progress)
            location[rows] = points[picture, which[:, 0], which[:, 1]]
    with atomic(out) as temporary:
        pd.DataFrame({"RowId": asked["RowId"], "Location": location.round(4)}).to_csv(temporary, index=False)
    pictures = asked["ImageId"]
    return {"rows": len(asked), "images": pictures.nunique(), "images_few": pictures[rare].nunique()}


def read_lookup(path: Path) -> pd.DataFrame:
    """The columns RowId, ImageId and FeatureName of IdLookupTable.csv. Raises DataError for another or an empty table."""
    try:
        table = pd.read_csv(path, usecols=["RowId", "ImageId", "FeatureName"], dtype={"FeatureName": str})
    except OSError as error:
        raise DataError(f"the lookup table {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; save it as UTF-8, or download it again") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path}: expected Kaggle's IdLookupTable.csv with RowId, ImageId, FeatureName ({error})"
        ) from error
    if not len(table):
        raise DataError(f"{path} has no row below its header, so there is nothing to predict; download it again")
    for column in ("RowId", "ImageId"):
        if table[column].dtype.kind not in "iu":
            raise DataError(f"{path}: {column} must be whole numbers in every row")
    if table["FeatureName"].isna().any():
        row = int(table["FeatureName"].isna().to_numpy().argmax())
        raise DataError(f"{path}, row {row}: FeatureName is empty; download it again")
    repeated = table["RowId"].duplicated()
    if repeated.any():
        raise DataError(
            f"{path}: RowId {table['RowId'][repeated].iloc[0]} occurs twice, expected once; download it again"
        )
    return table


def asks_few(asked: pd.DataFrame, model: KeypointModel, few: KeypointModel | None = None) -> NDArray[np.bool_]:
    """For each row, whether its image asks for fewer keypoints than `model` has, all of which `few`, if given, has."""
    feature, image = asked["FeatureName"], asked["ImageId"]
    keypoints = feature.str.rsplit("_", n=1).str[0].groupby(image).transform("nunique")
    rare: NDArray[np.bool_] = (keypoints < len(model.config.names)).to_numpy(bool)
    if few is None:
        return rare
    has: NDArray[np.bool_] = feature.isin(list(_columns(few))).groupby(image).transform("all").to_numpy(bool)
    return rare & has


def features(lookup: Path, asked: pd.DataFrame, model: KeypointModel) -> NDArray[np.int64]:
    """Keypoint and axis of each row, (n, 2). Raises DataError, naming the first, for a row whose keypoint the model lacks."""
    known = _columns(model)
    _require_known(lookup, asked, "FeatureName", known, "a keypoint of the model")
    return np.array([known[name] for name in asked["FeatureName"]], dtype=np.int64).reshape(-1, 2)


def locate(model: KeypointModel, pictures: NDArray[np.uint8], inference: Inference) -> NDArray[np.float32]:
    """Points (n, K, 2) in pixels of `pictures` (n, H, W) or (n, H, W, 3), which are resized to the model's size."""
    config = model.config
    fitted = [images.resize_for(picture, config.size, config.channels) for picture in pictures]
    found = require_finite(run([model], np.stack([pixels for pixels, _ in fitted]), inference))
    back = invert_affine(np.stack([affine for _, affine in fitted]))
    return apply_affine(back, found.points).astype(np.float32)


def _predict(
    model: KeypointModel, test: Path, lookup: Path, asked: pd.DataFrame, inference: Inference, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points (m, K, 2) of the images that `asked` names, clipped to 0 up to the side, and each row's image among them."""
    wanted = asked["ImageId"].unique()
    points = [np.empty((0, len(model.config.names), 2), np.float32)]
    position: dict[int, int] = {}
    for ids, pictures in read_test(test):
        chosen = np.isin(ids, wanted)
        if chosen.any():
            position.update({int(image): len(position) + i for i, image in enumerate(ids[chosen])})
            points.append(locate(model, pictures[chosen], inference).clip(0, pictures.shape[-1]))
            progress("images", len(position), len(wanted))
    _require_known(lookup, asked, "ImageId", position, f"a picture of {test}")
    return np.concatenate(points), np.array([position[image] for image in asked["ImageId"]])


def _columns(model: KeypointModel) -> dict[str, tuple[int, int]]:
    """Kaggle's column name -> keypoint and axis."""
    return {f"{name}_{axis}": (k, a) for k, name in enumerate(model.config.names) for a, axis in enumerate("xy")}


def _require_known(lookup: Path, asked: pd.DataFrame, column: str, known: Iterable[object], what: str) -> None:
    unknown = asked[~asked[column].isin(list(known))]
    if len(unknown):
        first = unknown.iloc[0]
        raise DataError(f"{lookup}: row {int(first['RowId'])} asks for {column} {first[column]}, which is not {what}")
