"""Locates the pictures and labels of a YOLO yaml, whose paths were often written on another machine.

Paths are resolved beside the yaml first, by their last parts: `path: /content/ds` with `train: ../train/images` is
`train/images` beside the yaml. Elsewhere only YOLO's layout is read (pictures below a folder `images`, labels below the
folder `labels` next to it, picture lists next to both), and a note names the place, so that an untrusted yaml cannot make
kptool read other files. Symbolic links inside the folder are followed, as they are the user's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kptool.base.errors import DataError
from kptool.data.notes import counted
from kptool.data.pictures import SUFFIXES
from kptool.data.splits import PARTS
from kptool.system.text import exists, is_file, read_text
from kptool.system.walking import files_below

_MOST_BYTES, _DEEPEST = 1 << 26, 64
_SHOWN = 200


@dataclass(frozen=True)
class Pictures:
    """The pictures of a yaml.

    parts: "train", "val" or "test" for each picture's path, sorted by path; "" if it has no part of its own. folder:
    contains all pictures. notes: on everything that differs from the yaml.
    """

    parts: dict[Path, str]
    folder: Path
    notes: tuple[str, ...]


def find_pictures(path: Path, settings: dict[str, Any]) -> Pictures:
    """All pictures of all parts, each once; a picture in several parts counts for val, else for test.

    path: the yaml. settings: its contents. Raises DataError if there are no pictures.
    """
    base = path.parent.absolute()
    home = _parts(str(settings.get("path") or "."))
    found: dict[Path, str] = {}
    stated, missing, elsewhere, twice, walked = 0, [], [], set(), set()
    for key, entry in _entries(settings):
        stated += 1
        place = _place(base, home, _parts(entry))
        if place is None:
            missing.append(f"{key}: {entry}")
            continue
        if (place, PARTS[key]) in walked:
            continue
        walked.add((place, PARTS[key]))
        if not place.is_relative_to(base):
            elsewhere.append(str(place))
        for picture in _below(base, place):
            part = PARTS[key]
            twice.update([picture] if found.get(picture, part) != part else [])
            found[picture] = part
    if not found:
        what = f"{missing[0][:_SHOWN]} is not there" if missing else "they are empty" if stated else "there are none"
        raise DataError(
            f"{path}: its train, val and test name no folder of pictures beside it ({what}); keep the yaml beside its"
            " folders of images and labels"
        )
    notes = [
        *([f"{_first(missing)} of the yaml is not there, and not used"] if missing else []),
        *([f"pictures are read from {_first(elsewhere)}, as the yaml says"] if elsewhere else []),
        *_shared(found, twice),
        *_untrained(found),
    ]
    inside = all(picture.is_relative_to(base) for picture in found)
    folder = path.parent if inside else Path(os.path.commonpath([picture.parent for picture in found]))
    return Pictures(dict(sorted(found.items())), folder, tuple(notes))


def labels_of(picture: Path, base: Path | None = None) -> Path:
    """The label file of a picture: labels/.../a.txt for images/.../a.jpg, or beside the picture if no folder is `images`.

    For a picture inside `base`, the yaml's folder, only the folders below `base` count.
    """
    parts = picture.parts
    first = len(base.parts) if base is not None and picture.is_relative_to(base) else 0
    last = max((k for k in range(first, len(parts) - 1) if parts[k] == "images"), default=None)
    swapped = picture if last is None else Path(*parts[:last], "labels", *parts[last + 1 :])
    return swapped.with_suffix(".txt")


def _first(names: list[str]) -> str:
    """The first name, and how many more there are."""
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"{names[0][:_SHOWN]}{more}"


def _entries(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each key of a part with one path it names; train, then test, then val, so that later ones take precedence."""
    order = list(dict.fromkeys(PARTS.values()))
    keys = [key for key in settings if isinstance(key, str) and key in PARTS]
    for key in sorted(keys, key=lambda key: order.index(PARTS[key])):
        stated = settings[key]
        for entry in stated if isinstance(stated, list) else [stated]:
            if isinstance(entry, str) and entry.strip():
                yield key, entry.strip()


