"""``kptool plugin``: list the plugins from outside kptool, or write a new one with its test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kptool.base.errors import ConfigError
from kptool.cli.defaults import Command
from kptool.cli.options import Json, Plugin
from kptool.cli.output import emit, emit_json

_KINDS = {"model": "models", "loss": "losses", "decoder": "decoders", "dataset": "datasets", "logger": "loggers"}
_USE = {
    "model": "kptool train {name} --plugin {file}",
    "loss": "kptool train MODEL --set loss={name} --plugin {file}",
    "decoder": "kptool evaluate MODEL --decoder {name} --plugin {file}",
    "dataset": "kptool extract SOURCE --plugin {file}",
    "logger": "kptool train MODEL --log {name} --plugin {file}",
}


class ListingCommand(Command):
    """A command whose help names the models of plugins."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Called by Typer at the end of the help."""
        from kptool import plugins

        found = [f"{offer.name} ({offer.origin})" for offer in plugins.offers() if offer.kind == "models"]
        if found:
            formatter.write_paragraph()
            formatter.write_text(f"Models of plugins: {', '.join(found)}.")


def plugin(
    action: Annotated[str, typer.Argument(metavar="list|new", help="What to do.")] = "list",
    kind: Annotated[
        str | None,
        typer.Argument(help="For new: model, loss, decoder, dataset or logger.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(help="For new: the plugin's name, with which the commands take it.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="For new: the folder to write into.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="For new: replace files that are there.")] = False,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """List plugins, or write one: a model, loss, decoder, dataset format or logger of your own.

    `kptool plugin list` names those that installed packages and --plugin files offer, and where they come from. `kptool plugin
    new model NAME` writes a working NAME.py and a test, test_NAME.py, to start from.
    """
    if action == "new":
        _new(kind, name, out, force, json)
    elif action != "list":
        raise ConfigError(f"kptool plugin takes list or new; got {action!r}")
    elif kind is not None:
        raise ConfigError(f"kptool plugin list takes no argument; got {kind!r}")
    else:
        _list(json)


def _list(json: bool) -> None:
    from kptool import plugins
    from kptool.base.extensions import singular

    rows = [(singular(offer.kind), offer.name, offer.origin, why) for offer, why in plugins.survey()]
    if json:
        emit_json(
            {
                "plugins": [
                    {"kind": kind, "name": name, "from": origin.describe(), "refused": why}
                    for kind, name, origin, why in rows
                ]
            }
        )
        return
    if not rows:
        emit("no plugins: no installed package offers one, and no --plugin FILE was given")
        return
    from rich.table import Table

    table = Table("kind", "name", "from", "", box=None)
    for kind, name, origin, why in rows:
        table.add_row(kind, name, str(origin), "" if why is None else f"refused: {why}")
    emit(table)


def _new(kind: str | None, name: str | None, out: Path, force: bool, json: bool) -> None:
    from kptool import plugins, templates
    from kptool.system.files import write_text

    if kind not in _KINDS or name is None:
        raise ConfigError(f"kptool plugin new takes one of {', '.join(_KINDS)}, and a name; got {kind!r} and {name!r}")
    module = name.replace("-", "_")
    if not module.isidentifier() or not module.isascii() or module.lower() != module or module.startswith("_"):
        raise ConfigError(f"a plugin's name has small letters, digits and dashes, such as my-{kind}; got {name!r}")
    called = module.replace("_", "-")
    if called in plugins.own_names(_KINDS[kind]):  # type: ignore[arg-type]
        raise ConfigError(f"kptool has a {kind} {called!r} itself; choose another name")
    files = {f"{kind}.py": out / f"{module}.py", f"{kind}_test.py": out / f"test_{module}.py"}
    there = next((path for path in files.values() if path.exists()), None)
    if there is not None and not force:
        raise ConfigError(f"{there} exists already; choose another name, or replace it with --force")
    folder = Path(templates.__file__).parent
    for template, path in files.items():
        text = (folder / template).read_text(encoding="utf-8").replace("example.py", f"{module}.py")
        write_text(path, text.replace("example", called))
    if json:
        emit_json({"kind": kind, "name": called, "wrote": list(files.values())})
        return
    plain, test = files.values()
    emit(f"wrote {plain} and {test}; try `pytest {test}` and `{_USE[kind].format(name=called, file=plain)}`")
