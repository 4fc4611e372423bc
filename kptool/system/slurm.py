"""Rank, world size and rendezvous address from Slurm's variables, if `srun` started the processes instead of torchrun.

Only a step that `srun` launched has SLURM_STEP_NUM_TASKS; the batch script itself, which runs once, does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping

_FIRST_PORT, _PORTS = 15_000, 15_000


def adopt(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) from those of an `srun` step.

    Nothing changes if torchrun has set them already or if there is only one process. MASTER_ADDR and MASTER_PORT set
    by the user are kept.
    """
    world, rank = environment.get("SLURM_STEP_NUM_TASKS", "1"), environment.get("SLURM_PROCID")
    if "WORLD_SIZE" in environment or not world.isdigit() or int(world) < 2 or rank is None:
        return
    environment.update({"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": environment.get("SLURM_LOCALID", "0")})
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", ""))
    environment.setdefault("MASTER_ADDR", first_host(nodes) or "127.0.0.1")
    job = [environment.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    number = sum(int(part) * factor for part, factor in zip(job, (7, 1), strict=True) if part.isdigit())
    environment.setdefault("MASTER_PORT", str(_FIRST_PORT + number % _PORTS))


def local_world(environment: MutableMapping[str, str] = os.environ) -> int:
    """The number of processes on this machine that torchrun or an `srun` step started; at least 1."""
    stated = environment.get("LOCAL_WORLD_SIZE")
    if stated is None and environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        stated = environment.get("SLURM_STEP_TASKS_PER_NODE", "1")
    match = re.match(r"\d+", stated or "1")  # Slurm writes 4(x2),3: the first node's is close enough to all
    return max(1, int(match[0])) if match else 1


def first_host(nodes: str) -> str:
    """The first host of Slurm's compressed list: "gpu[03-05,9],login" -> "gpu03"; "" for an empty list."""
    plain = re.sub(r"\[(\d+)[^\]]*\]", r"\1", nodes)
    return plain.partition(",")[0].strip()
