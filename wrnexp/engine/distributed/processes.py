"""Several processes of this machine for one run, started by torch's elastic launch from inside the run."""

import logging
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wrnexp.engine.distributed.member import DEADLINE, KINDS, enter, notes
from wrnexp.errors import DivergedError, Stopped, TrainingError, UserError
from wrnexp.process.signals import STOPPING

LOOK = 0.1  # seconds between looks at processes
REST = DEADLINE  # seconds between the end of the first process and that of the last, which may close the run's files
LOGGERS = ("torch.distributed.elastic", "torch.multiprocessing")


class CrashedError(Exception):
    """A process ended with an error that nobody foresaw; the text is its traceback."""


def processes(device: str, devices: int | str) -> int:
    """Return how many processes a run has: one a device.

    Args:
        device: `trainer.device`.
        devices: `trainer.devices`, a whole number or `auto`.

    Raises:
        UserError: there are fewer GPUs.
    """
    there = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if devices == "auto":
        return max(1, there)
    if (there or device == "cuda") and int(devices) > there:
        raise UserError(
            f"trainer.devices={devices} is more than the {there} GPUs that are visible here; use at most that many, or "
            "auto for all, or trainer.device=cpu"
        )
    if device == "auto" and torch.backends.mps.is_available():
        raise UserError(f"trainer.devices={devices}: this machine has one GPU (mps); use trainer.device=cpu")
    return int(devices)


def launch(function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Run `function(*arguments)` in `count` processes until all have ended; SIGTERM, SIGUSR2 and Ctrl-C reach them all.

    Args:
        function: of a module, run in each process with torchrun's variables set; it ends by itself, in all of them,
            after a signal that `wrnexp.process.signals` knows.
        arguments: what can be pickled.
        count: 2 or more.

    Raises:
        UserError, TrainingError: a process raised it, or was killed.
        CrashedError: a process ended with another error.
        Stopped, KeyboardInterrupt: this process received a signal and passed it on to all.
    """
    with tempfile.TemporaryDirectory(prefix="wrnexp-") as name, _quiet(), _forwarded_signals() as signals:
        folder = Path(name)
        agent = _Agent(folder, function, arguments, count)
        agent.start()
        while agent.is_alive():
            agent.join(LOOK)
            signals.pass_on(folder)
            signals.end_rest(folder)
        _raise(notes(folder), agent, signals.numbers, count)


class _Agent(threading.Thread):
    """torch's elastic agent. Not in the main thread, where it would take the signals, and break off at each."""

    def __init__(self, folder: Path, function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
        super().__init__(name="elastic agent")
        self._config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            monitor_interval=LOOK,
            start_method="spawn",
            logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
        )
        threads = max(1, torch.get_num_threads() // count)
        self._work = (enter, folder, threads, function, *arguments)
        self.failure: ProcessFailure | None = None  # of the process that ended first, badly
        self.error: Exception | None = None

    def run(self) -> None:
        before = {name: os.environ.get(name) for name in ("TORCHELASTIC_SIGNALS_TO_HANDLE", "PYTHONWARNINGS")}
        # Of semaphores that a killed process left, which Python's tracker removes: ours is the one line.
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before["PYTHONWARNINGS"], "ignore:resource_tracker"]))
        try:
            elastic_launch(self._config, self._work[0])(*self._work[1:])
        except ChildFailedError as error:
            self.failure = error.get_first_failure()[1]
        except Exception as error:
            self.error = error
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})


class _ForwardedSignals:
    """Signals that this process received, to be passed on to the processes of the run."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._passed: set[int] = set()
        self._since = self._first_end = 0.0

    def receive(self, number: int, frame: FrameType | None) -> None:
        self._since = self._since or time.monotonic()
        self.numbers.append(number)

    def pass_on(self, folder: Path) -> None:
        """Signal each process once, which ends at its next step; kill it if it does not, or at a second Ctrl-C."""
        if not self.numbers:
            return
        late = time.monotonic() - self._since > DEADLINE or self.numbers.count(signal.SIGINT) > 1
        number = signal.SIGTERM if self.numbers[0] == signal.SIGINT else self.numbers[0]
        for path in folder.glob("*.pid"):
            pid = int(path.stem)
            if pid not in self._passed or late:
                self._passed.add(pid)
                _send_signal(pid, signal.SIGKILL if late else number)

    def end_rest(self, folder: Path) -> None:
        """Kill processes that are still there a while after another has ended: one may wait for it in a message."""
        pids = [int(path.stem) for path in folder.glob("*.pid")]
        alive = [pid for pid in pids if _send_signal(pid, 0)]
        if len(alive) == len(pids):
            return
        self._first_end = self._first_end or time.monotonic()
        if time.monotonic() - self._first_end > REST:
            for pid in alive:
                _send_signal(pid, signal.SIGKILL)


@contextmanager
def _forwarded_signals() -> Iterator[_ForwardedSignals]:
    signals = _ForwardedSignals()
    try:
        before = {number: signal.signal(number, signals.receive) for number in (*STOPPING, signal.SIGINT)}
    except ValueError:  # not in the main thread: the main thread decides
        yield signals
        return
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's own account of how processes ended from the console: ours is one line."""
    loggers, nothing = [logging.getLogger(name) for name in LOGGERS], logging.NullHandler()
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(nothing)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(nothing)
            logger.propagate = propagate


def _raise(notes_by_rank: dict[int, dict[str, Any]], agent: _Agent, signals: list[int], count: int) -> None:
    """Raise what ended the run, where it did not end well."""
    if agent.error is not None:
        raise agent.error
    stopped = next((note for note in notes_by_rank.values() if note["kind"] == "Stopped"), None)
    if agent.failure is None and stopped is None:
        return
    if signals:
        raise KeyboardInterrupt if signals[0] == signal.SIGINT else _stopped((stopped or {}) | {"number": signals[0]})
    kinds = {kind.__name__: kind for kind in KINDS}
    for note in notes_by_rank.values():
        if note["kind"] == DivergedError.__name__:
            raise DivergedError(note["text"], note.get("divergence"))
        if note["kind"] in kinds:
            raise kinds[note["kind"]](note["text"])
    if agent.failure is None:
        assert stopped is not None
        raise _stopped(stopped)
    rank = agent.failure.local_rank
    if agent.failure.exitcode < 0 or rank not in notes_by_rank:
        raise TrainingError(_how(rank, count, agent.failure.exitcode))
    if notes_by_rank[rank]["kind"] == "Stopped":
        raise _stopped(notes_by_rank[rank])
    raise CrashedError(f"process {rank + 1} of {count} failed\n{notes_by_rank[rank]['text']}")


def _stopped(note: dict[str, Any]) -> Stopped:
    error = Stopped(note["number"], note.get("limit"))
    error.checkpointed = note.get("checkpointed")
    return error


def _how(rank: int, count: int, code: int) -> str:
    how = f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
    hint = " (out of memory is the usual reason)" if code == -signal.SIGKILL else ""
    return f"process {rank + 1} of the {count} that share this run {how}{hint}; the same command resumes from the last \
checkpoint"


def _send_signal(pid: int, number: int) -> bool:
    """Send a signal, or none where `number` is 0; say whether the process is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
