"""What a process that shares a run may do: end in one way or another."""

import os
import signal
import time
from pathlib import Path

import torch

from wrnexp.errors import DivergedError, TrainingError, UserError


def end(how: str, folder: str) -> None:
    second = os.environ["RANK"] == "1"
    if how == "well":
        Path(folder, os.environ["RANK"]).write_text(f"{torch.get_num_threads()} {os.environ['WORLD_SIZE']}")
        return
    if second and how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if second and how == "mistaken":
        raise UserError("a wrong value that only this process sees")
    if second and how == "failed":
        raise TrainingError("the loss is nan")
    if second and how == "diverged":
        raise DivergedError("the training loss is nan in epoch 2", {"step": 5, "loss": None})
    if second and how == "crashed":
        raise ZeroDivisionError("a mistake in the program")
    time.sleep(60)
