"""Keypoint visibility (0 unlabelled, 1 occluded, 2 visible) from what label files state.

Two kinds of files state it. Tables have columns: visibility flags, words and confidences (`flag_kind` recognises a column,
`from_columns` combines them). COCO and YOLO have one number per keypoint (`from_numbers`). Both follow the same rules for
confidences (`from_confidence`) and for the coordinates -1,-1. Every label that is dropped or doubtful is counted in a note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.skeleton import OCCLUDED, UNLABELLED, VISIBLE
from kptool.data.notes import counted

Texts = NDArray[np.object_]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_CONFIDENCE = 0.6
"""Keypoints of lower confidence count as occluded. It is DeepLabCut's default pcutoff."""
_MOST_CONFIDENCE = 1.05  # the peak of a predicted heatmap may exceed 1 a little
_COLUMN_KINDS = {
    "visibility": "visibility",
    "v": "flag", "vis": "flag", "present": "flag", "presence": "flag", "labeled": "flag", "labelled": "flag",
    "visible": "visible", "is_visible": "visible",
    "occluded": "occluded", "is_occluded": "occluded", "occlusion": "occluded", "hidden": "occluded",
    "confidence": "confidence", "conf": "confidence", "likelihood": "confidence", "score": "confidence",
    "prob": "confidence", "probability": "confidence",
}  # fmt: skip
_LEVELS = ("visibility", "flag", "visible")
KINDS = (*_LEVELS, "occluded", "confidence")
"""Kinds of columns.

visibility: 0, 1 or 2, as kptool defines them. flag: the same, or only 0 and 1 for no and yes. visible: as flag, but a
keypoint with coordinates that is not visible is occluded. occluded: 0 or 1. confidence: 0 to 1.
"""
_EMPTY = dict.fromkeys(("", "nan", "na", "n/a", "#n/a", "none", "null", "<na>"), np.nan)
_YES, _NO = ("true", "yes", "y", "t"), ("false", "no", "n", "f")
_LEVEL_WORDS = {
    **_EMPTY, **dict.fromkeys((*_YES, "visible"), 2.0), **dict.fromkeys(_NO, 0.0),
    **dict.fromkeys(("occluded", "hidden", "invisible", "not visible", "partially visible"), 1.0),
    **dict.fromkeys(("unlabelled", "unlabeled", "not labelled", "not labeled", "missing", "absent", "outside"), 0.0),
}  # fmt: skip
_VAGUE_WORDS = (*_NO, "occluded", "hidden", "invisible")
"""Words that may mean either occluded or unlabelled; coordinates decide."""
_OCCLUDED_WORDS = {
    **_EMPTY, **dict.fromkeys((*_YES, "occluded", "hidden", "invisible"), 1.0), **dict.fromkeys((*_NO, "visible"), 0.0),
}  # fmt: skip


def from_confidence(confidence: Floats) -> NDArray[np.uint8]:
    """The visibility a confidence stands for: 0 is unlabelled, below `LEAST_CONFIDENCE` occluded, else (and NaN) visible."""
    seen = np.where(confidence < LEAST_CONFIDENCE, OCCLUDED, VISIBLE)
    return np.where(confidence == 0, UNLABELLED, seen).astype(np.uint8)


def from_numbers(stated: Floats) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Visibility (n, K) from the third number (n, K) of COCO's and YOLO's keypoints, and notes on how it was read.

    Whole numbers are 0 unlabelled, 1 occluded, 2 visible. Fractions are a model's confidences, see `from_confidence`; in a
    set that has fractions, 1 is a confidence, too, unless the set also holds 2. Raises ValueError with the first number
    that is neither.
    """
    fraction = np.where(np.isfinite(stated), stated, 0) % 1 != 0
    wrong = ~np.isfinite(stated) | (stated < 0) | (stated > np.where(fraction, 1, VISIBLE))
    if wrong.any():
        raise ValueError(f"{stated[wrong][0]:g}")
    seen = np.where(fraction, from_confidence(stated), stated).astype(np.uint8)
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


def drop_placeholders(points: Floats, seen: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Visibility (n, K) with 0 for points (n, K, 2) at -1,-1, the usual placeholder, and notes on those and on 0,0."""
    minus, origin = (seen > 0) & _at(points, -1), (seen > 0) & _at(points, 0)
    return np.where(minus, np.uint8(UNLABELLED), seen), (
        *counted(int(minus.sum()), "{n} keypoint{s} at -1,-1 {are} marked as labelled, but taken as missing"),
        *counted(int(origin.sum()), "{n} keypoint{s} at 0,0 {are} marked as labelled, and used"),
    )


