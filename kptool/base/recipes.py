"""Recipes in files: TOML whose keys are those of ``--set``, and ``model``. Written with a reason beside every value.

A file may be anybody's. It is bounded in size and in the length of its lines (a key of very many parts takes tomllib
quadratic time), and its values are handed on as texts, so that they are checked as those of ``--set`` are.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kptool.base.errors import ConfigError

MAX_BYTES, MAX_LINE = 1 << 20, 1000
_MAX_LINES = 1000


def read(path: Path) -> dict[str, str]:
    """Setting -> its value as text; a table ``[augment]`` is the same as keys that begin with ``augment.``.

    Raises ConfigError where the file cannot be read, is too large, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    lines = data.split(b"\n")
    if len(data) > MAX_BYTES or len(lines) > _MAX_LINES or max(map(len, lines)) > MAX_LINE:
        raise ConfigError(
            f"{path} is too large for a recipe: it may have {_MAX_LINES} lines of {MAX_LINE} bytes; give --config a file"
            " as `kptool recommend --out` writes it"
        )
    try:
        return dict(_flat("", tomllib.loads(data.decode("utf-8-sig"))))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8, as TOML is; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error or 'it nests too deep'}; correct it") from error


def _flat(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)


def write(settings: Iterable[tuple[str, str | int | float, str]], remarks: Iterable[str]) -> str:
    """The text of a recipe: `remarks` as comments above, then each (key, value, reason) with the reason above it."""
    head = "".join(f"# {_line(remark)}\n" for remark in remarks)
    body = "".join(f"\n# {_line(why)}\n{key} = {json.dumps(value)}\n" for key, value, why in settings)
    return head + body


def _line(text: str) -> str:
    """Nothing that would end a comment, or that TOML forbids in one."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
