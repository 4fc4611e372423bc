"""Preprocessing of arguments: expansion of ``~``, flags of all commands, and one-sentence messages for wrong usage."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from typing import Any

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "path": "a path"}
_FLAGS = {
    "--debug": "debug",
    "--verbose": "verbose",
    "-v": "verbose",
    "--quiet": "quiet",
    "-q": "quiet",
}
"""Options that may stand anywhere on the line."""
_BOUNDS = {"ge": "from {} up", "gt": "above {}", "le": "up to {}", "lt": "below {}"}


def at_home(argument: str) -> str:
    """Expand a ``~`` at the beginning of `argument`, or after an option's ``=``, to the home folder.

    Shells expand it only at the beginning of an unquoted word, so not in ``--out=~/x``.
    """
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return option + equals + os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises for unknown users


def without_flags(arguments: Sequence[str]) -> tuple[list[str], set[str]]:
    """`arguments` without the flags of all commands, and which of those were given; after ``--``, nothing is a flag."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a not in _FLAGS]
    return [*kept, *arguments[end:]], {_FLAGS[a] for a in arguments[:end] if a in _FLAGS}


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
    return f"{_invalid(error) or _unknown(error, arguments, command, commands) or _told(error)}; {help_text}"


def nearest(name: str, known: Iterable[str], *, quote: str = "") -> str:
    """ " (did you mean NAME?)" with the most similar of the names that are `known`; empty if none is similar."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {quote}{near[0]}{quote}?)" if near else ""


def _unknown(error: Any, arguments: Sequence[str], command: str, commands: Sequence[str]) -> str:
    """A message for a misspelt option or command, with the most similar one; empty for other errors."""
    option = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and option is not None:
        typed = next((a.partition("=")[0] for a in arguments if a.startswith(option)), option)  # "-e" of "-epochs"
        known = [*_FLAGS, "--help", *(name for param in error.ctx.command.params for name in param.opts)]
        return f"there is no option {typed}{nearest('--' + typed.lstrip('-'), known)}"
    if command and command not in commands and str(error).startswith("No such command"):
        return f"there is no command {command!r}{nearest(command, commands, quote=chr(39))}"
    return ""


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
    return f"{param.opts[0]} expects {' '.join([kind, *bounds])}; got {wrong['input']!r}{_origin(error, param)}"


def _origin(error: Any, param: Any) -> str:
    """Where a value came from that is not on the command line, in parentheses."""
    source = getattr(error.ctx.get_parameter_source(param.name), "name", "") if error.ctx else ""
    return {"ENVIRONMENT": f" (from {param.envvar})", "DEFAULT_MAP": " (from kptool.toml)"}.get(source, "")


def _told(error: Any) -> str:
    """Typer's own message, without line breaks and the final period."""
    text = " ".join(error.format_message().split()).rstrip(".")
    return text[:1].lower() + text[1:]
