"""How ONNX Runtime runs graphs on the CPU."""

from __future__ import annotations

from typing import Any


def options(threads: int) -> Any:
    """Options of a session. threads: 0 for one per core. Errors that are raised are not printed as well.

    Threads that wait for the rest of an operation do so in a loop, as small networks have many, of microseconds each; between
    runs they sleep.
    """
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.log_severity_level = 3
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "1")
    chosen.add_session_config_entry("session.force_spinning_stop", "1")
    return chosen
