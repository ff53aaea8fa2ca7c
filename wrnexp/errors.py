"""The ways in which a run ends early: a mistake, another's claim, training's failure, a signal, time, a search."""

import signal
from collections.abc import Iterator
from typing import Any

TIME_LIMIT = 124  # exit code where time ran out, as that of GNU timeout
DIVERGED_FIGURES = " (step "  # what follows in the message of a `DivergedError` is for those who look into the run
LIMITED = "time limit of"  # the first words of a `Stopped` at a time limit


class UserError(Exception):
    """A mistake in what the user gave: one clear message, no traceback, exit code 2.

    The message says what is wrong, where, and what would be right.
    """


class MissingPackageError(UserError):
    """A package is not installed that only a part of wrnexp needs."""


class BusyError(UserError):
    """Another process is at work in the same folder."""


class TrainingError(Exception):
    """Training cannot continue, for instance because memory ran out; exit code 1."""


class DivergedError(TrainingError):
    """Training diverged. Deterministic: a rerun diverges too.

    Args:
        message: one line.
        divergence: the step that diverged, as `runs.record.Divergence` describes it; None where no step is to blame.
    """

    def __init__(self, message: str, divergence: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.divergence = divergence


class Pruned(Exception):  # noqa: N818  # no error: the run ends as the search that started it wants it to
    """A search has stopped its run, which promises less than others; the message begins with `after epoch k`."""


def is_pruned(error: str | None) -> bool:
    """Say whether `error`, of a record or a job, is that of a run that a search has stopped."""
    return error is not None and error.startswith(f"{Pruned.__name__}: ")


def is_diverged(error: str | None) -> bool:
    """Say whether `error`, of a record or a job, is that of a run whose loss became infinite or not a number."""
    return error is not None and error.startswith(f"{DivergedError.__name__}: ")


def diverged_briefly(error: str) -> str:
    """Return what diverged and when, without the figures and the advice of a `DivergedError`, from a record's error."""
    return error.removeprefix(f"{DivergedError.__name__}: ").partition(DIVERGED_FIGURES)[0]


class Stopped(SystemExit):
    """The process ends early: by SIGTERM, by SIGUSR2 where a scheduler takes the machine away, or at a time limit.

    The exit code is 128 plus the signal's number, or `TIME_LIMIT`.

    Args:
        number: of the signal; None at a time limit.
        limit: the time limit in words, as `process.signals.TimeLimit` gives it; None after a signal.

    Attributes:
        checkpointed: what a next process resumes from, in words; None where it is the last epoch's checkpoint.
    """

    def __init__(self, number: int | None, limit: str | None = None) -> None:
        super().__init__(TIME_LIMIT if number is None else 128 + number)
        self.number, self.limit = number, limit
        self.checkpointed: str | None = None

    def __str__(self) -> str:
        return f"{self._why()}; checkpointed {self.checkpointed}" if self.checkpointed else self._why()

    def _why(self) -> str:
        if self.number is None:
            return str(self.limit)
        name = signal.Signals(self.number).name
        return f"{'preempted or out of time' if name == 'SIGUSR2' else 'terminated'} ({name})"


class OutOfTimeError(Exception):
    """A job of a sweep has ended at a time limit, with a checkpoint; the sweep itself continues."""


def is_out_of_time(error: str | None) -> bool:
    """Say whether `error`, of a record or a job, is that of a run that ended at a time limit."""
    return error is not None and error.startswith(f"{Stopped.__name__}: {LIMITED}")


def one_line(error: BaseException) -> str:
    """Return an error's kind and message in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause or else its context, the same of that, and so on; each once: chains can be circular.

    Contexts that are suppressed count: OmegaConf suppresses what a resolver raises.
    """
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and not any(cause is earlier for earlier in seen):
        yield cause
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
