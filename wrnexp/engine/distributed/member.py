"""The inside of a process that shares a run: does its work, and leaves a note of how it ended otherwise than well."""

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from wrnexp.errors import DivergedError, Stopped, TrainingError, UserError
from wrnexp.process.parent import when_parent_is_gone
from wrnexp.process.signals import GRACE
from wrnexp.process.torchrun import process_rank

PATIENCE = 2.0  # seconds that a process with an error waits, for the one at fault or the first one to end before it
KINDS = (UserError, DivergedError, TrainingError)  # errors that the parent raises again as they were, subclasses first
DEADLINE = GRACE + 15  # seconds that processes have to end after a signal: their last step, and closing the run's files


def enter(folder: Path, threads: int, function: Callable[..., None], *arguments: Any) -> None:
    """Be one of the processes.

    Args:
        folder: for the notes, and for a file that says the process's number.
        threads: that torch may use.
        function: the work.
        arguments: of the function.
    """
    here = process_rank()
    assert here is not None
    when_parent_is_gone(_end)
    signal.signal(signal.SIGINT, _terminate)
    _write(folder / f"{os.getpid()}.pid", "")
    torch.set_num_threads(threads)
    # Of 1x1 convolutions in NHWC, whose strides have two spellings.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    try:
        function(*arguments)
    except Stopped as stopped:
        _note(
            folder,
            here.rank,
            "Stopped",
            str(stopped),
            number=stopped.number,
            limit=stopped.limit,
            checkpointed=stopped.checkpointed,
        )
        if stopped.checkpointed is None:  # not at a step that all had agreed on: torch would wait for the others here
            leave()
    except BaseException as error:
        kind = next((kind.__name__ for kind in KINDS if isinstance(error, kind)), "")
        text = str(error) if kind else traceback.format_exc()
        _note(folder, here.rank, kind, text, divergence=getattr(error, "divergence", None))
        hold_off(here.rank, error)
        leave()
    parent = parent_process()
    if parent is None or not parent.is_alive():
        os._exit(1)  # torch would wait for it


def leave() -> None:
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


def notes(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the notes that processes have left, by rank: `kind` and `text` of the error, and more of a `Stopped`."""
    return {int(path.stem): json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]*.json"))}


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".writing")
    temporary.write_text(text)
    temporary.replace(path)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Take Ctrl-C, and torch's word that the parent is gone, for SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)


def _end() -> None:
    """End this process at its next step, or by force after a while."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(DEADLINE)
    os._exit(1)