def _at(points: Floats, value: float) -> Flags:
    return np.asarray((points == value).all(-1))


def flag_kind(name: str) -> str | None:
    """The kind (one of `KINDS`) of a column called `name` or KEYPOINT_`name`; None if it states no visibility."""
    return _COLUMN_KINDS.get(name.casefold().replace(" ", "_"))


@dataclass(frozen=True)
class _Stated:
    """What the columns state of keypoints (N, K); NaN where they state nothing.

    level: 0, 1, 2 or NaN. vague: true where a level of 0 may mean not visible rather than not labelled. occluded: 0, 1 or
    NaN. confidence: 0 to 1, or NaN.
    """

    level: Floats
    vague: Flags
    occluded: Floats
    confidence: Floats


def from_columns(
    where: Callable[[int], str], points: Floats, columns: Mapping[str, Texts], comma: bool = False
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Visibility (N, K) of keypoints (N, K, 2), and notes on every decision.

    points: NaN where a cell is empty. columns: the texts (N, K) of each kind in `KINDS`, empty where nothing is stated.
    where: names the file and line of a row. comma: numbers have a decimal comma. Unlabelled are keypoints without
    coordinates, at -1,-1, of confidence 0, and at 0,0 where a flag or confidence casts doubt on them. A level outweighs a
    confidence. Raises DataError for a keypoint with one coordinate and for flags that cannot be read.
    """
    empty = np.isnan(points)
    half = np.argwhere(empty[..., 0] != empty[..., 1])
    if len(half):
        raise DataError(f"{where(half[0][0])}: a keypoint has one coordinate; give both, or none")
    stated, notes = _combined(where, points.shape[:2], columns, comma)
    level, confidence = stated.level, stated.confidence
    origin, minus = _at(points, 0), _at(points, -1)
    silent = np.isnan(level)
    unsure = (level == 0) | (stated.vague & (level < VISIBLE)) | (stated.occluded == 1) | (confidence == 0)
    doubtful = origin & silent & (confidence > 0) & (confidence < LEAST_CONFIDENCE)
    real = ~empty[..., 0] & ~(origin & unsure) & ~doubtful & ~minus
    unseen = real & stated.vague & (level == 0)
    against = real & ~stated.vague & (level == 0)
    low = real & silent & (confidence < LEAST_CONFIDENCE)
    seen = np.where(silent, from_confidence(confidence), level)
    seen[unseen | ((seen == VISIBLE) & (stated.occluded == 1))] = OCCLUDED
    kept = np.where(real, seen, UNLABELLED).astype(np.uint8)
    counts = (
        (minus & ~(level > 0), "at -1,-1 {are} taken as missing"),
        (minus & (level > 0), "at -1,-1 {have} a flag that says labelled, and {are} taken as missing"),
        (doubtful, "at 0,0 with a confidence below {least} {are} taken as missing"),
        (against, "{have} a place and a flag that says unlabelled; {they_are} not used"),
        (unseen, "{have} a place and a flag that says not visible; {they_are} kept as occluded"),
        (low & (confidence == 0), "with a confidence of 0 {are} taken as missing"),
        (low & (confidence > 0), "with a confidence below {least} {are} kept, as occluded"),
        (~silent & ~np.isnan(confidence), "{have} a visibility and a confidence; the confidence is not used"),
        (origin & (kept == VISIBLE) & silent, "at 0,0 {are} used, as nothing says that {they_are} missing"),
    )
    for which, text in counts:
        notes += counted(int(which.sum()), "{n:,} keypoint{s} " + text, least=LEAST_CONFIDENCE)
    return kept, tuple(notes)


def _combined(
    where: Callable[[int], str], shape: tuple[int, ...], columns: Mapping[str, Texts], comma: bool
) -> tuple[_Stated, list[str]]:
    """All columns as numbers, and notes. If two state the same of a keypoint, the first in the order of `KINDS` counts."""
    stated = _Stated(np.full(shape, np.nan), np.zeros(shape, bool), np.full(shape, np.nan), np.full(shape, np.nan))
    notes = []
    for name in (name for name in KINDS if name in columns):
        values = _numbers(where, name, columns[name], _OCCLUDED_WORDS if name == "occluded" else _LEVEL_WORDS, comma)
        most = np.nanmax(values, initial=0)
        if name == "occluded":
            stated.occluded[:] = _among(where, name, values, (0, 1))
        elif name in _LEVELS and not _are_confidences(values):
            _add_level(where, name, values, columns[name], stated)
        elif most > _MOST_CONFIDENCE:
            notes.append(f"confidences are not used, for they go up to {most:g}; expected 0 to 1")
            stated.confidence[np.isnan(stated.confidence) & (values == 0)] = 0  # missing on any scale
        else:
            fresh = np.isnan(stated.confidence)
            stated.confidence[fresh] = np.maximum(values[fresh], 0)
    return stated, notes


def _add_level(where: Callable[[int], str], name: str, values: Floats, texts: Texts, stated: _Stated) -> None:
    """Write a column of levels into `stated` where no earlier column has set one."""
    values = _among(where, "visibility", np.where(values == -1, 0, values), (0, 1, 2))
    yes_or_no = name != "visibility" and np.nanmax(values, initial=0) < VISIBLE
    fresh = np.isnan(stated.level) & ~np.isnan(values)
    vague = np.isin(np.char.lower(texts.astype(str)), _VAGUE_WORDS)
    stated.vague[fresh] = vague[fresh] | (yes_or_no and name == "visible")
    stated.level[fresh] = np.where(yes_or_no & (values == 1), VISIBLE, values)[fresh]


def _are_confidences(values: Floats) -> bool:
    """Whether all numbers lie in 0..1 and some are fractions, which no visibility flag is."""
    known = values[~np.isnan(values)]
    return bool(((known >= 0) & (known <= 1)).all() and (known % 1 > 0).any())


def _among(where: Callable[[int], str], name: str, values: Floats, allowed: tuple[int, ...]) -> Floats:
    """`values`, each NaN or one of `allowed`. Raises DataError otherwise."""
    wrong = np.argwhere(~np.isnan(values) & ~np.isin(values, allowed))
    if len(wrong):
        row, k = wrong[0]
        *most, last = map(str, allowed)
        raise DataError(
            f"{where(row)}: {name} must be {', '.join(most)} or {last}; got {values[row, k]:g}, so correct it"
        )
    return values


def _numbers(where: Callable[[int], str], name: str, texts: Texts, words: Mapping[str, float], comma: bool) -> Floats:
    """Words and numbers as floats, NaN where empty. Each distinct text is parsed once."""
    unique, which = np.unique(texts.astype(str), return_inverse=True)
    values = np.empty(len(unique))
    for i, text in enumerate(unique.tolist()):
        word = text.strip().casefold().replace("_", " ")
        try:
            values[i] = words[word] if word in words else float(word.replace(",", ".") if comma else word)
            wrong = np.isinf(values[i])
        except ValueError:
            wrong = True
        if wrong:
            row = np.argwhere(which.reshape(texts.shape) == i)[0][0]
            raise DataError(
                f"{where(row)}: {name} is {text[:40]!r}, expected a number or a word such as true or occluded"
            )
    return values[which].reshape(texts.shape)
