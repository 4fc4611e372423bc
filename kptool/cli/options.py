"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from kptool.api.arguments import overrides
from kptool.cli.defaults import from_line

Json = Annotated[bool, typer.Option("--json", help="Print a single JSON document on stdout.")]
Device = Annotated[
    str, typer.Option(envvar="KPTOOL_DEVICE", help="auto (a GPU if available), cpu, cuda, cuda:1, mps or xpu.")
]
CachePath = Annotated[
    Path, typer.Argument(metavar="CACHE", envvar="KPTOOL_CACHE", help="A dataset.h5 written by `kptool extract`.")
]
ModelName = Annotated[
    str, typer.Option("--model", envvar="KPTOOL_MODEL", help="A name, a run folder, or a model.safetensors.")
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the pictures labelled by SOURCE; default: SOURCE's folder or its subfolder images.",
        show_default=False,
    ),
]
Category = Annotated[
    str | None, typer.Option(help="The category to read, if SOURCE labels several.", show_default=False)
]
AsLabelled = Annotated[
    bool,
    typer.Option(
        "--as-labelled", help="Predict where the training data's labels would be, instead of where the features are."
    ),
]


def _use_plugins(files: list[Path] | None) -> None:
    """Make the plugins of --plugin available, before other arguments are looked at."""
    if files:
        from kptool import plugins

        for file in files:
            plugins.use(file)


Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        callback=_use_plugins,
        is_eager=True,
        help="A Python file with your own model, loss, decoder, format or logger; its code runs; repeatable.",
    ),
]
Seed = Annotated[int, typer.Option(envvar="KPTOOL_SEED", help="Random seed.")]


def ranked(
    context: typer.Context, recipe: Mapping[str, object], settings: list[str], **named: object
) -> dict[str, object]:
    """The settings of a `recipe` given with --config, and those of --set and other options, which win.

    A recipe named on the command line wins over options that come from the environment or from kptool.toml.
    """
    if not from_line(context, "config"):
        return {**recipe, **overrides(settings, **named)}
    on_line = {name for name in (*named, "settings") if from_line(context, name)}
    line = overrides(settings if "settings" in on_line else [], **{k: v for k, v in named.items() if k in on_line})
    return {**overrides(settings, **named), **recipe, **line}
