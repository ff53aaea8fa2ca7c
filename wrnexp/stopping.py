"""Signals that end a run, held back until the step under way is done, so that all steps before it are kept."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from wrnexp.errors import Stopped

GRACE = 15.0  # seconds that a step may still take; Slurm kills 30 s after its SIGTERM unless set otherwise
STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name))


class Stop:
    """What has told this process to end: SIGTERM, or SIGUSR2 as job schedulers send it before they take a machine away.

    `with stop.heard():` takes the signals; they end the block by raising `Stopped` there. Within that, a block under
    `with stop.held():` is not broken off unless it takes more than `grace` seconds: `Stopped` is raised on leaving it.

    Args:
        grace: in seconds.

    Attributes:
        agreed: every process that shares the run ends at the same step, so that what it has computed can be kept; where
            there is one only, always.
    """

    agreed = True

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._process = os.getpid()
        self._asked: Stopped | None = None
        self._held = False
        self._told = self._overdue = False
        self._children: Any = None  # the handler of SIGCHLD that a signal put aside

    @contextmanager
    def heard(self) -> Iterator[None]:
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
    def held(self) -> Iterator[None]:
        """Let a block end before `Stopped` is raised.

        An error that ends it after a signal counts as the signal's: a loader's processes are told to end too.
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
        if self._asked is not None:
            raise self._tell()

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
