"""``kptool recommend``: recommend a model and training settings for a cache, as a table and as a file for ``train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE
from kptool.cli.options import CachePath, Device, Json, Plugin
from kptool.cli.output import emit, emit_json

if TYPE_CHECKING:
    from kptool.advise.recommend import Recipe


def recommend(
    cache: CachePath = DEFAULT_CACHE,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write a TOML file for `kptool train --config FILE`.", show_default=False),
    ] = None,
    device: Device = "auto",
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Recommend a model and its settings for a cache.

    Each setting comes with a reason. The device's speed and memory are taken into account.
    """
    from kptool.advise import recommend as recommending
    from kptool.base import recipes
    from kptool.cache.store import Cache
    from kptool.system import devices
    from kptool.system.files import write_text

    place = devices.pick(device)
    with Cache(cache) as opened:
        recipe = recommending.recommend(opened, place)
    if out is not None:
        values = {"model": recipe.model, **recipe.settings}
        write_text(out, recipes.write(((k, s.value, s.why) for k, s in values.items()), _remarks(recipe)))
    if json:
        emit_json(
            {
                "model": recipe.model.value,
                "why": recipe.model.why,
                "size": recipe.size,
                "settings": recipe.settings,
                "seconds": recipe.seconds,
                "advice": recipe.advice,
                "config": out,
            }
        )
        return
    _print(recipe, cache, out)


def _print(recipe: Recipe, cache: Path, out: Path | None) -> None:
    from rich.table import Column, Table

    table = Table("setting", "value", Column("why", overflow="fold"), box=None)
    for key, setting in {"model": recipe.model, "size": recipe.size, **recipe.settings}.items():
        table.add_row(key, str(setting.value), setting.why)
    options = "" if cache == DEFAULT_CACHE else f" {cache}"
    last = (
        f"wrote {out}; train with `kptool train --config {out}{options}`"
        if out
        else "add --out recipe.toml to save this for `kptool train --config recipe.toml`"
    )
    emit(table, *_remarks(recipe)[2:], last)


def _remarks(recipe: Recipe) -> list[str]:
    """Remarks for the recipe file's header: its use, the image size, the expected training time, and advice."""
    lines = ["A recipe for `kptool train --config`: keys are those of --set; options on the command line win."]
    lines.append(f"size {recipe.size.value}: {recipe.size.why}")
    if recipe.seconds is not None:
        lines.append(f"training takes about {_duration(recipe.seconds)} on this machine, measured over a few steps")
    return [*lines, *recipe.advice]


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, round(seconds))} seconds"
