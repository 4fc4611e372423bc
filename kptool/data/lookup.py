"""Which file each picture is that a label file names: as it is written, else the file whose path ends most like it.

What does not decide is refused, and what was found by less than its whole name is told. No name leads out of the folder;
links inside it are a person's own, and followed.
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
"""What a folder holds whose pictures kptool has made."""
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)", re.IGNORECASE)
"""What Label Studio puts before the name of a file that is uploaded to it."""
_LONGEST = 200


@dataclass(frozen=True)
class Located:
    """The file of each name that was asked for, and how they were found, where that is to be known, a sentence each."""

    places: list[Path]
    notes: tuple[str, ...]


def locate(path: Path, names: Sequence[str], folder: Path, *, whole: bool = True) -> Located:
    """The file below `folder` of each picture's name in the label file `path`.

    A name that leads to a file from `folder` on is that file. Else it is, of the files of its last name, the one whose
    path has most of the last parts in common with it; letter case, the form of Unicode and Label Studio's prefix may
    differ where that leaves one file. A folder that labels name has no pictures of other folders. Pictures without labels
    are told where `names` are the `whole` of what is labelled in the folder. Raises DataError with the first name that is
    missing, that fits several files, or that fits a file that is another name's.
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
    notes = (*_how(kept, folder), *left)
    return Located([kept[name].place for name in names], notes)


def lies_in(folder: Path, name: str) -> bool:
    """Whether a picture's name leads from `folder` on to a file, or to one of any suffix where that is left open."""
    if not name.endswith(ANY_SUFFIX):
        return is_file(folder / name)
    place = folder / name
    endings = [ending for suffix in sorted(SUFFIXES) for ending in (suffix, suffix.upper())]
    return any(is_file(place.with_suffix(ending)) for ending in endings)


@dataclass(frozen=True)
class _Name:
    """A picture's name: the parts of its path, and whether these begin somewhere else than in the pictures' folder."""

    parts: tuple[str, ...]
    elsewhere: bool


@dataclass(frozen=True)
class _Match:
    """A file that a name may mean: how many `tail` parts of their paths agree, whether that is all of the name from the
    folder on, and how many of these are spelled the same; whether one has Label Studio's prefix."""

    place: Path
    tail: int
    whole: bool
    same: int
    prefix: bool = False
    unicode: bool = False

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Orders matches of one name."""
        return self.whole, self.tail, self.same


def _name(text: str, bases: Sequence[str]) -> _Name:
    """The name, whatever system it was written on; below one of `bases`, the pictures' folder's own paths, or elsewhere."""
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
    """The files below a folder, by what labels may call them; walked once, and only where that is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bases = tuple(dict.fromkeys((folder.absolute().as_posix(), folder.resolve().as_posix())))
        self._alone: dict[str, list[_Match]] = {}

    def matches(self, name: _Name) -> list[_Match]:
        """The file that a name means; several where that cannot be told, none where there is none."""
        if not name.parts:
            return []
        direct = self.folder.joinpath(*name.parts)
        if not name.elsewhere and is_file(direct):
            return [_Match(direct, len(name.parts), True, len(name.parts))]
        last = name.parts[-1]
        folder = f"{_folded(name.parts[-2])}/" if len(name.parts) > 1 else ""
        for prefix, groups, end in self._ways(last):
            if f"{folder}{end}" in groups:
                return _best(self._match(name, place, prefix=prefix) for place in groups[f"{folder}{end}"])
            if end in groups:  # its last name alone, whatever the folders before it
                if last not in self._alone:
                    self._alone[last] = _best(self._match(name, place, prefix=prefix) for place in groups[end])
                return self._alone[last]
        return []

    def _ways(self, last: str) -> Iterator[tuple[bool, dict[str, list[Path]], str]]:
        """Where to look for a last name, the better way first: whether that is with or without Label Studio's prefix, files
        by how they end, and which end it is."""
        if last.endswith(ANY_SUFFIX):
            yield False, self._by_stem, _folded(_stem(last))
            return
        yield False, self._by_last, _folded(last)
        if _UPLOADED.match(last):
            yield True, self._by_last, _folded(_UPLOADED.sub("", last, count=1))
        else:
            yield True, self._by_original, _folded(last)

    def unlabelled(self, used: set[Path], path: Path) -> Iterator[str]:
        """What to say of pictures that no label names, around those that labels do.

        Beside a label file may lie anything; there, only the folder that holds all pictures in use counts.
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
        """Files that have Label Studio's prefix, by their names without it."""
        uploaded = (place for place in self._files if _UPLOADED.match(place.name))
        return self._grouped(uploaded, lambda place: _UPLOADED.sub("", place.name, count=1))

    def _grouped(self, places: Iterable[Path], last: Callable[[Path], str]) -> dict[str, list[Path]]:
        """Files by their last name, folded, and by that with its folder before it."""
        groups: dict[str, list[Path]] = {}
        root = _folded(self.folder.absolute().name)
        for place in places:
            end, parent = _folded(last(place)), root if place.parent == self.folder else _folded(place.parent.name)
            groups.setdefault(end, []).append(place)
            groups.setdefault(f"{parent}/{end}", []).append(place)
        return groups

    def _match(self, name: _Name, place: Path, *, prefix: bool = False) -> _Match:
        """How well a name fits a file whose last name is its own, folded, whatever the suffix or prefix."""
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
    """Raise DataError where a name has no file, several, or that of another name."""
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


def _how(kept: Mapping[str, _Match], folder: Path) -> Iterator[str]:
    """What to say of pictures that were found by less than their whole names."""
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
    """The matches of the highest rank, each file once."""
    matches = list(found)
    highest = max(match.rank for match in matches)
    best = [match for match in matches if match.rank == highest]
    return list({os.path.realpath(match.place): match for match in best}.values()) if len(best) > 1 else best


def _stem(last: str) -> str:
    return last.removesuffix(ANY_SUFFIX)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    """The name as file systems compare names that neither keep letter case nor the form of Unicode."""
    return text.lower() if text.isascii() else _composed(_composed(text).casefold())


def _identity(place: Path) -> tuple[int, int]:
    about = place.stat()
    return about.st_dev, about.st_ino


def _below(place: Path, folder: Path) -> str:
    return _short(place.relative_to(folder).as_posix())


def _short(text: str) -> str:
    """A name as it can be shown: not too long, and without what is no text."""
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
