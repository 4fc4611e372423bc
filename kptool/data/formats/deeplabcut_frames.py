"""Locates the frames of DeepLabCut's videos: beside their label file, or at the path that the labels state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from kptool.base.errors import DataError
from kptool.system.text import is_file


def place(labels: Path, where: str, picture: str, base: Path) -> tuple[str, str]:
    """A frame's path relative to `base`, and the video it belongs to.

    labels: the label file; a file of the frame's name beside it takes precedence over the stated path `picture`. Raises
    DataError, beginning with `where`, if both exist, are different files, and the stated folder is another video's.
    """
    name = PurePosixPath(picture)
    beside = labels.parent / name.name
    if not (name.name and is_file(beside) and beside.is_relative_to(base)):
        return picture, str(name.parent) if len(name.parts) > 1 else str(labels.parent)
    written = (base / picture, labels.parent.parent / name.parent.name / name.name)
    if _elsewhere(labels, picture) and any(is_file(one) and not one.samefile(beside) for one in written):
        raise DataError(
            f"{where}: the labels are of {picture}, and {name.name} beside them is another picture; move the file into"
            f" the folder {name.parent.name}, or correct the names in it"
        )
    return beside.relative_to(base).as_posix(), str(labels.parent)


def moved(labels: Path, pictures: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """A note on frames stated in another folder (`pictures`) but `found` beside their label file."""
    others = [p for p, name in zip(pictures, found, strict=True) if p != name and _elsewhere(labels, p)]
    if others:
        text = "pictures are" if len(others) > 1 else "picture is"
        folder = labels.absolute().parent.name
        yield f"{len(others)} {text} taken from {folder} by file name, not from the stated path, the first is {others[0]}"


def _elsewhere(labels: Path, picture: str) -> bool:
    """Whether the folder stated for a picture has another name than the folder of its label file."""
    return PurePosixPath(picture).parent.name not in ("", labels.absolute().parent.name)
