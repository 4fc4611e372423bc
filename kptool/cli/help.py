"""``kptool help``: the help of kptool or of a command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kptool.base.errors import ConfigError
from kptool.cli.usage import nearest


def help(
    context: typer.Context,
    command: Annotated[
        str | None, typer.Argument(help="A command; without it, all commands are listed.", show_default=False)
    ] = None,
) -> None:
    """Show the help of a command."""
    root: Any = context.find_root()
    if command is None:
        typer.echo(root.get_help())
        return
    found = root.command.get_command(root, command)
    if found is None:
        near = nearest(command, root.command.list_commands(root), quote="'")
        raise ConfigError(f"there is no command {command!r}{near}; see `kptool --help`")
    found.make_context(command, ["--help"], parent=root)  # prints the help and exits
