"""What tables of labels say of a keypoint besides its place: flags of visibility, in numbers or words, and confidences.

`kind` tells what a column says by its name; `judge` makes 0 unlabelled, 1 occluded, 2 visible of all that was said.
Nothing is decided in silence: what was taken for missing, or kept although it is doubtful, is counted in a note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.skeleton import OCCLUDED, UNLABELLED, VISIBLE
from kptool.data.annotations import LEAST_CONFIDENCE

Texts = NDArray[np.object_]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_MOST_CONFIDENCE = 1.05  # a heatmap's peak may be a little above 1
_SUFFIXES = {
    "visibility": "visibility",
    "v": "flag", "vis": "flag", "present": "flag", "presence": "flag", "labeled": "flag", "labelled": "flag",
    "visible": "visible", "is_visible": "visible",
    "occluded": "occluded", "is_occluded": "occluded", "occlusion": "occluded", "hidden": "occluded",
    "confidence": "confidence", "conf": "confidence", "likelihood": "confidence", "score": "confidence",
    "prob": "confidence", "probability": "confidence",
}  # fmt: skip
_LEVELS = ("visibility", "flag", "visible")
KINDS = (*_LEVELS, "occluded", "confidence")
"""visibility: 0, 1, 2, as kptool has it. flag: the same, or 0 and 1 alone, for no and yes. visible: likewise, but then what
has a place and is not visible is occluded. occluded: 0 or 1. confidence: from 0 to 1."""
_EMPTY = {
    "": np.nan,
    "nan": np.nan,
    "na": np.nan,
    "n/a": np.nan,
    "#n/a": np.nan,
    "none": np.nan,
    "null": np.nan,
    "<na>": np.nan,
}
_YES, _NO = ("true", "yes", "y", "t"), ("false", "no", "n", "f")
_WORDS = {
    **_EMPTY, **dict.fromkeys((*_YES, "visible"), 2.0), **dict.fromkeys(_NO, 0.0),
    **dict.fromkeys(("occluded", "hidden", "invisible", "not visible", "partially visible"), 1.0),
    **dict.fromkeys(("unlabelled", "unlabeled", "not labelled", "not labeled", "missing", "absent", "outside"), 0.0),
}  # fmt: skip
_NOT_SEEN = (*_NO, "occluded", "hidden", "invisible")
_OCCLUDED = {
    **_EMPTY, **dict.fromkeys((*_YES, "occluded", "hidden", "invisible"), 1.0), **dict.fromkeys((*_NO, "visible"), 0.0),
}  # fmt: skip


def kind(name: str) -> str | None:
    """What a column of this name, or called KEYPOINT_name, says of keypoints: one of `KINDS`; None where it is no flag."""
    return _SUFFIXES.get(name.casefold().replace(" ", "_"))


@dataclass(frozen=True)
class _Said:
    """What is stated of keypoints (N, K): `level` 0, 1, 2 or NaN; `vague` where 0 says that it is not seen, rather than
    not labelled; occluded: 0, 1 or NaN; confidence: 0 to 1, or NaN."""

    level: Floats
    vague: Flags
    occluded: Floats
    confidence: Floats


def judge(
    where: Callable[[int], str], points: Floats, stated: Mapping[str, Texts], comma: bool = False
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """0, 1 or 2 for keypoints (N, K, 2), NaN where they have no place, and notes on what was decided.

    `stated` has the texts (N, K) of `KINDS`, empty where nothing is said; `where` names the file and line of a row;
    `comma`: numbers have a decimal comma. Rules: 0,0 that is flagged as not seen or not sure, -1,-1 and what has no
    place is unlabelled; so is a confidence of 0. A confidence below `LEAST_CONFIDENCE` is
    occluded. Raises DataError for half a place and for flags that are none.
    """
    empty = np.isnan(points)
    half = np.argwhere(empty[..., 0] != empty[..., 1])
    if len(half):
        raise DataError(f"{where(half[0][0])}: a keypoint has one coordinate; give both, or none")
    said, notes = _said(where, points.shape[:2], stated, comma)
    origin, minus = (points == 0).all(-1), (points == -1).all(-1)
    silent = np.isnan(said.level)
    unsure = (said.level == 0) | (said.vague & (said.level < VISIBLE)) | (said.occluded == 1) | (said.confidence == 0)
    doubtful = origin & silent & (said.confidence > 0) & (said.confidence < LEAST_CONFIDENCE)
    real = ~empty[..., 0] & ~(origin & unsure) & ~doubtful & ~minus
    unseen = real & said.vague & (said.level == 0)
    against = real & ~said.vague & (said.level == 0)
    low = real & silent & (said.confidence < LEAST_CONFIDENCE)
    nothing = low & (said.confidence == 0)
    seen = np.where(silent, VISIBLE, said.level)
    seen[unseen | low | ((seen == VISIBLE) & (said.occluded == 1))] = OCCLUDED
    kept = np.where(real & ~nothing, seen, UNLABELLED).astype(np.uint8)
    counts = (
        (minus & ~(said.level > 0), "at -1,-1 {is} taken as missing"),
        (minus & (said.level > 0), "at -1,-1 {has} a flag that says labelled, and {is} taken as missing"),
        (doubtful, f"at 0,0 with a confidence below {LEAST_CONFIDENCE} {{is}} taken as missing"),
        (against, "{has} a place and a flag that says unlabelled; {it} not used"),
        (unseen, "{has} a place and a flag that says not visible; {it} kept as occluded"),
        (nothing, "with a confidence of 0 {is} taken as missing"),
        (low & ~nothing, f"with a confidence below {LEAST_CONFIDENCE} {{is}} kept, as occluded"),
        (~silent & ~np.isnan(said.confidence), "{has} a visibility and a confidence; the confidence is not used"),
        (origin & (kept == VISIBLE) & silent, "at 0,0 {is} used, as nothing says that {it} missing"),
    )
    return kept, (*notes, *(_counted(int(which.sum()), text) for which, text in counts if which.any()))


def _counted(number: int, text: str) -> str:
    words = {"is": "is", "has": "has", "it": "it is"} if number == 1 else {"is": "are", "has": "have", "it": "they are"}
    return f"{number:,} keypoint{'s' * (number != 1)} {text.format(**words)}"


def _said(
    where: Callable[[int], str], shape: tuple[int, ...], stated: Mapping[str, Texts], comma: bool
) -> tuple[_Said, list[str]]:
    """The numbers of what is stated; where two columns say the same of a keypoint, the first of `KINDS` counts."""
    said = _Said(np.full(shape, np.nan), np.zeros(shape, bool), np.full(shape, np.nan), np.full(shape, np.nan))
    notes = []
    for name in (name for name in KINDS if name in stated):
        values = _values(where, name, stated[name], _OCCLUDED if name == "occluded" else _WORDS, comma)
        most = np.nanmax(values, initial=0)
        if name == "occluded":
            said.occluded[:] = _whole(where, name, values, (0, 1))
        elif name in _LEVELS and not _is_confidence(values):
            _level(where, name, values, stated[name], said)
        elif most > _MOST_CONFIDENCE:
            notes.append(f"confidences are not used, for they go up to {most:g}; expected 0 to 1")
            said.confidence[np.isnan(said.confidence) & (values == 0)] = 0  # which says missing on any scale
        else:
            fresh = np.isnan(said.confidence)
            said.confidence[fresh] = np.maximum(values[fresh], 0)
    return said, notes


def _level(where: Callable[[int], str], name: str, values: Floats, texts: Texts, said: _Said) -> None:
    """Write a column of visibilities into `said`, where nothing stands yet."""
    values = _whole(where, "visibility", np.where(values == -1, 0, values), (0, 1, 2))
    yes_or_no = name != "visibility" and np.nanmax(values, initial=0) < VISIBLE
    fresh = np.isnan(said.level) & ~np.isnan(values)
    said.vague[fresh] = np.isin(np.char.lower(texts.astype(str)), _NOT_SEEN)[fresh] | (yes_or_no and name == "visible")
    said.level[fresh] = np.where(yes_or_no & (values == 1), VISIBLE, values)[fresh]


def _is_confidence(values: Floats) -> bool:
    """Whether numbers lie from 0 to 1, and some of them between, which no visibility does."""
    known = values[~np.isnan(values)]
    return bool(((known >= 0) & (known <= 1)).all() and (known % 1 > 0).any())


def _whole(where: Callable[[int], str], name: str, values: Floats, allowed: tuple[int, ...]) -> Floats:
    wrong = np.argwhere(~np.isnan(values) & ~np.isin(values, allowed))
    if len(wrong):
        row, k = wrong[0]
        *most, last = map(str, allowed)
        raise DataError(
            f"{where(row)}: {name} must be {', '.join(most)} or {last}; got {values[row, k]:g}, so correct it"
        )
    return values


def _values(where: Callable[[int], str], name: str, texts: Texts, words: Mapping[str, float], comma: bool) -> Floats:
    """Words and numbers as numbers, NaN where empty. Each text is looked at once, for most are alike."""
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
