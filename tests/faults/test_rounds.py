"""Short rounds of the programs in `tests/faults`: killed, on a failing disk, two at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.faults
FAULTS = Path(__file__).parent


def report(command: str, *arguments: str) -> Any:
    """The report of a program in `tests/faults`, which must have found nothing wrong."""
    ran = subprocess.run(
        [sys.executable, FAULTS / f"{command}.py", *arguments], capture_output=True, text=True, check=False, timeout=280
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def test_stopped_at_random_moments_nothing_is_lost() -> None:
    done = report("kill", "extract", "train", "--times", "3", "--seed", "1")
    assert all(work["times"] == 3 for work in done.values())


@pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="needs cc and LD_PRELOAD")
def test_on_a_failing_disk_nothing_is_lost() -> None:
    done = report("disk", "extract", "read-only", "--times", "4", "--seed", "1")
    assert sum(done["extract"]["exit codes"].values()) == 4
    assert done["extract"]["exit codes"]["2"] >= 3
    assert done["read-only"]["exit codes"] == {"2": 5}


def test_two_at_once_are_never_mixed() -> None:
    done = report("together", "extract-extract", "train-train", "--times", "1")
    assert all(sum(work["exit codes"].values()) == 2 for work in done.values())
