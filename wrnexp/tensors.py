"""Batches and their tensors: how an epoch divides into batches, copies to a device, states of random generators."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

CPU = torch.device("cpu")


def step_plan(images: int, batch_size: int, accumulate: int = 1, *, drop_last: bool = False) -> list[tuple[int, ...]]:
    """Return the sizes of the micro-batches of every optimizer step of one epoch.

    A full step takes `batch_size * accumulate` images. With `drop_last` the epoch is a whole number of full steps and
    the images left over wait for the next shuffle. Without it the last step takes what is left, in micro-batches of
    `batch_size` and a smaller last one.

    Args:
        images: images in the training set.
        batch_size: images in a micro-batch, at least 1.
        accumulate: micro-batches per step, at least 1.
        drop_last: leave out the step that is not full.

    Returns:
        One tuple per step, for instance `[(4, 4), (4, 1)]` for 13 images, batch size 4, accumulate 2. Empty where
        `drop_last` leaves nothing.
    """
    full, remaining = divmod(images, batch_size * accumulate)
    steps = [(batch_size,) * accumulate] * full
    if remaining and not drop_last:
        whole, rest = divmod(remaining, batch_size)
        steps.append((batch_size,) * whole + ((rest,) if rest else ()))
    return steps


def share(size: int, rank: int = 0, count: int = 1) -> slice:
    """Return the images of a micro-batch that process `rank` of `count` takes: even shares, in order.

    Shares differ by one image at most; where `size` is less than `count` some are empty.

    Args:
        size: images in the micro-batch.
        rank: of the process, from 0.
        count: processes.
    """
    return slice(size * rank // count, size * (rank + 1) // count)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return `tensor` on `device`.

    To a CUDA device it goes by way of page-locked memory and the host does not wait. Elsewhere the host waits: on mps a
    copy that is not waited for may read memory that was freed since (pytorch issue 139550).
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def rng_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators of the CPU and of `device`, uint8 each."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_rng_states(device: torch.device, states: Mapping[str, Tensor]) -> None:
    """Set torch's global generators to what `rng_states` returned, on this or another kind of device."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextmanager
def preserve_rng_state(device: torch.device = CPU) -> Iterator[None]:
    """Restore the global generators of torch (of the CPU and of `device`), numpy and Python at the end of the block."""
    torch_states, numpy_state, python_state = rng_states(device), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        restore_rng_states(device, torch_states)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
