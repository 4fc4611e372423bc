"""Resolves the picture names in a label file: the path as written, else the file with the longest matching end of its path.

Ambiguous names are refused, and inexact matches are reported. No name leads out of the pictures' folder; symbolic links
inside it are followed, as they are the user's own.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kptool.base.errors import DataError
from kptool.data.annotations import ANY_SUFFIX
from kptool.data.pictures import SUFFIXES
from kptool.system.text import is_file
from kptool.system.walking import files_below

EXTRACTION = "dataset.h5"
"""Marks a folder of kptool's own output, whose pictures are ignored."""
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)", re.IGNORECASE)
"""The prefix that Label Studio adds to the names of uploaded files."""
_LONGEST = 200


@dataclass(frozen=True)
class Located:
    """The file of each requested name, and notes on inexact matches and unlabelled pictures."""

    places: list[Path]
    notes: tuple[str, ...]


def locate(path: Path, names: Sequence[str], folder: Path, *, whole: bool = True) -> Located:
    """The file below `folder` for each picture name in the label file `path`.

    A name that is the path of a file relative to `folder` means that file. Otherwise, of the files with the same last
    part, the one that shares most trailing path parts with it; letter case, Unicode normalisation and Label Studio's prefix
    may differ if that leaves one file. A match by the last part alone is rejected if the names explicitly refer to
    pictures in its folder. whole: `names` are all labels of the folder, so unlabelled pictures get a note. Raises DataError
    with the first name that is missing, ambiguous, or resolves to the file of another name.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} with the pictures of {path}; say where they are with --images")
    index = _Index(folder)
    asked = {name: _name(name, index.bases) for name in dict.fromkeys(names)}
    matches = {name: index.matches(name) for name in dict.fromkeys(asked.values())}
    named = {found[0].place.parent for found in matches.values() if len(found) == 1 and found[0].tail > 1}
    for name, found in matches.items():
        if len(name.parts) > 1 and found and found[0].tail == 1:
            matches[name] = [] if all(match.place.parent in named for match in found) else found
    _check(path, folder, asked, matches)
    kept = {text: matches[name][0] for text, name in asked.items()}
    left = index.unlabelled({match.place for match in kept.values()}, path) if whole else ()
    notes = (*_inexact(kept, folder), *left)
    return Located([kept[name].place for name in names], notes)


def lies_in(folder: Path, name: str) -> bool:
    """Whether `name` is the path of a file relative to `folder`; a name that ends with `ANY_SUFFIX` may have any suffix."""
    if not name.endswith(ANY_SUFFIX):
        return is_file(folder / name)
    place = folder / name
    endings = [ending for suffix in sorted(SUFFIXES) for ending in (suffix, suffix.upper())]
    return any(is_file(place.with_suffix(ending)) for ending in endings)


@dataclass(frozen=True)
class _Name:
    """A picture's name: the parts of its path, and whether the path starts elsewhere than in the pictures' folder."""

    parts: tuple[str, ...]
    elsewhere: bool


@dataclass(frozen=True)
class _Match:
    """A candidate file for a name.

    tail: number of trailing path parts that agree. whole: the name is the file's complete path below the folder. same:
    number of agreeing parts with equal spelling. prefix: only one of them has Label Studio's prefix. unicode: the
    spellings differ in Unicode normalisation only.
    """

    place: Path
    tail: int
    whole: bool
    same: int
    prefix: bool = False
    unicode: bool = False

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Sort key of the candidates for one name; the highest is best."""
        return self.whole, self.tail, self.same


def _name(text: str, bases: Sequence[str]) -> _Name:
    """Parse a name in any system's notation. bases: absolute paths of the pictures' folder, which are stripped."""
    text = text.replace("\\", "/")
    elsewhere = text.startswith("/") or ":" in text
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            elsewhere = elsewhere or not parts
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    for base in bases:
        own = base.strip("/").split("/")
        if elsewhere and text.startswith(base) and parts[: len(own)] == own:
            return _Name(tuple(parts[len(own) :]), False)
    return _Name(tuple(parts[1:] if parts and parts[0].endswith(":") else parts), elsewhere)


