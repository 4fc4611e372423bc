"""Text as others can read it: names of files are bytes, and need not be UTF-8; what is printed or stored has to be."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]")
"""All control characters but a tab and a new line: a terminal would obey them."""
_SURROGATE = re.compile("[\ud800-\udfff]")
"""What no text in UTF-8 holds. Python has the bytes of names that are no UTF-8 as U+DC80 to U+DCFF (PEP 383)."""


def printable(text: str) -> str:
    """`text` with the bytes of a file's name that are no UTF-8 written as ``\\xe9``; text of characters as it is."""
    return text if text.isascii() else _SURROGATE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def harmless(text: str) -> str:
    """`printable`, and control characters but tabs and new lines written the same way, for a terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", printable(text))


def printable_all(value: Any) -> Any:
    """`value` with every text in it, however deep in lists and tables, made `printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_all(key): printable_all(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable_all(each) for each in value]
    return value
