"""Text files that may be inside a zip, or inside a zip within that zip, as competitions distribute them."""

from __future__ import annotations

import contextlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kptool.base.errors import DataError

BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError, UnicodeDecodeError,
)  # fmt: skip
"""What reading a damaged or encrypted zip raises."""
_MAX_NESTED_BYTES = 1 << 28
"""Uncompressed size of a zip within a zip, which is read into memory."""


@contextlib.contextmanager
def open_text(path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open the csv called `member`: `path` itself if it is no zip, else a file in it or in a nested zip of the same name.

    Raises DataError if it cannot be read, is damaged, or holds no such file.
    """
    with contextlib.ExitStack() as stack:
        try:
            if not is_zip(path):
                if path.suffix.lower() == ".zip":
                    raise DataError(f"{path} is not a whole zip file; download it again")
                yield stack.enter_context(path.open("rb"))
                return
            yield _open_member(stack, path, stack.enter_context(zipfile.ZipFile(path)), member)
        except BROKEN as error:
            raise DataError(f"{path} is damaged, cut off or encrypted ({error}); download it again") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _open_member(
    stack: contextlib.ExitStack, path: Path, archive: zipfile.ZipFile, member: str, *, nested: bool = False
) -> IO[bytes]:
    """`member` of `archive`, or of the zip of the same name in it; `nested` archives are not searched for another zip."""
    names = archive.namelist()
    for name in names:
        if name.rsplit("/", 1)[-1] == member:
            return stack.enter_context(archive.open(name))
    zipped = member.replace(".csv", ".zip")
    for name in () if nested else names:
        if name.rsplit("/", 1)[-1] == zipped:
            if archive.getinfo(name).file_size > _MAX_NESTED_BYTES:
                break
            inner = io.BytesIO(archive.read(name))
            return _open_member(stack, path, stack.enter_context(zipfile.ZipFile(inner)), member, nested=True)
    raise DataError(f"{path} holds no {member}; expected Kaggle's zip, got {', '.join(names[:4]) or 'an empty one'}")


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, regardless of its name."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # the end record is that of an archive split into several files
        return False
