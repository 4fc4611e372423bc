"""What every dataset reader yields, whatever file it came from: blocks of images with their keypoints.

Invariant: past a reader there is no NaN. A keypoint that has no label has visibility 0 and coordinates (0, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import Box, Size
from kptool.base.skeleton import MAX_KEYPOINTS, Skeleton

ANY_SUFFIX = ".*"
"""What a picture's name ends with where a label file does not tell its format."""
_MOST_LABELS = 20_000_000


@dataclass(frozen=True)
class Samples:
    """A block of n samples, all cut to one size.

    images: uint8 (n, H, W), or (n, 3, H, W) in colour. keypoints: float32 (n, K, 2), pixels of `images`.
    visibility: uint8 (n, K), 0 unlabelled, 1 occluded, 2 visible. rows: int64 (n,), the sample's row in its source.
    affines: float64 (n, 2, 3), source pixels -> pixels of `images`; sizes: int32 (n, 2), H and W of the pictures that
    they were made from; None where these are the same. remarks: what there is to say of each sample's picture, see
    `kptool.data.scaling`; not kept by `select`.
    """

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    rows: NDArray[np.int64]
    affines: NDArray[np.float64] | None = None
    sizes: NDArray[np.int32] | None = None
    remarks: Sequence[tuple[str, ...]] = ()

    def __len__(self) -> int:
        return len(self.images)

    def select(self, keep: NDArray[np.bool_]) -> Samples:
        """The samples where `keep` (n,) is true."""
        parts = (self.images, self.keypoints, self.visibility, self.rows, self.affines, self.sizes)
        return Samples(*(None if part is None else part[keep] for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source:
    """An opened data set: what it holds, and how to stream it.

    `blocks` may be called once per pass; memory does not grow with the number of rows. `files` are hashed into the
    cache. `total` is None where counting would take a pass of its own. `complete` says whether rows that lack a keypoint
    are left out unless somebody asks for them. `flip_note` says how left and right were told apart. `pictures` has the file
    that each row was cut from, `originals` where these lie, `groups` the number of that file, or of what the file is a
    part of, as a video; None where rows are no files. `notes` say what the source holds and is not used, and how the rest
    was understood, a sentence each. `split` (total,) is the data's own, as `kptool.data.splits.own_split` has it, None where they
    have none. `margin` is the margin around the boxes that images were cut out with, None where they are whole pictures.
    `part(i, n)` gives every n-th block from the i-th on, where leaving out the others saves work.
    """

    label: str
    skeleton: Skeleton
    size: Size
    channels: int
    blocks: Callable[[], Iterator[Samples]]
    files: tuple[Path, ...] = ()
    total: int | None = None
    complete: bool = True
    flip_note: str = ""
    pictures: Sequence[str] | None = None
    originals: Sequence[Path] | None = None
    groups: NDArray[np.int64] | None = None
    margin: float | None = None
    part: Callable[[int, int], Iterator[Samples]] | None = None
    notes: tuple[str, ...] = ()
    split: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Labelled:
    """One thing in one picture file, as a label file has it.

    picture: the file's name, as written there, or with ANY_SUFFIX. keypoints: (K, 2), the picture's pixels; NaN or
    anything where `visibility` (K,) is 0. box: (x, y, width, height) with x and y its left and top edge, or None. size:
    (H, W) of the picture that the labels are for, where the file says it. group: what stays together in a split, such as
    the video that the picture is a frame of; None where that is the picture alone. split: the part of the set that the
    file puts the picture into, "train", "val" or "test"; "" where it says none.
    """

    picture: str
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.uint8]
    box: Box | None = None
    size: Size | None = None
    group: str | None = None
    split: str = ""


@dataclass(frozen=True)
class LabelFile:
    """What a label file holds. `flip_pairs` are given where the file states them; None leaves them to be inferred.

    `folder` is where the pictures' names start, where the reader has found them itself.
    `notes` count and name what the file says and is not used, a sentence each: nothing is dropped in silence.
    """

    names: tuple[str, ...]
    things: Sequence[Labelled]
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """A reader plugin: each module of `kptool.datasets` exports one as ``DATASET``.

    `matches(path)` says cheaply whether the path looks like this format. A format that holds its images has
    `open(path, **options)`, which validates the header and returns a `Source`; one whose labels are about picture
    files has `read(path, category)`, which returns a `LabelFile`. Where labels mean nothing without their pictures,
    `read_apart(path, category, images)` does so for pictures in the folder `images`. All raise DataError with file, row
    and fix.
    """

    summary: str
    matches: Callable[[Path], bool]
    open: Callable[..., Source] | None = None
    read: Callable[[Path, str | None], LabelFile] | None = None
    read_apart: Callable[[Path, str | None, Path], LabelFile] | None = None


def bounded(path: Path, names: Sequence[str], things: int) -> None:
    """Raise DataError where `things` of keypoints called `names` are more than any data set has, and than memory holds."""
    if len(names) > MAX_KEYPOINTS:
        raise DataError(
            f"{path} names {len(names)} different keypoints, {names[0][:40]!r} and {names[1][:40]!r} among them; at most"
            f" {MAX_KEYPOINTS} are possible, so check the labels"
        )
    if len(names) * things > _MOST_LABELS:
        raise DataError(
            f"{path} has {things:,} things of {len(names)} keypoints, above {_MOST_LABELS:,} keypoints in all; split it"
        )
