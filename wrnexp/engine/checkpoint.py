"""Checkpoints: all that resuming needs, written beside and renamed, loaded with `weights_only=True`."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from wrnexp.errors import UserError

State = Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run's folder."""

    def __init__(self, folder: Path) -> None:
        self.last = folder / "last.pt"
        self.best = folder / "best.pt"

    def save(self, state: State, *, best: bool) -> None:
        """Write `last.pt`, and `best.pt` as the same file's second name where this is the best so far."""
        self.last.parent.mkdir(parents=True, exist_ok=True)
        beside = self.last.with_suffix(".writing")
        with beside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if best:
            _link(beside, self.best)
        beside.replace(self.last)

    def load(self) -> dict[str, Any] | None:
        """Return the last state, on the CPU, or None where there is none.

        Raises:
            UserError: the file cannot be read; nothing is overwritten.
        """
        if not self.last.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.last, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise UserError(
                f"{self.last} cannot be read ({str(error).splitlines()[0]}); move it away to train from the start, "
                "or use rerun=true"
            ) from error
        return state


def _link(source: Path, target: Path) -> None:
    """Give `source` a second name, atomically; a copy where the file system has no hard links."""
    beside = target.with_suffix(".writing2")
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(source)
    except OSError:
        beside.write_bytes(source.read_bytes())
    beside.replace(target)
