"""The installed version of kptool."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kptool")
except PackageNotFoundError:  # running from a source tree that is not installed
    __version__ = "0+unknown"
