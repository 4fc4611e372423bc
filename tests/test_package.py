"""Importing kptool."""

from __future__ import annotations

import subprocess
import sys


def test_a_free_threaded_python_is_refused_in_one_sentence() -> None:
    """Simulated: only this build variable distinguishes a free-threaded build."""
    program = "import sysconfig; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1; import kptool"
    ran = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert ran.stderr.splitlines()[-1] == (
        "ImportError: kptool needs Python's global interpreter lock, and this is a free-threaded build; "
        f"install kptool for the ordinary build of Python {version}"
    )
