"""Plugins from outside the package: those that installed distributions offer as entry points, and files that the user names.

Finding one reads metadata or parses a file; its code runs when it is loaded, and only the user's own commands load it: a
weights file names what it needs, and is never a reason to import it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kptool.base.errors import ConfigError

_PREFIX = "kptool."
MAX_BYTES = 1 << 20
"""The largest plugin file that is read."""


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: `name` and `version` of a distribution, or a file's name and SHA-256 as `version`; `path`
    is that file's."""

    name: str
    version: str
    path: Path | None = None

    def describe(self) -> dict[str, str]:
        """As weights store it."""
        keys = ("distribution", "version") if self.path is None else ("file", "sha256")
        return dict(zip(keys, (self.name, self.version), strict=True))

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.path is None else str(self.path)


@dataclass(frozen=True)
class Offer:
    """A plugin of a kind, such as "models", that is offered but not imported yet.

    `load` runs its code, and returns the plugin or the module that holds it; it raises whatever that code raises.
    """

    kind: str
    name: str
    origin: Origin
    load: Callable[[], Any]

    def __str__(self) -> str:
        return f"{singular(self.kind)} {self.name} of {self.origin}"


def singular(kind: str) -> str:
    """The name of one plugin of a kind: "loss" of "losses"."""
    return kind.removesuffix("es") if kind == "losses" else kind.removesuffix("s")


@functools.cache
def installed() -> tuple[Offer, ...]:
    """What the installed distributions offer in the groups ``kptool.models``, ``kptool.losses`` and so on, sorted."""
    import importlib.metadata  # imports the email package, and much else

    offers: dict[str, list[Offer]] = {}
    for distribution in importlib.metadata.distributions():
        points = [point for point in distribution.entry_points if point.group.startswith(_PREFIX)]
        if not points or distribution.name in offers:  # one further down sys.path is not imported from
            continue
        origin = Origin(distribution.name, distribution.version)
        offers[distribution.name] = [
            Offer(point.group.removeprefix(_PREFIX), point.name.replace("_", "-"), origin, point.load)
            for point in points
        ]
    every = (offer for each in offers.values() for offer in each)
    return tuple(sorted(every, key=lambda offer: (offer.kind, offer.name, offer.origin.name)))


def in_file(path: Path, constants: Mapping[str, str]) -> tuple[Offer, ...]:
    """What a plugin file offers, by the names that it assigns; `constants` are kinds by name, such as "MODEL".

    The file is read once, parsed, and run by the first `load`. Raises ConfigError where it cannot be read, is not Python, or
    assigns none of the names.
    """
    try:
        with path.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
        if len(source) > MAX_BYTES:
            raise ConfigError(f"the plugin {path} is larger than {MAX_BYTES} bytes; move its data to other files")
        tree = ast.parse(source, str(path))
    except OSError as error:
        raise ConfigError(f"the plugin {path} cannot be read: {error.strerror or error}") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ConfigError(
            f"the plugin {path}{line} is not Python: {getattr(error, 'msg', error)}; correct it"
        ) from error
    assigned = _assigned(tree)
    kinds = [kind for constant, kind in constants.items() if constant in assigned]
    if not kinds:
        raise ConfigError(f"the plugin {path} assigns none of {', '.join(constants)}; see `kptool plugin new --help`")
    origin = Origin(path.name, hashlib.sha256(source).hexdigest(), path)
    load = functools.cache(functools.partial(_run, source, path))
    return tuple(Offer(kind, path.stem.replace("_", "-"), origin, load) for kind in kinds)


def _assigned(tree: ast.Module) -> set[str]:
    """The names that a module assigns or imports at its top level."""
    names: set[str] = set()
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def _run(source: bytes, path: Path) -> types.ModuleType:
    """The module of a plugin file's source, which is exactly what was hashed."""
    module = types.ModuleType(f"kptool_plugin_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle find a class by its module's name
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module
