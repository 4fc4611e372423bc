"""griffe extension: docstrings of the Python page as Markdown.

kptool's docstrings name an argument or a field at the beginning of a line, "name (shape): meaning". In the source these are
lines; Markdown would run them together, so they become a list.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_NAMED = re.compile(
    r"^(?P<names>[a-z_][\w]*(?:, [a-z_][\w]*)*)(?P<shape> \([^)\n]*\)(?: of [^:\n]*)?)?: ", re.IGNORECASE
)


class Lists(griffe.Extension):
    """Turns lines that begin with a name and a colon into list items."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """The text with its lines of names as a list; the lines that continue an item belong to it."""
    lines: list[str] = []
    within = False
    for line in text.splitlines():
        named = _NAMED.match(line)
        if named and (not lines or not lines[-1] or lines[-1].endswith((".", ":"))):
            if lines and lines[-1] and not within:
                lines.append("")
            names = ", ".join(f"`{name}`" for name in named["names"].split(", "))
            lines.append(f"- {names}{named['shape'] or ''}: {line[named.end() :]}")
            within = True
        elif within and line.strip() and re.match(r"^(Raises|Returns|A |The )", line):
            lines += ["", line]
            within = False
        else:
            within = within and bool(line.strip())
            lines.append(f"  {line.strip()}" if within else line)
    return "\n".join(lines)