class _Index:
    """The files below a folder, indexed by the names that labels may use. The folder is walked once, on first need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bases = tuple(dict.fromkeys((folder.absolute().as_posix(), folder.resolve().as_posix())))
        self._alone: dict[str, list[_Match]] = {}

    def matches(self, name: _Name) -> list[_Match]:
        """The best candidates for a name: one if it is clear, several if it is ambiguous, none if it is missing."""
        if not name.parts:
            return []
        direct = self.folder.joinpath(*name.parts)
        if not name.elsewhere and is_file(direct):
            return [_Match(direct, len(name.parts), True, len(name.parts))]
        last = name.parts[-1]
        folder = f"{_folded(name.parts[-2])}/" if len(name.parts) > 1 else ""
        for prefix, groups, end in self._lookups(last):
            if f"{folder}{end}" in groups:
                return _best(self._match(name, place, prefix=prefix) for place in groups[f"{folder}{end}"])
            if end in groups:  # by the last part alone, in any folder
                if last not in self._alone:
                    self._alone[last] = _best(self._match(name, place, prefix=prefix) for place in groups[end])
                return self._alone[last]
        return []

    def _lookups(self, last: str) -> Iterator[tuple[bool, dict[str, list[Path]], str]]:
        """Lookups for the last part of a name, best first: whether it adds or strips the prefix, the index, and the key."""
        if last.endswith(ANY_SUFFIX):
            yield False, self._by_stem, _folded(_stem(last))
            return
        yield False, self._by_last, _folded(last)
        if _UPLOADED.match(last):
            yield True, self._by_last, _folded(_UPLOADED.sub("", last, count=1))
        else:
            yield True, self._by_original, _folded(last)

    def unlabelled(self, used: set[Path], path: Path) -> Iterator[str]:
        """A note on pictures in the folder that no label names.

        In the folder of the label file `path`, which may hold anything, only the folder that all `used` pictures share
        counts.
        """
        around = self.folder
        if self.folder == path.parent and used:
            around = Path(os.path.commonpath([place.parent for place in used]))
        files = self._files if "_files" in self.__dict__ else files_below(around, leave_out=EXTRACTION)
        below = [p for p in files if p.suffix.lower() in SUFFIXES and p not in used and p.is_relative_to(around)]
        same = {_identity(place) for place in used} if below else set()
        left = [place for place in below if _identity(place) not in same]
        if left:
            many = f"{len(left)} pictures in {around} have" if len(left) > 1 else f"1 picture in {around} has"
            yield f"{many} no labels and {'are' if len(left) > 1 else 'is'} not used, the first is {_short(left[0].name)}"

    @cached_property
    def _files(self) -> list[Path]:
        return list(files_below(self.folder, leave_out=EXTRACTION))

    @cached_property
    def _by_last(self) -> dict[str, list[Path]]:
        return self._grouped(self._files, lambda place: place.name)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        pictures = (place for place in self._files if place.suffix.lower() in SUFFIXES)
        return self._grouped(pictures, lambda place: place.stem)

    @cached_property
    def _by_original(self) -> dict[str, list[Path]]:
        """Files with Label Studio's prefix, by their names without it."""
        uploaded = (place for place in self._files if _UPLOADED.match(place.name))
        return self._grouped(uploaded, lambda place: _UPLOADED.sub("", place.name, count=1))

    def _grouped(self, places: Iterable[Path], last: Callable[[Path], str]) -> dict[str, list[Path]]:
        """Files by their folded last part, and by that with the folder before it."""
        groups: dict[str, list[Path]] = {}
        root = _folded(self.folder.absolute().name)
        for place in places:
            end, parent = _folded(last(place)), root if place.parent == self.folder else _folded(place.parent.name)
            groups.setdefault(end, []).append(place)
            groups.setdefault(f"{parent}/{end}", []).append(place)
        return groups

    def _match(self, name: _Name, place: Path, *, prefix: bool = False) -> _Match:
        """Compare a name with a file whose folded last part is equal, apart from suffix or prefix."""
        theirs = place.absolute().parts
        below = len(place.parts) - len(self.folder.parts)
        last = (
            (_stem(name.parts[-1]), place.stem) if name.parts[-1].endswith(ANY_SUFFIX) else (name.parts[-1], place.name)
        )
        pairs = [last]
        for mine, other in zip(name.parts[-2::-1], theirs[-2::-1], strict=False):
            if _folded(mine) != _folded(other):
                break
            pairs.append((mine, other))
        tail = len(pairs)
        whole = not name.elsewhere and tail == len(name.parts) == below
        unequal = [pair for pair in pairs[prefix:] if pair[0] != pair[1]]
        unicode = bool(unequal) and all(_composed(a) == _composed(b) for a, b in unequal)
        return _Match(place, tail, whole, tail - len(unequal), prefix, unicode)


