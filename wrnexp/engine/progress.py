"""An epoch under way: how far it is, and what a process needs to resume in the middle of it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch

from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.meters import Meters, StepCheck, TimedIterator, timer
from wrnexp.engine.step import Batch
from wrnexp.tensors import restore_rng_states, rng_states

State = Mapping[str, Any]


class Progress:
    """The completed steps of one epoch, their sums, and the state of the generators that dropout draws from.

    Args:
        epoch: counted from 0.
        device: that steps are computed on.
        resumed: what `state_dict` returned in an earlier process; None at an epoch's start.
        ranks: the processes that share the run.
        check: of each step; None applies all.

    Attributes:
        steps: completed so far.
        whole: it has started and no step is under way, so that its state can be saved.
        meters: the sums so far.
    """

    def __init__(
        self,
        epoch: int,
        device: torch.device,
        resumed: State | None = None,
        ranks: Ranks | None = None,
        check: StepCheck | None = None,
    ) -> None:
        self._ranks, self._check = ranks or Ranks(), check
        self.epoch, self._device, self._resumed = epoch, device, resumed
        self.steps, self.whole = 0, False
        self.meters = Meters(device, self._ranks, check)
        self._seconds = self._waited = 0.0
        self._clock = timer(device)
        self._start: float | None = None
        self._end: float | None = None
        if resumed is not None:
            self.steps, self._seconds, self._waited = resumed["steps"], resumed["seconds"], resumed["waited"]
            self.meters.load_state_dict(self._meters_of_rank(resumed))

    def from_start(self) -> "Progress":
        """Return the progress of the same epoch before its first step, with the seconds that it has taken so far."""
        progress = Progress(self.epoch, self._device, ranks=self._ranks, check=self._check)
        progress._seconds, progress._waited = self.seconds, self.waited
        return progress

    def open(self, open_epoch: Callable[[], Iterator[Batch]], read: int) -> Iterator[Batch]:
        """Return the epoch's batches that are left: those after the first `read`.

        Those are loaded and dropped: what a loader draws depends on the position in the epoch, so it costs time alone,
        a second or so, and every loader can do it.
        """
        batches = open_epoch()
        next(islice(batches, read, read), None)
        if self._resumed is not None:
            self._restore_generators(self._resumed)
        return batches

    def start(self, open_batches: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
        """Start the clocks, then open the batches; waiting for them counts as waiting for data."""
        self._start = time.perf_counter()
        with self._clock:  # worker processes may start here
            batches = open_batches()
        self.whole = True
        return TimedIterator(batches, self._clock)

    @contextmanager
    def a_step(self) -> Iterator[None]:
        """Count the block as a completed step, once it is left without an error."""
        self.whole = False
        yield
        self.steps, self.whole = self.steps + 1, True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the block out of the epoch's seconds."""
        start = time.perf_counter()
        yield
        self._seconds -= time.perf_counter() - start

    def end(self) -> float:
        """Stop the clocks; return the seconds that the epoch took, in all processes."""
        self._end = time.perf_counter()
        return self.seconds

    @property
    def seconds(self) -> float:
        """The seconds that the epoch has taken so far, in all processes."""
        running = 0.0 if self._start is None else (self._end or time.perf_counter()) - self._start
        return self._seconds + running

    @property
    def waited(self) -> float:
        """Those of them spent waiting for data; on a GPU only after it has done all its work."""
        return self._waited + self._clock.seconds

    def state_dict(self) -> dict[str, Any]:
        """Return what other processes need to resume after the completed steps; waits for the device."""
        state = {"meters": self.meters.state_dict(), "random": rng_states(self._device)}
        first, *rest = self._ranks.all_gather(state)
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "seconds": self.seconds,
            "waited": self.waited,
            **first,
            "others": rest,  # of the processes after the first
        }

    def _state_of_rank(self, resumed: State) -> State | None:
        """Return what a process of this rank saved; None where a run resumes in another number of processes."""
        every = [resumed, *resumed.get("others", [])]
        state: State | None = every[self._ranks.rank] if len(every) == self._ranks.count else None
        return state

    def _meters_of_rank(self, resumed: State) -> State:
        """Return the sums that this process resumes from: its own, or those of all where it is the first."""
        if (state := self._state_of_rank(resumed)) is not None:
            return state["meters"]  # type: ignore[no-any-return]
        meters = dict(resumed["meters"])
        sums = meters["sums"].clone()
        processes = (resumed, *resumed.get("others", []))
        sums[0] = sum(process["meters"]["sums"][0] for process in processes) if self._ranks.is_main else 0
        return meters | {"sums": sums}

    def _restore_generators(self, resumed: State) -> None:
        """Set this process's generators; in another number of processes those after the first start from a new seed."""
        state = resumed if self._ranks.is_main else self._state_of_rank(resumed)
        if state is not None:
            restore_rng_states(self._device, state["random"])