def _parts(text: str) -> tuple[str, ...]:
    """The last parts of a path in any system's notation; as in `PurePosixPath.parts`, "/" first if it is absolute."""
    parts = PurePosixPath(re.sub("/+", "/", re.sub("^[A-Za-z]:", "", text.replace("\\", "/")))).parts
    return parts[-_DEEPEST:]  # bounds the work, as every suffix of the path is tried


def _place(base: Path, home: tuple[str, ...], entry: tuple[str, ...]) -> Path | None:
    """The place of an entry: inside the yaml's folder `base`, else elsewhere in YOLO's layout; None if not found."""
    absolute = entry[:1] == ("/",)
    whole = entry if absolute else home + entry
    named = [part for part in entry if part not in ("/", "..")]
    least = min(2, len(named)) if absolute else len(named)
    plain = [part for part in whole if part not in ("/", "..")][-_DEEPEST:]
    tails = [plain[k:] for k in range(len(plain) - least + 1)]
    for tail in tails:
        if exists(base.joinpath(*tail)):
            return base.joinpath(*tail)
    literal = Path(os.path.normpath(base.joinpath(*whole)))
    others = [literal, *(base.parent.joinpath(*tail) for tail in tails if tail)]
    return next((place for place in others if exists(place) and (_laid_out(place) or _is_list(place))), None)


def _laid_out(place: Path) -> bool:
    """Whether a folder has `images` in its path, and its pictures' label folder holds text files."""
    labels = labels_of(place / "a.png").parent
    return place.is_dir() and labels != place and labels.is_dir() and next(labels.rglob("*.txt"), None) is not None


def _is_list(place: Path) -> bool:
    """Whether a file is a text file next to folders `images` and `labels`, and thus may list pictures."""
    return place.suffix == ".txt" and is_file(place) and _laid_out(place.parent / "images")


def _below(base: Path, place: Path) -> Iterator[Path]:
    """The pictures in a folder and its subfolders, in order, or those that a text file lists."""
    if not place.is_dir():
        elsewhere = not place.is_relative_to(base)
        for picture in _listed(place.parent if elsewhere else base, place):
            if elsewhere and not picture.is_relative_to(place.parent / "images"):
                raise DataError(
                    f"{place} names a picture outside of the folder images beside it; keep the yaml beside its folders"
                )
            yield picture
        return
    yield from (file for file in files_below(place) if file.suffix.lower() in SUFFIXES)


def _listed(base: Path, file: Path) -> Iterator[Path]:
    """The pictures that a text file lists, relative to `base` or to the file; other paths are matched by their last parts."""
    for line in read_text(file, _MOST_BYTES).split("\n"):
        parts = _parts(line.strip())
        if not parts:
            continue
        plain = [part for part in parts if part not in ("/", "..")]
        if len(plain) == len(parts):
            places = (base.joinpath(*parts), file.parent.joinpath(*parts))
            yield places[1] if is_file(places[1]) and not is_file(places[0]) else places[0]
            continue
        plain = plain[-_DEEPEST:]
        ends = (base.joinpath(*plain[k:]) for k in range(max(1, len(plain) - 1)))
        inside = next((place for place in ends if is_file(place)), None)
        if inside is None:
            raise DataError(
                f"{file} names {line.strip()[:200]}, outside of its folder; name pictures from the yaml's folder on"
            )
        yield inside


def _untrained(found: dict[Path, str]) -> tuple[str, ...]:
    """A note if the yaml has pictures for validation but none for training, so that its split cannot be used."""
    if "train" in found.values() or "val" not in found.values():
        return ()
    return ("none of the yaml's pictures are for training, so those for validation are split anew, at random",)


def _shared(found: dict[Path, str], twice: set[Path]) -> tuple[str, ...]:
    """A note on pictures `twice` in the yaml. If no training picture is left, removes their parts from `found`."""
    if twice and "train" not in found.values():
        found.update(dict.fromkeys(twice, ""))
        return ("the yaml names the same pictures for several parts, so they bring no split of their own",)
    return counted(
        len(twice),
        "{n} picture{s} {are} named in several parts of the yaml; validation goes before test before training",
    )