def _check(path: Path, folder: Path, asked: Mapping[str, _Name], matches: Mapping[_Name, list[_Match]]) -> None:
    """Raise DataError if a name has no file, several files, or the file of another name."""
    missing = [text for text, name in asked.items() if not matches[name]]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(asked)} pictures are not in {folder}, the first is {_short(missing[0])!r};"
            " say where they are with --images"
        )
    owners: dict[Path, _Name] = {}
    texts = {name: text for text, name in asked.items()}
    for name, found in matches.items():
        if len(found) > 1:
            raise DataError(
                f"{path}: there are {len(found)} pictures called {name.parts[-1]} below {folder}, and {_short(texts[name])!r}"
                f" may be {_below(found[0].place, folder)} or {_below(found[1].place, folder)}; write more of its path"
            )
        owner = owners.setdefault(found[0].place, name)
        if owner != name:
            raise DataError(
                f"{path}: {_short(texts[owner])!r} and {_short(texts[name])!r} both lead to {_below(found[0].place, folder)} in"
                f" {folder}; add the picture that is missing, or write both names the same way"
            )


def _inexact(kept: Mapping[str, _Match], folder: Path) -> Iterator[str]:
    """Notes on pictures that were not found by their exact names."""
    ways: dict[str, list[str]] = {}
    for text, match in kept.items():
        if match.tail == 1 and not match.whole:
            ways.setdefault("by the last part of the name alone", []).append(text)
        if match.prefix:
            ways.setdefault("with or without Label Studio's prefix", []).append(text)
        if match.same < match.tail - match.prefix:
            how = "in another form of Unicode" if match.unicode else "in another letter case"
            ways.setdefault(how, []).append(text)
    for how, texts in ways.items():
        first = f"the first is {_short(texts[0])!r} as {_below(kept[texts[0]].place, folder)}"
        yield f"{len(texts)} {'pictures are' if len(texts) > 1 else 'picture is'} found {how}, {first}"


def _best(found: Iterable[_Match]) -> list[_Match]:
    """The candidates of the highest rank, each file once."""
    matches = list(found)
    highest = max(match.rank for match in matches)
    best = [match for match in matches if match.rank == highest]
    return list({os.path.realpath(match.place): match for match in best}.values()) if len(best) > 1 else best


def _stem(last: str) -> str:
    return last.removesuffix(ANY_SUFFIX)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    """The name as file systems compare it that ignore letter case and Unicode normalisation."""
    return text.lower() if text.isascii() else _composed(_composed(text).casefold())


def _identity(place: Path) -> tuple[int, int]:
    about = place.stat()
    return about.st_dev, about.st_ino


def _below(place: Path, folder: Path) -> str:
    return _short(place.relative_to(folder).as_posix())


def _short(text: str) -> str:
    """A name for messages: truncated, undecodable bytes escaped."""
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
