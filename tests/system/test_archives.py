"""Members of zips, which are decompressed by another library than Python's."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kptool.base.errors import DataError
from kptool.system.archives import BROKEN, open_text

RNG = np.random.default_rng(0)
TEXTS = {
    "empty": b"",
    "one line": b"a,b\n",
    "repetitive": b"0 0 0 0 255\n" * 400_000,
    "random": RNG.integers(0, 256, 3_000_000, np.uint8).tobytes(),
}


def packed(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED, member: str = "training.csv") -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("readme.txt", "first " * 99)
        archive.writestr(member, content)
    return path


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_is_read_as_it_was_packed(name: str, method: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", TEXTS[name], method, "faces/training.csv")
    with open_text(path, "training.csv") as file:
        line = file.readline()
        parts = [line, *iter(lambda: file.read(70_001), b"")]
    assert b"".join(parts) == TEXTS[name]


def test_a_member_of_a_zip_within_a_zip_behind_other_bytes_is_read(tmp_path: Path) -> None:
    inner = packed(tmp_path / "inner.zip", TEXTS["one line"]).read_bytes()
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("training.zip", inner)
    (tmp_path / "all.zip").write_bytes(b"#!/bin/sh\n" + outer.getvalue())
    with open_text(tmp_path / "all.zip", "training.csv") as file:
        assert file.read() == TEXTS["one line"]


def test_a_changed_byte_anywhere_is_an_error_or_harmless(tmp_path: Path) -> None:
    text = TEXTS["repetitive"][:30_000] + RNG.integers(48, 58, 3000, np.uint8).tobytes()
    whole = packed(tmp_path / "a.zip", text).read_bytes()
    outcomes = {"same": 0, "refused": 0}
    for place in range(0, len(whole), 7):
        (tmp_path / "b.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        try:
            with open_text(tmp_path / "b.zip", "training.csv") as file:
                assert file.read() == text
            outcomes["same"] += 1
        except (DataError, *BROKEN):
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 15  # such as dates, and the other member


@pytest.mark.parametrize(("field", "value"), [(14, b"\0\0\0\0"), (22, b"\1\0\0\0"), (22, b"\xff\xff\0\0")])
def test_another_checksum_or_length_is_refused(field: int, value: bytes, tmp_path: Path) -> None:
    """In the central directory, whose fields lie two bytes further than those of the member's own header."""
    whole = bytearray(packed(tmp_path / "a.zip", b"1,2\n" * 500).read_bytes())
    start = whole.rindex(b"PK\1\2") + 2 + field
    whole[start : start + 4] = value
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises((DataError, *BROKEN)), open_text(tmp_path / "a.zip", "training.csv") as file:
        file.read()
