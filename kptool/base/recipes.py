"""Recipe files: TOML whose keys are ``model`` and those of ``--set``, with a comment above every value that explains it.

A recipe may come from an untrusted source. Its size and the length of its lines are bounded (tomllib takes quadratic
time for a key of very many parts), and values are returned as text, so that they are checked like those of ``--set``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kptool.base.errors import ConfigError

MAX_BYTES, MAX_LINE = 1 << 20, 1000
"""Limits for the size of a file and of one line, in bytes."""
_MAX_LINES = 1000


def read(path: Path) -> dict[str, str]:
    """Setting -> its value as text; a table ``[augment]`` is the same as keys that begin with ``augment.``.

    Raises ConfigError if the file cannot be read, is too large, or is not TOML.
    """
    try:
        return dict(flatten("", load(path, "a recipe")))
    except RecursionError as error:
        raise ConfigError(f"{path} is not a TOML file: it is nested too deeply; correct it") from error


def load(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file of bounded size, which is said to hold `what`.

    Raises ConfigError if the file cannot be read, is too large, or is not TOML.
    """
    import tomllib  # here, since every command imports this module, and few read a file

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    lines = data.split(b"\n")
    if len(data) > MAX_BYTES or len(lines) > _MAX_LINES or max(map(len, lines)) > MAX_LINE:
        raise ConfigError(f"{path} is too large for {what}: at most {_MAX_LINES} lines of {MAX_LINE} bytes; shorten it")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8, as TOML must be; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error or 'it is nested too deeply'}; correct it") from error


def flatten(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(dotted key, value as text) of every entry; an empty table is kept as a value, so that it is reported."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)


def write(settings: Iterable[tuple[str, str | int | float, str]], remarks: Iterable[str]) -> str:
    """The text of a recipe: `remarks` as comments at the top, then each (key, value, reason) with the reason above it."""
    head = "".join(f"# {_comment(remark)}\n" for remark in remarks)
    body = "".join(
        (f"\n# {_comment(why)}\n" if why else "") + f"{key} = {json.dumps(value)}\n" for key, value, why in settings
    )
    return head + body


def _comment(text: str) -> str:
    """`text` on one line and without control characters, which would end a TOML comment or are forbidden in it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
