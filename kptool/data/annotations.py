"""The types that dataset readers return: label files with their instances, and sources that stream blocks of images.

Invariant: a `Samples` block holds no NaN. An unlabelled keypoint has visibility 0 and coordinates (0, 0).
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
"""Ends a picture's name if the label file omits the file extension."""
_MOST_LABELS = 20_000_000


@dataclass(frozen=True)
class Samples:
    """A block of n samples of one image size.

    images: uint8 (n, H, W), or (n, 3, H, W) in colour. keypoints: float32 (n, K, 2), pixels of `images`.
    visibility: uint8 (n, K), 0 unlabelled, 1 occluded, 2 visible. rows: int64 (n,), the sample's row in its source.
    affines: float64 (n, 2, 3), map source pixels to pixels of `images`; sizes: int32 (n, 2), (H, W) of the source
    pictures; both None if `images` are the source pictures. remarks: for each sample how its picture was converted to
    8 bits, see `kptool.data.intensity`; `select` drops them.
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
class SceneBlock:
    """A block of n whole pictures of one size, each with all of its instances.

    images: uint8, each (H, W) or (3, H, W). boxes: float32 (m, 4) each, in pixels of the image. teaches: bool (m,) each;
    False for a crowd, and for an instance without a labelled keypoint, where there may be anything. rows: int64 (m,) each,
    the instances' rows in the source, -1 for crowds. splits: "train", "val" or "test" as the source states, else "".
    """

    images: Sequence[NDArray[np.uint8]]
    boxes: Sequence[NDArray[np.float32]]
    teaches: Sequence[NDArray[np.bool_]]
    rows: Sequence[NDArray[np.int64]]
    splits: Sequence[str]

    def take(self, index: Sequence[int]) -> SceneBlock:
        """The pictures at `index`."""
        parts = (self.images, self.boxes, self.teaches, self.rows, self.splits)
        return SceneBlock(*([part[i] for i in index] for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source:
    """An opened data set: its metadata, and how to stream it.

    label: its name in messages. skeleton: keypoint names and flip pairs. size: (H, W) of every image. channels: 1 or 3.
    blocks: returns a fresh iterator for each pass; memory does not grow with the number of rows. files: hashed into the
    cache. total: number of rows, None if counting would need a pass of its own. complete: whether rows that lack a
    keypoint are left out by default. flip_note: how the flip pairs were found. pictures: for each row the name of its
    picture file. originals: the paths of these files. groups: int64 (total,), a number for the picture file, or for the
    video it is a frame of. pictures, originals and groups are None if rows have no files of their own. margin: the margin
    of the boxes that images were cropped to, None for whole pictures. part: ``part(i, n)`` iterates over every n-th block
    from the i-th on; given if skipping the others saves work. notes: one sentence each on unused content and on how
    ambiguous content was read. split: int8 (total,), the data set's own split (see `kptool.data.splits.own_split`) or
    None. category: what an instance is, such as "bee"; None if the source does not name it. scenes: streams the whole
    pictures, for a finder to learn from; None if there is nothing to find in them. scene_size: (H, W) of these.
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
    category: str | None = None
    scenes: Callable[[], Iterator[SceneBlock]] | None = None
    scene_size: Size | None = None


@dataclass(frozen=True)
class Labelled:
    """One labelled instance in one picture file.

    picture: the file's name as the label file writes it; it may end with `ANY_SUFFIX`. keypoints: (K, 2), pixels of the
    picture; undefined where `visibility` (K,) is 0. box: (x, y, width, height), x and y its left and top edge, or None.
    size: (H, W) of the picture that was labelled, if stated. group: keeps instances together in a split, such as the
    video that the picture is a frame of; None groups by picture. split: "train", "val" or "test" as the file states, else
    "". score, scores (K,): of a prediction and of its keypoints, None if not stated. area: in square pixels, None if not
    stated. image: the picture's id in the label file, if it has ids.
    number: of its entry in the file, if areas of crowds are entries of the same list.
    """

    picture: str
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.uint8]
    box: Box | None = None
    size: Size | None = None
    group: str | None = None
    split: str = ""
    score: float | None = None
    scores: NDArray[np.float64] | None = None
    area: float | None = None
    image: int | str | None = None
    number: int | None = None


@dataclass(frozen=True)
class LabelFile:
    """The contents of a label file.

    names: the K keypoint names. things: the labelled instances. flip_pairs: as the file states them; None leaves them to
    be inferred. files: all files that were read. notes: one sentence for each kind of content that is not used, with
    counts. folder: the folder that picture names are relative to, if the reader has already found the pictures. edges: pairs
    of keypoints that the file's skeleton connects with a line. predicted_by: the model, if the file holds predictions.
    empty: pictures that are stated to show no instance, as instances without a keypoint; only conversion uses them.
    category: what an instance is, such as "bee", if the file names one thing only. crowds: areas that show one or more
    instances whose keypoints are not stated, as instances with a box only.
    """

    names: tuple[str, ...]
    things: Sequence[Labelled]
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    edges: tuple[tuple[int, int], ...] = ()
    predicted_by: str = ""
    empty: Sequence[Labelled] = ()
    category: str | None = None
    crowds: Sequence[Labelled] = ()


@dataclass(frozen=True)
class Dataset:
    """A reader plugin: each module of `kptool.datasets` exports one as ``DATASET``.

    summary: the format in a few words. matches: ``matches(path)`` tests cheaply whether the path looks like this format.
    open: for formats that contain their images, ``open(path, **options)`` validates the header and returns a `Source`.
    read: for labels of separate picture files, ``read(path, category)`` returns a `LabelFile`. read_apart: as `read`, for
    formats that cannot be read without their pictures, ``read_apart(path, category, images)`` with the pictures in the
    folder `images`. All raise DataError with file, row and fix.
    """

    summary: str
    matches: Callable[[Path], bool]
    open: Callable[..., Source] | None = None
    read: Callable[[Path, str | None], LabelFile] | None = None
    read_apart: Callable[[Path, str | None, Path], LabelFile] | None = None


def bounded(path: Path, names: Sequence[str], things: int) -> None:
    """Raise DataError if the keypoint names, or the labels of `things` instances in all, exceed kptool's limits."""
    if len(names) > MAX_KEYPOINTS:
        raise DataError(
            f"{path} names {len(names)} different keypoints, {names[0][:40]!r} and {names[1][:40]!r} among them; at most"
            f" {MAX_KEYPOINTS} are possible, so check the labels"
        )
    if len(names) * things > _MOST_LABELS:
        raise DataError(
            f"{path} has {things:,} things of {len(names)} keypoints, above {_MOST_LABELS:,} keypoints in all; split it"
        )
