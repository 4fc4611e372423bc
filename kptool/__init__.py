"""kptool detects keypoints in images with convolutional networks.

Importing it is fast: torch is imported when a model is first used.
"""

from __future__ import annotations

import sys
import sysconfig
from typing import TYPE_CHECKING, Any

from kptool.base.errors import CacheError, CheckpointError, ConfigError, DataError, KptoolError

if TYPE_CHECKING:
    from kptool.base.version import __version__
    from kptool.predict.predictor import Predictor

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise ImportError(
        "kptool needs Python's global interpreter lock, and this is a free-threaded build; "
        f"install kptool for the ordinary build of Python {sys.version_info.major}.{sys.version_info.minor}"
    )

__all__ = ["CacheError", "CheckpointError", "ConfigError", "DataError", "KptoolError", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from kptool.predict.predictor import Predictor

        return Predictor
    if name == "__version__":
        from kptool.base.version import __version__

        return __version__
    raise AttributeError(f"module 'kptool' has no attribute {name!r}")
