"""An epoch under way: how far it is, and what a process needs to go on in the middle of it as if it had not stopped."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from wrnexp.engine.meters import Meters, Waiting, clock
from wrnexp.engine.step import Batch

State = Mapping[str, Any]


class Progress:
    """The steps of one epoch that are done, their sums, and the state of the generators that dropout draws from.

    Args:
        epoch: counted from 0.
        device: that steps are computed on.
        kept: what `state_dict` returned in an earlier process; None at an epoch's start.

    Attributes:
        steps: done so far.
        whole: it has started and no step is under way, so that the state can be kept.
        meters: the sums so far.
    """

    def __init__(self, epoch: int, device: torch.device, kept: State | None = None) -> None:
        self.epoch, self._device, self._kept = epoch, device, kept
        self.steps, self.whole = 0, False
        self.meters = Meters(device)
        self._seconds = self._waited = 0.0
        self._end: float | None = None
        if kept is not None:
            self.steps, self._seconds, self._waited = kept["steps"], kept["seconds"], kept["waited"]
            self.meters.load_state_dict(kept["meters"])

    def start(self, open_epoch: Callable[[], Iterator[Batch]], read: int) -> Iterator[Batch]:
        """Start the clocks and return the epoch's batches that are left: those after the first `read`.

        These are loaded and let go: what a loader draws depends on the place in the epoch, so it costs time alone, a
        second or so, and every loader can do it.
        """
        self._clock = clock(self._device)
        self._start = time.perf_counter()
        with self._clock:  # processes may start here
            batches = open_epoch()
            next(islice(batches, read, read), None)
        if self._kept is not None:
            _set_random_state(self._device, self._kept["random"])
        self.whole = True
        return Waiting(batches, self._clock)

    @contextmanager
    def a_step(self) -> Iterator[None]:
        """Count the block as a step done, once it is left without an error."""
        self.whole = False
        yield
        self.steps, self.whole = self.steps + 1, True

    def end(self) -> float:
        """Stop the clocks; return the seconds that the epoch took, in all processes."""
        self._end = time.perf_counter()
        return self.seconds

    @property
    def seconds(self) -> float:
        """The seconds that the epoch has taken so far, in all processes."""
        return self._seconds + (self._end or time.perf_counter()) - self._start

    @property
    def waited(self) -> float:
        """Those of them spent waiting for data; on a GPU only after it has done all its work."""
        return self._waited + self._clock.seconds

    def state_dict(self) -> dict[str, Any]:
        """Return what another process needs to go on after the steps done; waits for the device."""
        meters = self.meters.state_dict()
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "seconds": self.seconds,
            "waited": self.waited,
            "meters": meters,
            "random": _random_state(self._device),
        }


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of the global generators of the CPU and of the device, uint8 each."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_random_state(device: torch.device, states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
