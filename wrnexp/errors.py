"""The ways in which a run ends early: the user's mistake, another's claim, training's failure, a signal, a search."""

import signal
from collections.abc import Iterator


class UserError(Exception):
    """A mistake in what the user gave: one clear message, no traceback, exit code 2.

    The message says what is wrong, where, and what would be right.
    """


class MissingPackageError(UserError):
    """A package is not installed that only a part of wrnexp needs."""


class BusyError(UserError):
    """Another process is at work in the same folder."""


class TrainingError(Exception):
    """Training cannot go on for a reason of its own, for instance a want of memory; exit code 1."""


class DivergedError(TrainingError):
    """The loss is not finite; the same config comes to that again."""


class Pruned(Exception):  # noqa: N818  # no error: the run ends as the search that started it wants it to
    """A search has stopped its run, which promises less than others; the message begins with `after epoch k`."""


def is_pruned(error: str | None) -> bool:
    """Say whether `error`, of a record or a job, is that of a run that a search has stopped."""
    return error is not None and error.startswith(f"{Pruned.__name__}: ")


def is_diverged(error: str | None) -> bool:
    """Say whether `error`, of a record or a job, is that of a run whose loss became infinite or not a number."""
    return error is not None and error.startswith(f"{DivergedError.__name__}: ")


class Stopped(SystemExit):
    """A signal has told this process to end: SIGTERM, or SIGUSR2 where a scheduler takes the machine away.

    The exit code is 128 and the signal's number.

    Args:
        number: of the signal.

    Attributes:
        kept: what a next process goes on from, in words; None where it is the last epoch's checkpoint.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number
        self.kept: str | None = None

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        why = "preempted or out of time" if name == "SIGUSR2" else "told to end"
        return f"{why} ({name}); kept {self.kept or 'up to the last checkpoint'}"


def one_line(error: BaseException) -> str:
    """Return an error's kind and message in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on; each once, for such chains can be circular."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and not any(cause is earlier for earlier in seen):
        yield cause
        seen.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
