"""Reads XML label files without expanding entities, and tells dlib's from others by their beginning."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from kptool.base.errors import DataError
from kptool.system.text import beginning, read_text

_MAX_BYTES = 1 << 28
_HEADER = re.compile(r"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<dataset[\s>]", re.DOTALL)
"""The beginning of dlib's XML: declarations and comments, then its outermost element."""
_LATIN = re.compile(r"""<\?xml[^>]*encoding=["']ISO-8859-1["']""", re.IGNORECASE)


def is_dlib(path: Path) -> bool:
    """Whether `path` is XML whose outermost element is dlib's."""
    return path.suffix.lower() == ".xml" and path.is_file() and _HEADER.match(beginning(path)) is not None


def read_xml(path: Path) -> ElementTree.Element:
    """The outermost element. Raises DataError if the file is unreadable, invalid, too large, or defines entities."""
    text = _text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(
            f"{path} defines entities of its own, which exports of labelling tools do not; kptool does not read such xml"
        )
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is not valid xml ({error}); it may be cut off, so export it again") from error


def _text(path: Path) -> str:
    """The contents of a file in UTF-8, or in Latin-1 if the file states that, as imglab's do whatever they are in."""
    try:
        return read_text(path, _MAX_BYTES)
    except DataError:
        if not _LATIN.match(beginning(path)):
            raise
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("latin-1")
