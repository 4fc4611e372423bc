"""The installed version of kptool, read when it is first asked for: importing importlib.metadata takes a while."""

from __future__ import annotations

from functools import cache

__version__: str


@cache
def _installed() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kptool")
    except PackageNotFoundError:  # running from a source tree that is not installed
        return "0+unknown"


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _installed()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
