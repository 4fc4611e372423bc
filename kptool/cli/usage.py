"""Preprocessing of arguments: expansion of ``~``, and one-sentence messages for wrong usage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "path": "a path"}
_BOUNDS = {"ge": "from {} up", "gt": "above {}", "le": "up to {}", "lt": "below {}"}


def at_home(argument: str) -> str:
    """Expand a ``~`` at the beginning of `argument`, or after an option's ``=``, to the home folder.

    Shells expand it only at the beginning of an unquoted word, so not in ``--out=~/x``.
    """
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return option + equals + os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises for unknown users


def is_wrong(error: Exception) -> bool:
    """Whether Typer raised `error` for wrong usage; checked by attributes because its classes move between versions."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def asks_for_help(error: Any) -> bool:
    """Whether there were no arguments at all, in which case the help is printed."""
    return type(error).__name__ == "NoArgsIsHelpError"


def sentence(error: Any, arguments: Sequence[str], commands: Sequence[str]) -> str:
    """What is wrong and which help to read, in one sentence."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    help_text = f"see `kptool {command} --help`" if command in commands else "see `kptool --help`"
    return f"{_invalid(error) or _told(error)}; {help_text}"


def _invalid(error: Any) -> str:
    """A message for an option's value of the wrong type or out of bounds; empty for other errors."""
    param, errors = getattr(error, "param", None), getattr(error.__cause__, "errors", None)
    if param is None or errors is None:
        return ""
    wrong = errors()[0]
    limits = {key: value for key, value in wrong.get("ctx", {}).items() if key in _BOUNDS}
    named = "int" if any(isinstance(value, int) for value in limits.values()) else wrong["type"].partition("_")[0]
    kind = _KINDS.get(named, "a number" if limits else "another value")
    bounds = [_BOUNDS[key].format(value) for key, value in limits.items()]
    return f"{param.opts[0]} expects {' '.join([kind, *bounds])}; got {wrong['input']!r}"


def _told(error: Any) -> str:
    """Typer's own message, without line breaks and the final period."""
    text = " ".join(error.format_message().split()).rstrip(".")
    return text[:1].lower() + text[1:]
