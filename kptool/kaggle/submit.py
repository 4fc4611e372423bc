"""Kaggle's submission file: what IdLookupTable.csv asks for, predicted for the pictures of test.csv.

Two populations of pictures are asked about: some ask for a few keypoints, the others for all. Each may have a model of
its own.
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
from kptool.evaluate.evaluation import require_finite, run
from kptool.network import cards
from kptool.network.keypoint_model import Inference, KeypointModel
from kptool.system.files import atomic
from kptool.system.progress import Progress, silent


def submit(
    model: KeypointModel,
    test: Path,
    lookup: Path,
    out: Path,
    *,
    few: KeypointModel | None = None,
    flip: bool = True,
    progress: Progress = silent,
) -> dict[str, int]:
    """Write RowId,Location to `out`, a row for each of `lookup` in its order, clipped to the picture: 0 to its side.

    `few` predicts the pictures that `asks_few` says. Raises DataError for bad input: a picture or a keypoint that is
    asked for and does not exist, among others.
    """
    asked = read_lookup(lookup)
    for served in (model, few):
        if served is not None:
            cards.warn_unflipped(served.config, flip)
    rare = asks_few(asked, model, few) & (few is not None)
    parts = [(model, ~rare), (few or model, rare)]
    columns = [features(lookup, asked[rows], served) for served, rows in parts]  # all checked before any is predicted
    location = np.empty(len(asked))
    for (served, rows), which in zip(parts, columns, strict=True):
        if rows.any():
            points, picture = _predict(served, test, lookup, asked[rows], flip, progress)
            location[rows] = points[picture, which[:, 0], which[:, 1]]
    with atomic(out) as temporary:
        pd.DataFrame({"RowId": asked["RowId"], "Location": location.round(4)}).to_csv(temporary, index=False)
    pictures = asked["ImageId"]
    return {"rows": len(asked), "images": pictures.nunique(), "images_few": pictures[rare].nunique()}


def read_lookup(path: Path) -> pd.DataFrame:
    """RowId, ImageId, FeatureName of IdLookupTable.csv. Raises DataError where it is anything else, or asks for nothing."""
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
            f"{path}: RowId {table['RowId'][repeated].iloc[0]} stands there twice; every row is asked for once"
        )
    return table


def asks_few(asked: pd.DataFrame, model: KeypointModel, few: KeypointModel | None = None) -> NDArray[np.bool_]:
    """For each row: whether its picture asks for fewer keypoints than `model` has, and `few`, if given, has them all."""
    feature, picture = asked["FeatureName"], asked["ImageId"]
    keypoints = feature.str.rsplit("_", n=1).str[0].groupby(picture).transform("nunique")
    rare: NDArray[np.bool_] = (keypoints < len(model.config.names)).to_numpy(bool)
    if few is None:
        return rare
    has: NDArray[np.bool_] = feature.isin(list(_columns(few))).groupby(picture).transform("all").to_numpy(bool)
    return rare & has


def features(lookup: Path, asked: pd.DataFrame, model: KeypointModel) -> NDArray[np.int64]:
    """Keypoint and axis of each row, (n, 2). Raises DataError naming the first row whose keypoint the model lacks."""
    known = _columns(model)
    _require_known(lookup, asked, "FeatureName", known, "a keypoint of the model")
    return np.array([known[name] for name in asked["FeatureName"]], dtype=np.int64).reshape(-1, 2)


def locate(model: KeypointModel, pictures: NDArray[np.uint8], flip: bool) -> NDArray[np.float32]:
    """Points (n, K, 2) in the pixels of `pictures` (n, H, W) or (n, H, W, 3), whatever size the model takes."""
    config = model.config
    fitted = [images.resize_for(picture, config.size, config.channels) for picture in pictures]
    found = require_finite(run([model], np.stack([pixels for pixels, _ in fitted]), Inference(flip)))
    back = invert_affine(np.stack([affine for _, affine in fitted]))
    return apply_affine(back, found.points).astype(np.float32)


def _predict(
    model: KeypointModel, test: Path, lookup: Path, asked: pd.DataFrame, flip: bool, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points (m, K, 2) of the pictures that the rows of `asked` name, clipped to [0, side], and which of them each row is."""
    wanted = asked["ImageId"].unique()
    points = [np.empty((0, len(model.config.names), 2), np.float32)]
    position: dict[int, int] = {}
    for ids, pictures in read_test(test):
        chosen = np.isin(ids, wanted)
        if chosen.any():
            position.update({int(image): len(position) + i for i, image in enumerate(ids[chosen])})
            points.append(locate(model, pictures[chosen], flip).clip(0, pictures.shape[-1]))
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
