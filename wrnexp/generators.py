"""The global random number generators: their states, and work that leaves them as they were."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators of the CPU and of `device`, uint8 each."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_generators(device: torch.device, states: Mapping[str, Tensor]) -> None:
    """Set torch's global generators to what `generator_states` returned, on this or another kind of device."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


CPU = torch.device("cpu")


@contextmanager
def preserve_generators(device: torch.device = CPU) -> Iterator[None]:
    """Restore the global generators of torch (of the CPU and of `device`), numpy and Python at the end of the block."""
    torch_states, numpy_state, python_state = generator_states(device), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        restore_generators(device, torch_states)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
