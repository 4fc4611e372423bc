"""How torch's threads wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, ""),
    ],
)
def test_threads_wait_asleep_unless_the_environment_says_otherwise(given: dict[str, str], expected: str) -> None:
    """The library reads the C environment, which only a program started from here shows."""
    rest = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import kptool, os; os.system('echo =$GOMP_SPINCOUNT')"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**rest, **given}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == f"={expected}"
