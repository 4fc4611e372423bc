"""Processes started by `srun` find each other through Slurm's variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import collage

from kptool.system import slurm

STEP = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "2",
}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-05,9],login", "gpu03"),
        ("node7", "node7"),
        ("a1,a2", "a1"),
        ("rack[1-2]n[10-12]", "rack1n10"),
        ("", ""),
    ],
)
def test_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert slurm.first_host(nodes) == first


def test_a_step_of_srun_becomes_a_process_group() -> None:
    found = {**STEP, "SLURM_STEP_NODELIST": "gpu[03-05]"}
    slurm.adopt(found)
    assert {name: found[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")} == {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03",
    }
    assert 15_000 <= int(found["MASTER_PORT"]) < 30_000


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"},  # the batch script, which runs once
        {**STEP, "SLURM_STEP_NUM_TASKS": "1"},
        {**STEP, "WORLD_SIZE": "2", "RANK": "1"},  # torchrun, under srun
    ],
)
def test_other_processes_keep_their_environment(environment: dict[str, str]) -> None:
    found = dict(environment)
    slurm.adopt(found)
    assert found == environment


@pytest.mark.long
def test_two_tasks_of_srun_share_the_work(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        collage(80, 60, [(number % 7, 3, 48.0)])[0].save(folder / f"{number}.png")
    command = [sys.executable, "-m", "kptool", "predict", str(folder), "--json"]
    started = []
    for rank in ("0", "1"):
        step = {**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
        step |= {"MASTER_ADDR": "127.0.0.1", "SLURM_JOB_ID": str(os.getpid())}
        started.append(
            subprocess.Popen(
                command, cwd=tempfile.gettempdir(), env={**os.environ, **step}, stdout=subprocess.PIPE, text=True
            )
        )
    first, second = (process.communicate(timeout=120)[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert len(json.loads(first)["images"]) == 4
    assert second == ""
