"""Escaping text for output: file names are bytes that need not be UTF-8, but whatever is printed or stored must be."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]")
"""All control characters except tab and newline; a terminal would interpret them."""
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Not encodable in UTF-8. Python represents the undecodable bytes of file names as U+DC80 to U+DCFF (PEP 383)."""


def printable(text: str) -> str:
    """`text` with undecodable bytes of file names written as ``\\xe9``; all other text is unchanged."""
    return text if text.isascii() else _SURROGATE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def harmless(text: str) -> str:
    """`printable` text for a terminal: control characters except tab and newline are escaped as well."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", printable(text))


def printable_all(value: Any) -> Any:
    """`value` with every string in it made `printable`, in nested lists, tuples and dicts as well; tuples become lists."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_all(key): printable_all(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable_all(each) for each in value]
    return value
