"""Progress bars on stderr, shown on a terminal only."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

    from wrnexp.process.terminal import Terminal

T = TypeVar("T")


def tracked(items: Sequence[T], description: str) -> Iterable[T]:
    """Yield the items and show a progress bar."""
    from rich.markup import escape
    from rich.progress import track

    from wrnexp.process.terminal import printable

    console = _console()
    return track(
        items, escape(printable(description)), console=console, transient=True, disable=not console.is_terminal
    )


def download_bar() -> "Progress":
    """Return a progress bar of bytes, speed and remaining time."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = _console()
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)


def _console() -> "Terminal":
    from wrnexp.process.terminal import Terminal

    return Terminal(stderr=True)
