"""Ways to damage a file: arbitrary bytes, or text where it has a meaning."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable

_NUMBERS = (
    b"nan NaN inf -inf 1e400 -1 -0 0 1e-320 0x10 99999999999999999999999 2147483648 4294967296 18446744073709551616 "
    b'9223372036854775807 -9223372036854775808 1e18 0.1e5 1_000 \xd9\xa3 true null [] {} ""'
).split()
_WORDS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b",", b'"', b"'", b"\r", b"\n\n\n", b"../../../../etc/passwd", b"/etc/passwd",
    b"..\\..\\x", b"C:\\x.png", b"\x1b[31m", b"%s%n", b"A" * 70000, b"[" * 3000, b'{"a":' * 3000, b"<!ENTITY a 'b'>", b"&a;",
    b"*a", b"&a [*a]", b"!!python/object/apply:os.system ['true']", b"a\xcc\x81", b"\xe2\x80\xae", b"http://localhost:9/a.png",
    b"file:///etc/passwd", b"~root", b"$HOME", b"|", b";", b"\\", b"\xed\xa0\x80",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_TOKEN = re.compile(rb"[A-Za-z_]{2,}|[][{}(),:;<>=\"/\n]")

Mutation = Callable[[bytes, random.Random], bytes]


def truncated(data: bytes, rng: random.Random) -> bytes:
    """Truncated to its first 0 to 90 %."""
    return data[: rng.randrange(max(1, len(data) * 9 // 10))]


def replaced(data: bytes, rng: random.Random) -> bytes:
    """Replaced with entirely different content."""
    return rng.choice(
        [b"", b"\x00" * 512, rng.randbytes(600), b"not what you think\n", b"{}", b"[]", b"null", b"PK\x03\x04"]
    )


def flipped(data: bytes, rng: random.Random) -> bytes:
    """A few bits or bytes changed, mostly near the beginning, where formats keep their headers."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        where = min(int(rng.random() ** rng.choice([1, 3]) * len(out)), len(out) - 1)
        out[where] = rng.choice([out[where] ^ (1 << rng.randrange(8)), rng.randrange(256), 0, 255, 127, 128])
    return bytes(out)


def words(data: bytes, rng: random.Random) -> bytes:
    """Integers inside a binary file made large, small or negative."""
    size = rng.choice([2, 4, 8])
    out, where = bytearray(data), rng.randrange(max(1, len(data) - 8))
    value = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1, rng.getrandbits(16)])
    out[where : where + size] = (value & (256**size - 1)).to_bytes(size, rng.choice(["little", "big"]))  # type: ignore[arg-type]
    return bytes(out)


def spliced(data: bytes, rng: random.Random) -> bytes:
    """A part removed, repeated, or moved."""
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    b = min(b, a + rng.choice([1, 8, 64, 4096]))
    part = data[a:b]
    where = rng.randrange(len(data) + 1)
    return rng.choice(
        [data[:a] + data[b:], data[:b] + part * rng.choice([1, 3, 100]) + data[b:], data[:where] + part + data[where:]]
    )


def numbers(data: bytes, rng: random.Random) -> bytes:
    """One to three numbers in a text replaced with others."""
    for _ in range(rng.randrange(1, 4)):
        found = list(_NUMBER.finditer(data))
        if found:
            at = rng.choice(found)
            data = data[: at.start()] + rng.choice(_NUMBERS) + data[at.end() :]
    return data


def tokens(data: bytes, rng: random.Random) -> bytes:
    """A name or a punctuation mark in a text replaced, doubled or removed."""
    found = list(_TOKEN.finditer(data))
    if not found:
        return data
    at = rng.choice(found)
    return (
        data[: at.start()]
        + rng.choice([b"", at.group() * 2, rng.choice(_WORDS), rng.choice(found).group()])
        + data[at.end() :]
    )


def zipped(data: bytes, rng: random.Random, depth: int = 0) -> bytes:
    """A zip with damaged contents or entries: path traversal, bombs, encryption flags, duplicates."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for entry in before.infolist():
            content = before.read(entry)
            kind = rng.randrange(8)
            name = rng.choice(["../{}", "/tmp/{}", "{}/", "a\\..\\{}"]).format(entry.filename)
            if kind == 0:
                after.writestr(name, content)
            elif kind == 1:
                after.writestr(entry.filename, _bomb(content, rng))
            elif kind == 2:
                after.writestr(entry.filename, content)
                after.writestr("more/" + entry.filename, content)
            elif kind == 3:
                after.writestr(entry.filename.replace(".csv", ".zip"), _nested(content, entry.filename, rng))
            elif entry.filename.endswith(".zip") and depth == 0:
                after.writestr(entry.filename, zipped(content, rng, depth + 1))
            else:
                after.writestr(entry.filename, rng.choice([flipped, truncated, numbers, tokens, spliced])(content, rng))
    result = bytearray(out.getvalue())
    if rng.random() < 0.1:  # claim that it is encrypted
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = result.find(mark)
            result[at + offset] |= 1
    return bytes(result)


def _bomb(content: bytes, rng: random.Random) -> bytes:
    """Much data from little: in one cell, in the header, in one line without an end, in many lines."""
    head, _, rest = content.partition(b"\n")
    much = rng.choice([10**6, 3 * 10**7])
    return rng.choice(
        [
            lambda: content[:200] + b"0 " * much,
            lambda: head + b"\n" + b"," * head.count(b",") + b"00 " * (much // 2),
            lambda: b"a," * (much // 4) + b"Image\n" + b"," * (much // 4) + b"0 0 0 0\n",
            lambda: bytes(6 * much),
            lambda: head + b"\n" + rest.partition(b"\n")[0] + b"\n" + b"," * much,
            lambda: content + b"\n" * much,
        ]
    )()


def _nested(content: bytes, name: str, rng: random.Random) -> bytes:
    """A zip in a zip in a zip, each named like the one around it."""
    for _ in range(rng.choice([1, 2, 5, 300])):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(name, content)
        content, name = out.getvalue(), name.replace(".csv", ".zip")
    return content


def repacked(data: bytes, rng: random.Random) -> bytes:
    """A checkpoint, which is a zip, with one of its entries damaged and correct checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        entries = before.infolist()
        pickled = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        chosen = rng.choice(pickled * len(entries) + entries)
        for entry in entries:
            content = before.read(entry)
            if entry is chosen:
                content = rng.choice([flipped, words, spliced, truncated, numbers])(content, rng)
            after.writestr(entry.filename, content)
    return out.getvalue()


ANY: tuple[Mutation, ...] = (truncated, replaced, flipped, flipped, words, spliced)
TEXT: tuple[Mutation, ...] = (*ANY, numbers, numbers, tokens, tokens, tokens)
