"""kptool as a command that ends with the process that began it, however that ends: ``python -m kptool.label.child train ...``.

Its standard input is a pipe that the other process holds open, and to which nothing is written.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading

_STANDARD_INPUT = 0


def _end_with_parent() -> None:
    while os.read(_STANDARD_INPUT, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # not raise_signal, which would interrupt this thread alone


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module("kptool", run_name="__main__")
