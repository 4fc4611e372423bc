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
from kptool.base.skeleton import MAX_KEYPOINTS, OCCLUDED, UNLABELLED, VISIBLE, Skeleton

LEAST_CONFIDENCE = 0.6
"""DeepLabCut's default pcutoff: a keypoint that a file is less sure of is kept, but not as visible."""
ANY_SUFFIX = ".*"
"""What a picture's name ends with where a label file does not tell its format."""
_MOST_LABELS = 20_000_000


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a sentence; of more than `most`, the first ones and how many more."""
    some = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"


def never_labelled(names: Sequence[str], labels: NDArray[np.int64], images: int, what: str = "images") -> str | None:
    """A sentence on the keypoints of which there is no label: `labels` (K,) are how many there are in so many `images`."""
    none = [name for name, count in zip(names, labels, strict=True) if not count]
    if not none:
        return None
    verb = "is" if len(none) == 1 else "are"
    return f"{listed(none)} {verb} labelled in none of {images} {what}"


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


def stated_visibility(stated: NDArray[np.float64]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """What a set's third numbers (n, K) say of its keypoints, as visibility (n, K), and notes on how they were read.

    Whole numbers are 0 no label, 1 occluded, 2 visible. Where some have fractions they are a model's confidences, 0 to 1:
    0 is no label, below `LEAST_CONFIDENCE` occluded, the others visible; a set that has 2 as well keeps 1 as occluded.
    Raises ValueError for any other number.
    """
    fraction = stated % 1 != 0
    wrong = ~np.isfinite(stated) | (stated < 0) | (stated > np.where(fraction, 1, VISIBLE))
    if wrong.any():
        raise ValueError(f"{stated[wrong][0]:g}")
    seen = np.where(fraction, np.where(stated < LEAST_CONFIDENCE, OCCLUDED, VISIBLE), stated).astype(np.uint8)
    whole, notes = seen[~fraction], []
    if fraction.any():
        if not (whole == VISIBLE).any():
            seen[stated == 1] = VISIBLE
        given, low = stated[stated > 0], int((fraction & (stated < LEAST_CONFIDENCE)).sum())
        notes.append(
            f"the keypoints' third numbers are confidences ({given.min():.3g} to {given.max():.3g}), not visibilities:"
            f" {low} below {LEAST_CONFIDENCE} count as occluded, those above as visible,"
            f" {int((seen == UNLABELLED).sum())} keypoints have none"
        )
    elif (seen == OCCLUDED).any() and not (seen == VISIBLE).any():
        notes.append("every labelled keypoint has visibility 1, which means occluded; 2 means visible")
    return seen, tuple(notes)


def without_places(points: NDArray[np.float64], seen: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Visibility (n, K) of points (n, K, 2) without those at -1,-1, which is no place; and notes on these and on 0,0."""
    minus, origin = (seen > 0) & (points == -1).all(-1), (seen > 0) & (points == 0).all(-1)
    return np.where(minus, np.uint8(UNLABELLED), seen), (
        *counted(int(minus.sum()), "{n} keypoint{s} at -1,-1 {are} said to be labelled, and taken as missing"),
        *counted(int(origin.sum()), "{n} keypoint{s} at 0,0 {are} said to be labelled, and used"),
    )


def counted(count: int, sentence: str, **values: object) -> tuple[str, ...]:
    """A note that counts, "{n} box{es} {are} not used" with `values` in it; none where there is nothing to count."""
    words = {"s": "", "es": "", "are": "is"} if count == 1 else {"s": "s", "es": "es", "are": "are"}
    return (sentence.format(n=count, **words, **values),) if count else ()


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
