"""Where the plugins of a model come from: remembered in its weights, and checked before these are loaded.

A weights file is not trusted: what it says about plugins is only ever shown, never imported or installed.
"""

from __future__ import annotations

import logging
import re
import shlex
from pathlib import Path
from typing import Any

from kptool import plugins
from kptool.base.config import ModelConfig
from kptool.base.errors import CheckpointError
from kptool.base.extensions import singular
from kptool.network.cards import Card

log = logging.getLogger(__name__)

_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)


def of(config: ModelConfig) -> dict[str, dict[str, str]]:
    """The origins of a configuration's model, loss and decoder, by kind, as `Card.plugins` holds them."""
    return plugins.origins(models=config.model, losses=config.loss, decoders=config.decoder)


def check(path: Path, card: Card) -> None:
    """Check that the plugins which the weights at `path` were trained with are here; warn where they are other ones.

    Raises CheckpointError, saying what to install or which file to give, where one is missing.
    """
    names = {"models": card.config.model, "losses": card.config.loss, "decoders": card.config.decoder}
    now = of(card.config)
    for kind, name in names.items():
        what = f"the {singular(kind)} {name[:80]!r}"
        then = card.plugins.get(kind)
        if not isinstance(then, dict):
            continue
        if name not in plugins.names(kind):  # type: ignore[arg-type]
            raise CheckpointError(f"{path} needs {what} of {_words(then)}; {_remedy(then)}")
        here = now.get(kind)
        if here is None or any(then.get(key) != value for key, value in here.items()):
            log.warning("%s was trained with %s of %s; here it is of %s", path, what, _words(then), _words(here))


def describe(card: Card) -> list[str]:
    """The plugins from outside kptool that a model needs, in words."""
    found = ((singular(kind), then) for kind, then in card.plugins.items() if isinstance(then, dict))
    return [f"{kind[:20]} {_short(then.get('name'))} of {_words(then)}" for kind, then in found]


def _words(origin: dict[str, Any] | None) -> str:
    if origin is None:
        return "kptool itself"
    if "distribution" in origin:
        return f"{_short(origin['distribution'])} {_short(origin.get('version'))}"
    return f"the file {_short(origin.get('file'))} (sha256 {_short(origin.get('sha256'))[:12]})"


def _remedy(origin: dict[str, Any]) -> str:
    name, file = origin.get("distribution"), _short(origin.get("file"))
    if isinstance(name, str) and _DISTRIBUTION.fullmatch(name):
        return f"it is not installed here; if you trust it: pip install {name}"
    if name is None and Path(file).name == file:
        return f"give that file, if you trust it: --plugin {shlex.quote(file)}"
    return "get it from the author of the weights"


def _short(text: Any) -> str:
    return " ".join(str(text).split())[:80]
