"""The name of the distribution, and its installed version.

The version is read when it is first asked for: importing importlib.metadata takes a while.
"""

from __future__ import annotations

from functools import cache

DISTRIBUTION = "keypoint-toolkit"
"""The name on the package index, where kptool is another project; the import and the command are called kptool."""

__version__: str


def install(extra: str) -> str:
    """The command that installs an extra, such as "video"."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


@cache
def _installed() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # running from a source tree that is not installed
        return "0+unknown"


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _installed()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
