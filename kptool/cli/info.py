"""``kptool info``: describe a cache, a model, or the installation."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.cli.options import Json, Plugin
from kptool.cli.output import emit, emit_json

if TYPE_CHECKING:
    from rich.table import Table

_NAMES = 14
"""Width of the first column, so that the sections line up."""


def info(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[CACHE|MODEL]",
            show_default=False,
            help="A dataset.h5 or a model.",
        ),
    ] = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Describe a cache, a model, or the installation.

    Without an argument: versions, devices, threads, and the available models, losses, decoders, dataset formats and
    loggers, with the plugins among them and where they come from.
    """
    is_cache = what is not None and what.endswith((".h5", ".hdf5"))
    facts = _installation() if what is None else _cache(Path(what)) if is_cache else _model(what)
    if json:
        emit_json(facts)
        return
    if what is None:
        lines = ((key, ", ".join(value) if isinstance(value, list) else str(value)) for key, value in facts.items())
        emit(_lines(lines))
        return
    from kptool.report import describe

    sections = describe.of_cache(facts) if is_cache else describe.of_model(facts)
    for title, about in sections.items():
        emit(title, _lines(about))
    emit("--json prints every value")


def _lines(lines: Iterable[tuple[str, str]]) -> Table:
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(min_width=_NAMES, no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def _installation() -> dict[str, Any]:
    from kptool import plugins
    from kptool.base.version import __version__

    return {
        "kptool": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "numpy", "h5py", "pandas", "typer", "pillow", "onnxruntime")},
        "processors": os.cpu_count(),
        **_torch(),
        **{kind: list(plugins.names(kind)) for kind in ("models", "losses", "decoders", "datasets", "loggers")},
        "plugins": [str(offer) for offer in plugins.offers()],
    }


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _torch() -> dict[str, Any]:
    """Torch's threads and GPUs. Torch may be missing, since prediction does not need it."""
    try:
        import torch
    except ImportError:
        return {"threads": None, "gpus": []}
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"threads": torch.get_num_threads(), "gpus": gpus}


def _cache(path: Path) -> dict[str, Any]:
    from kptool.cache.store import Cache

    with Cache(path) as cache:
        splits = {split: len(cache.index(split)) for split in ("train", "val")}
        about = dataclasses.asdict(cache.info)
        about["val_share"] = about.pop("val")  # the requested share; "val" is the number of images
        scenes = {"scenes": cache.scenes} if cache.scenes else {}
        return {"cache": str(path), "images": len(cache), **splits, **about, **scenes}


def _model(model: str) -> dict[str, Any]:
    from kptool.base.config import to_dict
    from kptool.network import cards, provenance
    from kptool.network.finder_config import finder_beside
    from kptool.predict import finding

    path, origin = cards.resolve(model, measuring=True)
    card = cards.read_card(path)
    own = finder_beside(path)
    finder = {"finder": dataclasses.asdict(finding.settings(own))} if own.is_file() else {}
    data = {key: value for key, value in card.data.items() if key != "val_rows"}
    return {
        "weights": str(path),
        "origin": origin,
        **to_dict(card.config),
        "training": card.training,
        "data": data,
        "metrics": card.metrics,
        "labels": card.shift.describe(),
        **({"plugins": provenance.describe(card)} if card.plugins else {}),
        **finder,
    }
