"""Signals and time limits that end a run, held back until the step under way is done, so that no step is lost."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from wrnexp.errors import LIMITED, Stopped

GRACE = 15.0  # seconds that a step may still take; Slurm kills 30 s after its SIGTERM unless set otherwise
STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name))


@dataclass(frozen=True)
class TimeLimit:
    """A limit on wall time.

    Attributes:
        seconds: of the limit.
        key: of the config that sets it.
        ends: when it is reached, in seconds since the epoch: the one clock that the processes and machines of a run or
            a sweep have in common.
    """

    seconds: float
    key: str
    ends: float

    @classmethod
    def from_now(cls, seconds: Any, key: str) -> "TimeLimit | None":
        """Return the limit of `seconds` from now on; None for null, and for a value that the schema refuses."""
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        return cls(float(seconds), key, time.time() + seconds) if number and seconds > 0 else None

    @classmethod
    def read(cls, text: str | None) -> "TimeLimit | None":
        """Return the limit that `written` gave; None for None."""
        if text is None:
            return None
        key, seconds, ends = text.split()
        return cls(float(seconds), key, float(ends))

    @property
    def written(self) -> str:
        """The limit as text for another process."""
        return f"{self.key} {self.seconds} {self.ends}"

    @property
    def remaining(self) -> float:
        """The seconds until it is reached; 0 or less afterwards."""
        return self.ends - time.time()

    def __str__(self) -> str:
        return f"{LIMITED} {self.seconds:g} s reached ({self.key})"


class SignalGuard:
    """What has told this process to end: SIGTERM, or SIGUSR2 as job schedulers send it before they take a machine away.

    `with stop.heard():` takes the signals; they end the block by raising `Stopped` there. Within that, a block under
    `with stop.held():` is not broken off unless it takes more than `grace` seconds: `Stopped` is raised on leaving it.
    A time limit breaks nothing off: `Stopped` is raised on leaving the first block under `held(timed=True)` after it.

    Args:
        grace: in seconds.
        limit: None for none.

    Attributes:
        agreed: every process that shares the run ends at the same step, so that what it has computed can be kept; where
            there is one only, always.
    """

    agreed = True

    def __init__(self, grace: float = GRACE, limit: TimeLimit | None = None) -> None:
        self._grace, self._limit = grace, limit
        self._process = os.getpid()
        self._asked: Stopped | None = None
        self._held = False
        self._told = self._overdue = False
        self._children: Any = None  # the handler of SIGCHLD that a signal put aside

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals; after one was raised, further ones are let pass: the run is being closed."""
        try:
            before = {number: signal.signal(number, self._hear) for number in STOPPING}
        except ValueError:  # not in the main thread: whoever owns that decides
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            if self._children is not None:
                signal.signal(signal.SIGCHLD, self._children)

    @contextmanager
    def deferred(self, *, timed: bool = False) -> Iterator[None]:
        """Let a block end before `Stopped` is raised.

        An error that ends it after a signal counts as the signal's: a loader's processes are told to end too.

        Args:
            timed: whether the time limit ends the run after this block.
        """
        self._held = True
        try:
            yield
        except Exception as error:
            self._held = False
            if self._asked is not None:
                raise self._tell() from error
            raise
        finally:
            self._held = False
        if timed and self._asked is None and self._out_of_time():
            self._asked = Stopped(None, str(self._limit))
        if self._asked is not None:
            raise self._tell()

    def _out_of_time(self) -> bool:
        return self._limit is not None and self._limit.remaining <= 0

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process or self._told:  # a loader's process has inherited this; it is told to end
            return
        if self._asked is None:
            self._asked = Stopped(number)
            # The loader's processes may have been told to end too; torch would raise that in the middle of the closing.
            self._children = signal.signal(signal.SIGCHLD, lambda number, frame: None)
            if self._held:
                self._break_off_later(number)
        if not self._held or self._overdue:  # one signal often comes twice, to the process and to its group
            raise self._tell()

    def _tell(self) -> Stopped:
        assert self._asked is not None
        self._told = True
        return self._asked

    def _break_off_later(self, number: int) -> None:
        main = threading.get_ident()

        def again() -> None:
            if not self._told:
                self._overdue = True
                signal.pthread_kill(main, number)

        timer = threading.Timer(self._grace, again)
        timer.daemon = True
        timer.start()
