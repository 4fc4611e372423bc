"""kptool detects keypoints in images with convolutional networks.

Importing it is fast: torch is imported when a model is first used.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

from kptool.base.errors import CacheError, CheckpointError, ConfigError, DataError, KptoolError
from kptool.system.processors import wait_asleep

if TYPE_CHECKING:
    from kptool.api.doctor import doctor
    from kptool.api.evaluate import evaluate
    from kptool.api.export import export
    from kptool.api.extract import extract
    from kptool.api.train import train
    from kptool.base.version import __version__
    from kptool.predict.predictor import Predictor

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise ImportError(
        "kptool needs Python's global interpreter lock, and this is a free-threaded build; "
        f"install kptool for the ordinary build of Python {sys.version_info.major}.{sys.version_info.minor}"
    )
wait_asleep()  # which torch's library reads when it is loaded

__all__ = [
    "CacheError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "KptoolError",
    "Predictor",
    "__version__",
    "doctor",
    "evaluate",
    "export",
    "extract",
    "train",
]
_LAZY = {
    "Predictor": "kptool.predict.predictor",
    "__version__": "kptool.base.version",
    **{name: f"kptool.api.{name}" for name in ("doctor", "evaluate", "export", "extract", "train")},
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'kptool' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
