"""The inside of a local launcher's worker: takes jobs from a pipe, runs them, sends back what came of them."""

import contextlib
import importlib
import inspect
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from wrnexp.process.parent import when_parent_is_gone


@dataclass(frozen=True)
class Assignment:
    """A job: all that it runs by, and whether its output goes to console.log in the run's folder."""

    config: DictConfig
    quiet: bool


class KilledError(Exception):
    """A process died with its job."""


@dataclass(frozen=True)
class JobOutcome:
    """What a job gave: a value, or the error that ended it."""

    value: Any = None
    error: Exception | None = None


def serve(connection: Connection, module: str, task: str, environment: dict[str, str], name: str) -> None:
    """Run jobs until the pipe is closed; the main function of a worker.

    Args:
        connection: gives `Assignment`s and takes `JobOutcome`s.
        module: where the function that runs a job is.
        task: its name there; Hydra's decorator is taken off.
        environment: variables to set before anything else is imported.
        name: of the application, as Hydra calls it.
    """
    os.environ.update(environment)
    # Ctrl-C reaches the driver too, and its SIGTERM ends a job after a step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    when_parent_is_gone(lambda: os.kill(os.getpid(), signal.SIGTERM))  # which closes a run's files
    function = _function(module, task)
    setup_globals()
    JobRuntime.instance().set("name", name)
    while True:
        try:
            assignment: Assignment = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        outcome = _run(assignment, function)
        with contextlib.suppress(BrokenPipeError):  # the driver is gone; so is this worker, in a moment
            connection.send(outcome)


def execute(assignment: Assignment, function: TaskFunction) -> JobOutcome:
    """Run a job in this process as Hydra does.

    Args:
        assignment: the job.
        function: runs it.

    Raises:
        KeyboardInterrupt, SystemExit: the process is told to end; the run is closed.
    """
    from wrnexp.runs.ownership import clear_logs  # pydantic comes with it

    config = assignment.config
    setup_globals()
    JobRuntime.instance().set("name", config.hydra.job.name)
    context = HydraContext(ConfigLoaderImpl(create_config_search_path(None)), Callbacks(config))
    clear_logs(Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir)
    with _output(assignment):
        result = run_job(
            function,
            config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=context,
        )
    return _outcome(result)


def _run(assignment: Assignment, function: TaskFunction) -> JobOutcome:
    try:
        return execute(assignment, function)
    except (KeyboardInterrupt, SystemExit) as stop:
        return JobOutcome(error=RuntimeError(f"interrupted ({type(stop).__name__})"))


def _outcome(result: JobReturn) -> JobOutcome:
    value = result._return_value
    if result.status == JobStatus.COMPLETED:
        return JobOutcome(value)
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:  # an error that does not survive the pipe is told in words
        value = RuntimeError(f"{type(value).__name__}: {value}")
    return JobOutcome(error=value.with_traceback(None))


@contextlib.contextmanager
def _output(assignment: Assignment) -> Iterator[None]:
    """Send all output of a quiet job to a file, that of its own processes too."""
    if not assignment.quiet:
        yield
        return
    hydra = assignment.config.hydra
    path = Path(hydra.sweep.dir) / hydra.sweep.subdir / "console.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    with path.open("a") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in enumerate(kept, 1):
                os.dup2(old, number)
                os.close(old)


def _function(module: str, name: str) -> TaskFunction:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    function: TaskFunction = inspect.unwrap(found)
    return function
