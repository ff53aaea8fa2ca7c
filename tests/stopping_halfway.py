"""A run that its user interrupts in the middle of an epoch."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wrnexp.runs.journal import Journal


@contextmanager
def interrupting(epoch: int = 1, step: int = 2) -> Iterator[None]:
    """Interrupt a run of the block after `step` steps of its epoch `epoch`, which counts from 0."""

    def stop(journal: Journal, *reached: int) -> None:
        if reached == (epoch, step):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "on_step", stop)
        yield
