"""What torchrun says to each process that it starts. Without torch: `run.py` asks before torch is imported."""

import os
from dataclasses import dataclass

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class ProcessRank:
    """A process's place among those that share one run.

    Attributes:
        rank: among all, from 0.
        count: of all.
        local: among those of this machine, from 0.
        local_count: of this machine.
    """

    rank: int
    count: int
    local: int
    local_count: int


def process_rank() -> ProcessRank | None:
    """Return the place that torchrun gave this process; None where it did not start it, or started it alone.

    Some launchers set a part of these variables for what they start; all of them are torchrun's way, or that of
    something that means the same.
    """
    if not all(os.environ.get(name) for name in VARIABLES):
        return None
    rank, count, local, local_count = (int(os.environ[name]) for name in VARIABLES[:4])
    return None if count == 1 else ProcessRank(rank, count, local, local_count)
