"""Finds left/right pairs among keypoint names.

A side is a word (`left_eye`, `eye_l`, `eyeL`, `Lhip`, `forelegL1`), a part of a word (`leftear`), or a letter of a
two-letter word (`lf_paw` and `rf_paw`: left and right front). A name without a side says nothing here: only the keypoint's
positions can tell whether it is on the midline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kptool.base.face68 import is_face68

Pairs = tuple[tuple[int, int], ...]

_SIDES = {"left": "right", "l": "r", "lft": "rgt", "lt": "rt"}
_OTHER = {**_SIDES, **{right: left for left, right in _SIDES.items()}}
_MIDDLE = {"nose", "chin", "neck", "center", "centre", "mid", "middle", "midline"}
"""Words that place a keypoint on the midline, unless its name has a number."""
_MOST_IN_MIDDLE = 4
"""The longest numbered series (tail1, tail2, ...) that is assumed to lie on the midline without seeing its positions."""


def by_name(names: Sequence[str]) -> tuple[Pairs, list[int]]:
    """Index pairs of names that differ only in their side, and the indices of names with a side but no counterpart.

    The words left and right always state a side; l and r, or a leading L and R, only if some pair is named by them.
    """
    index = {tuple(_tokens(name)): k for k, name in enumerate(names)}
    lower = {name.lower(): k for k, name in enumerate(names)}
    partner: dict[int, int] = {}
    named_by: dict[int, str] = {}
    for k, name in enumerate(names):
        for other, word in (*_by_words(name, index), *_by_prefix(name, names), *_by_parts(name, lower)):
            if other != k and k not in partner:
                partner[k], named_by[k] = other, word
    pairs = tuple((k, other) for k, other in partner.items() if k < other and partner.get(other) == k)
    paired = {k for pair in pairs for k in pair}
    used = {"left"} | {named_by[k] for k in paired}
    return pairs, [k for k, name in enumerate(names) if k not in paired and _words(name) & used]


def unsided(names: Sequence[str], pairs: Pairs) -> list[int]:
    """The indices of names in no pair."""
    paired = {k for pair in pairs for k in pair}
    return [k for k in range(len(names)) if k not in paired]


def says_middle(name: str) -> bool:
    """Whether a name places its keypoint on the midline."""
    tokens = _tokens(name)
    return bool(_MIDDLE & set(tokens)) and not any(token.isdigit() for token in tokens)


def numbered(names: Sequence[str], among: Sequence[int]) -> list[list[int]]:
    """The numbered series (one word and a number) `among` the names: lists of indices, ordered by number."""
    series: dict[str, list[tuple[int, int]]] = {}
    for k in among:
        match = re.fullmatch(r"(.*?)([0-9]{1,6})", names[k])
        if match:
            series.setdefault(match[1], []).append((int(match[2]), k))
    return [[k for _, k in sorted(some)] for some in series.values()]


def face_of_68(names: Sequence[str], among: Sequence[int]) -> list[int] | None:
    """The indices `among` the names that are numbered as the 68 keypoints of a face, in order; None if there are none."""
    return next((some for some in numbered(names, among) if is_face68([names[k] for k in some])), None)


def too_many(names: Sequence[str], among: Sequence[int]) -> list[int] | None:
    """A numbered series `among` the names too long for the midline; None if there is none."""
    return next((some for some in numbered(names, among) if len(some) > _MOST_IN_MIDDLE), None)


def _by_prefix(name: str, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The counterpart with a leading L for R, or R for L."""
    prefix = {"L": "R", "R": "L"}.get(name[:1])
    if prefix and prefix + name[1:] in names:
        yield names.index(prefix + name[1:]), "prefix"


def _by_words(name: str, index: dict[tuple[str, ...], int]) -> Iterator[tuple[int, str]]:
    """Counterparts with all side words exchanged, one of them, or one letter of a two-letter word."""
    part = _tokens(name)
    swaps = [i for i, token in enumerate(part) if token in _OTHER]
    for chosen in (swaps, *([i] for i in swaps)):
        other = tuple(_OTHER[token] if i in chosen else token for i, token in enumerate(part))
        if chosen and other in index:
            yield index[other], _word(part[chosen[0]])
    for i, token in enumerate(part):
        if len(token) == 2 and token not in _OTHER:
            for other_token in {token.translate({ord(a): b}) for a, b in ("lr", "rl")} - {token}:
                other = (*part[:i], other_token, *part[i + 1 :])
                if other in index:
                    yield index[other], "two letters"


def _by_parts(name: str, lower: dict[str, int]) -> Iterator[tuple[int, str]]:
    """The counterpart with left for right, or right for left, anywhere in the name."""
    for side, other in (("left", "right"), ("right", "left")):
        mirrored = name.lower().replace(side, other)
        if mirrored != name.lower() and mirrored in lower:
            yield lower[mirrored], "left"


def _words(name: str) -> set[str]:
    """The ways in which a name may state a side."""
    tokens = _tokens(name)
    words = {_word(token) for token in tokens if token in _OTHER}
    if any(token.startswith(("left", "right")) for token in tokens):
        words.add("left")
    return words | ({"prefix"} if name[:1] in ("L", "R") and name[1:2].islower() else set())


def _word(token: str) -> str:
    """The left word of the pair that a side word belongs to."""
    return token if token in _SIDES else _OTHER[token]


def _tokens(name: str) -> list[str]:
    """A name's words in lower case: "LeftEye_2" is left, eye, 2; in "LEye" the L is a word."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])", " ", name)
    return [token for token in re.split(r"[^a-z0-9]+", spaced.lower()) if token]
