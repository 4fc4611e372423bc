"""Opening a text file that may lie in a zip, or in a zip inside that, as contests hand them out."""

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
"""What reading a damaged zip raises."""


@contextlib.contextmanager
def open_text(path: Path, member: str) -> Iterator[IO[bytes]]:
    """The csv called `member`: `path` itself, inside it, or inside a zip of the same name inside it."""
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
    stack: contextlib.ExitStack, path: Path, archive: zipfile.ZipFile, member: str, *, inside: bool = False
) -> IO[bytes]:
    """`member` of the archive, or of the zip called like it in there: `inside` that, there is no further one."""
    names = archive.namelist()
    for name in names:
        if name.rsplit("/", 1)[-1] == member:
            return stack.enter_context(archive.open(name))
    nested = member.replace(".csv", ".zip")
    for name in () if inside else names:
        if name.rsplit("/", 1)[-1] == nested:
            inner = io.BytesIO(archive.read(name)) if archive.getinfo(name).file_size <= 1 << 28 else None
            if inner is None:
                break
            return _open_member(stack, path, stack.enter_context(zipfile.ZipFile(inner)), member, inside=True)
    raise DataError(f"{path} holds no {member}; expected Kaggle's zip, got {', '.join(names[:4]) or 'an empty one'}")


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, whatever its name."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it ends as a zip in several parts would
        return False
