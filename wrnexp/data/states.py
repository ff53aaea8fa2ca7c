"""The global random states of a process, put back after work that may draw from them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Put back, at the end, the global states of torch (on the CPU), numpy and Python's `random`.

    The augmentations of wrnexp draw from none of them; those of others may.
    """
    generator = torch.default_generator
    torchs, numpys, pythons = generator.get_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        generator.set_state(torchs)
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)
