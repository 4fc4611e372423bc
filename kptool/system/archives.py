"""Text files that may be inside a zip, or inside a zip within that zip, as competitions distribute them."""

from __future__ import annotations

import contextlib
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from isal import isal_zlib

from kptool.base.errors import DataError

_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub calls it an instance
BROKEN: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, zlib.error, _ISAL_ERROR, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError, UnicodeDecodeError,
)  # fmt: skip
"""What reading a damaged or encrypted zip raises."""
UNREADABLE: tuple[type[Exception], ...] = (*BROKEN, OSError)
"""The same, or what reading a damaged disk raises."""
_MAX_NESTED_BYTES = 1 << 28
"""Uncompressed size of a zip within a zip, which is read into memory."""
_INPUT, _OUTPUT = 1 << 16, 1 << 20
"""Bytes that are read, and decompressed, at once."""
_LOCAL = struct.Struct("<26x2H")
"""The header in front of a member; it ends with the lengths of the name and of the extra field, which follow."""


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
            yield _open_member(stack, path, stack.enter_context(path.open("rb")), member)
        except BROKEN as error:
            raise DataError(f"{path} is damaged, cut off or encrypted ({error}); download it again") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _open_member(
    stack: contextlib.ExitStack, path: Path, file: IO[bytes], member: str, *, nested: bool = False
) -> IO[bytes]:
    """`member` of the zip in `file`, or of the zip of the same name in it; `nested` ones are not searched for another zip."""
    archive = stack.enter_context(zipfile.ZipFile(file))
    names = archive.namelist()
    for name in names:
        if name.rsplit("/", 1)[-1] == member:
            return stack.enter_context(_inflated(archive, file, name))
    zipped = member.replace(".csv", ".zip")
    for name in () if nested else names:
        if name.rsplit("/", 1)[-1] == zipped:
            if archive.getinfo(name).file_size > _MAX_NESTED_BYTES:
                break
            return _open_member(stack, path, io.BytesIO(archive.read(name)), member, nested=True)
    raise DataError(f"{path} holds no {member}; expected Kaggle's zip, got {', '.join(names[:4]) or 'an empty one'}")


def _inflated(archive: zipfile.ZipFile, file: IO[bytes], name: str) -> IO[bytes]:
    """A member of the zip in `file`, by the faster library where it knows the compression."""
    opened, info = archive.open(name), archive.getinfo(name)  # which examines the member's header
    if info.compress_type != zipfile.ZIP_DEFLATED:
        return opened
    opened.close()
    return io.BufferedReader(_Inflated(file, info), _OUTPUT)


class _Inflated(io.RawIOBase):
    """A deflated member of a zip, decompressed by ISA-L, which takes a third of zlib's time."""

    def __init__(self, file: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._file, self._info = file, info
        file.seek(info.header_offset)
        file.seek(sum(_LOCAL.unpack(file.read(_LOCAL.size))), io.SEEK_CUR)
        self._left, self._size, self._sum, self._input = info.compress_size, 0, 0, b""
        self._stream = isal_zlib.decompressobj(-15)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes. Raises EOFError if the file ends before them, and BadZipFile if they are not those that were packed."""
        while not (data := self._stream.decompress(self._input, len(buffer))):
            if self._stream.eof:
                if (self._size, self._sum) != (self._info.file_size, self._info.CRC):
                    raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._info.filename!r}")
                return 0
            self._input = self._file.read(min(self._left, _INPUT))
            self._left -= len(self._input)
            if not self._input:
                raise EOFError("the compressed data ends too early")
        self._input = self._stream.unconsumed_tail
        self._size, self._sum = self._size + len(data), isal_zlib.crc32(data, self._sum)
        if self._size > self._info.file_size:
            raise zipfile.BadZipFile(f"{self._info.filename!r} is larger than it says")
        buffer[: len(data)] = data
        return len(data)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, regardless of its name."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # the end record is that of an archive split into several files
        return False
