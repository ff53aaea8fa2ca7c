"""A run that its user interrupts in the middle of its second epoch."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wrnexp.tracking import Journal


@contextmanager
def interrupting() -> Iterator[None]:
    """Interrupt a run of the block after two steps of its second epoch."""

    def stop(journal: Journal, epoch: int, step: int) -> None:
        if (epoch, step) == (1, 2):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "on_step", stop)
        yield
