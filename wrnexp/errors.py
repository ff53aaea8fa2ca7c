"""The ways in which a run ends early: the user's mistake, another process's claim, or training's own failure."""


class UserError(Exception):
    """A mistake in what the user gave: one clear message, no traceback, exit code 2.

    The message says what is wrong, where, and what would be right.
    """


class BusyError(UserError):
    """Another process is at work in the same folder."""


class TrainingError(Exception):
    """Training cannot go on for a reason of its own, for instance a loss that is not finite; exit code 1."""


def one_line(error: BaseException) -> str:
    """Return an error's kind and message in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
