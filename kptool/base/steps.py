"""How a training step is run: the setting ``step``."""

from __future__ import annotations

from kptool.base.settings import Setting

PLAIN, RECORD, COMPILE = "plain", "record", "compile"
STEP = Setting(
    "how a step is run; plain: operation by operation; record: recorded as a CUDA graph, and replayed; compile: by"
    " torch.compile, which compiles the network first, and recorded on CUDA",
    choices=(PLAIN, RECORD, COMPILE),
)
