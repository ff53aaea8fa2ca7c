"""Several processes of this machine for one run, started by torch's elastic launch from inside the run."""

import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wrnexp.errors import Stopped, TrainingError, UserError
from wrnexp.stopping import GRACE, STOPPING
from wrnexp.torchrun import place

LOOK = 0.1  # seconds between looks at processes
REST = 10.0  # seconds between the end of the first process and that of the last
PATIENCE = 2.0  # seconds that a process with an error waits, for the one at fault or the first one to end before it
DEADLINE = GRACE + 15  # seconds that processes have to end once told: their last step, and closing the run's files
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
            after a signal that `wrnexp.stopping` knows.
        arguments: what can be pickled.
        count: 2 or more.

    Raises:
        UserError, TrainingError: a process raised it, or was killed.
        CrashedError: a process ended with another error.
        Stopped, KeyboardInterrupt: this process was told to end, and so were all.
    """
    with tempfile.TemporaryDirectory(prefix="wrnexp-") as name, _quiet(), _told() as told:
        folder = Path(name)
        agent = _Agent(folder, function, arguments, count)
        agent.start()
        while agent.is_alive():
            agent.join(LOOK)
            told.pass_on(folder)
            told.end_rest(folder)
        _raise(_notes(folder), agent, told.numbers, count)


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
        self._what = (_enter, folder, threads, function, *arguments)
        self.failure: ProcessFailure | None = None  # of the process that ended first, badly
        self.error: Exception | None = None

    def run(self) -> None:
        before = {name: os.environ.get(name) for name in ("TORCHELASTIC_SIGNALS_TO_HANDLE", "PYTHONWARNINGS")}
        # Of semaphores that a killed process left, which Python's tracker removes: ours is the one line.
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before["PYTHONWARNINGS"], "ignore:resource_tracker"]))
        try:
            elastic_launch(self._config, self._what[0])(*self._what[1:])
        except ChildFailedError as error:
            self.failure = error.get_first_failure()[1]
        except Exception as error:
            self.error = error
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})


class _Told:
    """Signals that this process has got, to be passed on to the processes of the run."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._passed: set[int] = set()
        self._since = self._first_end = 0.0

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._since = self._since or time.monotonic()
        self.numbers.append(number)

    def pass_on(self, folder: Path) -> None:
        """Tell each process once to end at its next step, and kill it where it does not, or at a second Ctrl-C."""
        if not self.numbers:
            return
        late = time.monotonic() - self._since > DEADLINE or self.numbers.count(signal.SIGINT) > 1
        number = signal.SIGTERM if self.numbers[0] == signal.SIGINT else self.numbers[0]
        for path in folder.glob("*.pid"):
            pid = int(path.stem)
            if pid not in self._passed or late:
                self._passed.add(pid)
                _tell(pid, signal.SIGKILL if late else number)

    def end_rest(self, folder: Path) -> None:
        """Kill processes that are still there a while after another has ended: one may wait for it in a message."""
        pids = [int(path.stem) for path in folder.glob("*.pid")]
        alive = [pid for pid in pids if _tell(pid, 0)]
        if len(alive) == len(pids):
            return
        self._first_end = self._first_end or time.monotonic()
        if time.monotonic() - self._first_end > REST:
            for pid in alive:
                _tell(pid, signal.SIGKILL)


@contextmanager
def _told() -> Iterator[_Told]:
    told = _Told()
    try:
        before = {number: signal.signal(number, told.hear) for number in (*STOPPING, signal.SIGINT)}
    except ValueError:  # not in the main thread: whoever owns that decides
        yield told
        return
    try:
        yield told
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


def _raise(notes: dict[int, dict[str, Any]], agent: _Agent, told: list[int], count: int) -> None:
    """Raise what ended the run, where it did not end well."""
    if agent.error is not None:
        raise agent.error
    stopped = next((note for note in notes.values() if note["kind"] == "Stopped"), None)
    if agent.failure is None and stopped is None:
        return
    if told:
        raise KeyboardInterrupt if told[0] == signal.SIGINT else _stopped(told[0], stopped)
    for note in notes.values():
        if note["kind"] in ("UserError", "TrainingError"):
            raise {"UserError": UserError, "TrainingError": TrainingError}[note["kind"]](note["text"])
    if agent.failure is None:
        assert stopped is not None
        raise _stopped(stopped["number"], stopped)
    rank = agent.failure.local_rank
    if agent.failure.exitcode < 0 or rank not in notes:
        raise TrainingError(_how(rank, count, agent.failure.exitcode))
    if notes[rank]["kind"] == "Stopped":
        raise _stopped(notes[rank]["number"], notes[rank])
    raise CrashedError(f"process {rank + 1} of {count} failed\n{notes[rank]['text']}")


def _stopped(number: int, note: dict[str, Any] | None) -> Stopped:
    error = Stopped(number)
    error.kept = note["kept"] if note else None
    return error


def _how(rank: int, count: int, code: int) -> str:
    how = f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
    hint = " (out of memory is the usual reason)" if code == -signal.SIGKILL else ""
    return f"process {rank + 1} of the {count} that share this run {how}{hint}; the same command goes on from the last \
checkpoint"


def _enter(folder: Path, threads: int, function: Callable[..., None], *arguments: Any) -> None:
    """Be one of the processes: do the work, and leave a note of how it ended otherwise than well."""
    here = place()
    assert here is not None
    _end_with_parent()
    signal.signal(signal.SIGINT, _terminate)
    _write(folder / f"{os.getpid()}.pid", "")
    torch.set_num_threads(threads)
    # Of 1x1 convolutions in NHWC, whose strides have two spellings.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    try:
        function(*arguments)
    except Stopped as stopped:
        _note(folder, here.rank, "Stopped", str(stopped), number=stopped.number, kept=stopped.kept)
        if stopped.kept is None:  # not at a step that all had agreed on: torch would wait for the others here
            _leave()
    except BaseException as error:
        kind = next((one.__name__ for one in (UserError, TrainingError) if isinstance(error, one)), "")
        _note(folder, here.rank, kind, str(error) if kind else traceback.format_exc())
        hold_off(here.rank, error)
        _leave()
    parent = parent_process()
    if parent is None or not parent.is_alive():
        os._exit(1)  # torch would wait for it


def _leave() -> None:
    """End at once: the interpreter's own way would wait for threads that wait for messages or batches."""
    sys.stdout.flush()
    sys.stderr.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(1)


def hold_off(rank: int, error: BaseException) -> None:
    """Wait a moment before ending on an error: a process whose fault it is, or the first one, shall end before.

    One that is killed shows in the others as an error of communication, and a run's first process closes its files.
    """
    if rank or not isinstance(error, UserError | TrainingError):
        time.sleep(PATIENCE)


def _note(folder: Path, rank: int, kind: str, text: str, **more: Any) -> None:
    _write(folder / f"{rank}.json", json.dumps({"kind": kind, "text": text, **more}))


def _notes(folder: Path) -> dict[int, dict[str, Any]]:
    return {int(path.stem): json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]*.json"))}


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(".writing")
    beside.write_text(text)
    beside.replace(path)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Take Ctrl-C, and torch's word that the parent is gone, for SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)


def _tell(pid: int, number: int) -> bool:
    """Send a signal, or none where `number` is 0; say whether the process is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _end_with_parent() -> None:
    """Let this process end when its parent is gone, even killed: at its next step, or by force after a while."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(DEADLINE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
