"""``kptool settings``: every setting of a training with its default, its range and its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from kptool.cli.options import Json, Plugin
from kptool.cli.output import emit, emit_json

_HEATMAPS_ONLY = ("sigma", "decoder")
_DIFFER = "differs"
_HEAD = ("key", "default", "range", "meaning")


@dataclass(frozen=True)
class _Row:
    """A setting by its ``--set`` name. defaults: by model, None where the model does not use it; range: in words."""

    key: str
    type: str
    defaults: dict[str, Any]
    range: str
    meaning: str

    @property
    def differs(self) -> bool:
        """Whether the defaults of the models that use it differ."""
        return len({value for value in self.defaults.values() if value is not None}) > 1


def settings(
    model: Annotated[
        str | None,
        typer.Argument(help="A model; without it, the defaults of all models are listed.", show_default=False),
    ] = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """List the settings of a training: default, range and meaning.

    Set them with --set KEY=VALUE, or in a file for `kptool train --config`.
    """
    from kptool import plugins

    rows = _rows((model,) if model is not None else plugins.names("models"))
    if json:
        emit_json({"model": model, "settings": rows})
        return
    from rich.table import Column, Table

    table = Table(*_HEAD[:2], *(Column(head, overflow="fold") for head in _HEAD[2:]), box=None)
    for cells in _overview(rows):
        table.add_row(*cells)
    parts: list[str | Table] = [table]
    if model is None:
        names, differing = _by_model(rows)
        defaults = Table("key", *names, title="Defaults that differ between models", box=None)
        for cells in differing:
            defaults.add_row(*cells)
        parts += ["", defaults]
    emit(*parts)


def markdown() -> str:
    """The page of the documentation."""
    from kptool import plugins

    rows = _rows(plugins.names("models"))
    names, differing = _by_model(rows)
    return "\n".join(
        [
            "# Settings",
            "",
            "Set any of these with `--set KEY=VALUE`, or in a file for `kptool train --config`; `kptool settings MODEL` lists"
            " them with the defaults of that model.",
            "",
            *_markdown_table(_HEAD, _overview(rows)),
            "",
            "## Defaults that differ between models",
            "",
            *_markdown_table(("key", *names), differing),
            "",
        ]
    )


def _rows(models: Sequence[str]) -> list[_Row]:
    """Every setting, with the defaults of `models`. Raises ConfigError for a model that does not exist."""
    from kptool import plugins
    from kptool.base.config import RECIPES, known_settings

    loaded = {name: plugins.load_model(name) for name in models}
    recipes = {name: {**RECIPES.get(name, {}), **plugins.defaults(name)} for name, each in loaded.items()}
    coordinates = {name for name, each in loaded.items() if each.output == "coordinates"}
    outputs = {each.output for each in loaded.values()}
    losses = [name for name in plugins.names("losses") if plugins.load_loss(name).output in outputs]
    names = {"losses": losses, "decoders": plugins.names("decoders")}
    rows = []
    for key, known in known_settings().items():
        defaults = {
            name: None if key in _HEATMAPS_ONLY and name in coordinates else known.kind(recipe.get(key, known.default))
            for name, recipe in recipes.items()
        }
        setting = known.setting
        limits = (
            ", ".join(names[setting.plugins])
            if setting.plugins
            else "on or off"
            if known.kind is bool
            else setting.range()
        )
        rows.append(_Row(key, known.kind.__name__, defaults, limits, setting.meaning))
    return rows


def _overview(rows: Iterable[_Row]) -> list[tuple[str, ...]]:
    return [(row.key, _default(row), row.range, row.meaning) for row in rows]


def _default(row: _Row) -> str:
    """The default of all models; those that differ are listed by model."""
    used = [value for value in row.defaults.values() if value is not None]
    return _DIFFER if row.differs else _text(used[0] if used else None)


def _by_model(rows: Sequence[_Row]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The models' names, and a row for each setting whose defaults differ."""
    names = list(rows[0].defaults)
    return names, [(row.key, *map(_text, row.defaults.values())) for row in rows if row.differs]


def _text(value: Any) -> str:
    """A value as --set takes it; "-" for a setting that the model does not use."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *([f"`{row[0]}`", *row[1:]] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]
