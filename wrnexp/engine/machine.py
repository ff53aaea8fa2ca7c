"""What a run settled for its machine, kept when it resumes: results depend on it, run ids do not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from wrnexp.runs.provenance import usable_cores

# By key of the trainer: the value that leaves the choice to the machine, and whether the choice holds on other kinds of
# device too.
CHOICES = {
    "precision": ("auto", True),
    "channels_last": (None, True),
    "compile": (None, False),
    "cuda_graphs": (None, False),
}


def settled_before(trainer: Mapping[str, Any], device_type: str, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trainer's keys that a resumed run sets to what its earlier process has settled.

    Args:
        trainer: the config's group.
        device_type: of this process.
        earlier: the program before this one, as `provenance.Programs` has it, with its `device_type`; empty for none.
    """
    same_device = earlier.get("device_type") == device_type
    return {
        key: earlier[key]
        for key, (automatic, everywhere) in CHOICES.items()
        if key in earlier and trainer.get(key, automatic) == automatic and (everywhere or same_device)
    }


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads in the block; as many as without it where the machine has fewer cores.

    Sums over more threads round otherwise.
    """
    before = torch.get_num_threads()
    if count is None or count > max(usable_cores(), before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
