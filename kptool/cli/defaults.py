"""Defaults of options from ``kptool.toml`` in the current folder and from ``KPTOOL_*`` environment variables.

    [train]
    epochs = 20
    set = ["width=48"]

A table for each command, whose keys are the command's options and arguments. The command line comes before the
environment, that before the file. A folder may come from anyone: the file is bounded in size, and cannot set what would
replace files or run code.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from kptool.base import recipes
from kptool.base.errors import ConfigError
from kptool.cli.output import note
from kptool.cli.usage import nearest

FILE = Path("kptool.toml")
_NEVER = ("help", "force", "plugin")
"""Options that the file cannot set."""
_PREFIX, _SIMILAR = "KPTOOL_", 0.85
_SHOWN = 100
"""Characters of a wrong value that are shown."""


class Group(TyperGroup):
    """The commands, with the defaults of kptool.toml; the file is not read for help."""

    def invoke(self, ctx: Any) -> Any:
        """Called by Typer to run a command."""
        line = [*ctx._protected_args, *ctx.args]
        if line[:1] != ["help"] and not set(ctx.help_option_names) & set(line):
            _warn_of_misspelt(self.commands)
            ctx.default_map = read(self.commands)
        return super().invoke(ctx)


class Command(TyperCommand):
    """A command that says which of its values came from kptool.toml and from the environment."""

    def invoke(self, ctx: Any) -> Any:
        """Called by Typer to run the command."""
        taken: dict[str, list[str]] = {"ENVIRONMENT": [], "DEFAULT_MAP": []}
        for param in self.params:
            source = ctx.get_parameter_source(param.name)
            if source is not None and source.name in taken:
                name = param.envvar if source.name == "ENVIRONMENT" else key(param)
                taken[source.name].append(f"{name}={_said(ctx.params[param.name])}")
        if taken["ENVIRONMENT"]:
            note(f"kptool: from the environment: {', '.join(taken['ENVIRONMENT'])}")
        if taken["DEFAULT_MAP"]:
            note(f"kptool: from {FILE}: {', '.join(taken['DEFAULT_MAP'])}")
        return super().invoke(ctx)


def from_line(context: Any, name: str) -> bool:
    """Whether the parameter `name` of a command was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def key(param: Any) -> str:
    """The name of an option or argument in the file: ``batch_size`` for ``--batch-size``."""
    long = next((name for name in param.opts if name.startswith("--")), param.name)
    return str(long).lstrip("-").replace("-", "_")


def read(commands: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Command -> parameter -> value of kptool.toml in the current folder; empty without one.

    Raises ConfigError where it is not a TOML file of a reasonable size, or for a table, key or value that no command
    knows.
    """
    if not os.path.lexists(FILE):
        return {}
    if not FILE.is_file():
        raise ConfigError(f"{FILE} in the current folder is not a file; remove or rename it")
    found: dict[str, dict[str, Any]] = {}
    for name, table in recipes.load(FILE, "settings of commands").items():
        if not isinstance(table, Mapping):
            raise ConfigError(
                f"{FILE}: {name!r} is outside of a table; write it below [train], or the command it is for"
            )
        if name not in commands:
            raise ConfigError(
                f"{FILE}: there is no command {name!r}{nearest(name, commands, quote=chr(39))}; rename [{name}]"
            )
        params = {key(param): param for param in commands[name].params}
        try:
            entries = list(_entries(name, table, params))
        except RecursionError:
            raise ConfigError(f"{FILE}: [{name}] is nested too deeply; correct it") from None
        found[name] = dict(entries)
        if len(found[name]) < len(entries):
            raise ConfigError(f"{FILE}: [{name}] has an option twice, once with - and once with _; remove one")
    return found


def _entries(command: str, table: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(parameter, value) of every key of a command's table."""
    for name, value in table.items():
        where, param = f"{FILE}: [{command}] {name}", params.get(name.replace("-", "_"))
        if param is not None and key(param) in _NEVER:
            raise ConfigError(f"{where} is not allowed here; give --{name} on the command line")
        if param is None:
            allowed = [each for each in params if each not in _NEVER]
            near = nearest(name.replace("-", "_"), allowed, quote="'")
            raise ConfigError(f"{where}: there is no such option{near}; known: {', '.join(sorted(allowed))}")
        yield param.name, _value(where, value, param)


def _value(where: str, value: Any, param: Any) -> Any:
    """A value as on the command line: text, on or off for a flag, a list of texts for an option that may be repeated."""
    if getattr(param, "is_flag", False):
        if not isinstance(value, bool):
            raise ConfigError(f"{where} must be true or false; got {repr(value)[:_SHOWN]}")
        return value
    if getattr(param, "multiple", False) or param.nargs == -1:
        if isinstance(value, Mapping):  # [train.set] with a key for each setting
            return [f"{setting}={text}" for setting, text in recipes.flatten("", value)]
        return [_text(where, each) for each in (value if isinstance(value, list) else [value])]
    return _text(where, value)


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{where} must be a text or a number; got {repr(value)[:_SHOWN]}")
    return str(value)


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _warn_of_misspelt(commands: Mapping[str, Any]) -> None:
    """Name variables that look like one of kptool's, and are none."""
    known = {str(param.envvar) for command in commands.values() for param in command.params if param.envvar}
    for name in os.environ:
        if name.startswith(_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=_SIMILAR)
            if near:
                note(f"kptool: the environment variable {name} is not read; did you mean {near[0]}?")
