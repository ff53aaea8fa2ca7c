"""One process a folder: a lock that the kernel frees when its owner dies, however it dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wrnexp.errors import BusyError

NAME = ".lock"
PATIENCE = 1.0  # seconds; `held` takes the lock for an instant, which must not turn a run away


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder against every other process; it is made where it is not there.

    Raises:
        BusyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / NAME, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(f"another process is training this run in {folder}; wait for it, or use rerun=true") from error
    try:
        yield
    finally:
        lock.release()


def held(folder: Path) -> bool:
    """Say whether a living process holds a run's folder."""
    if not (folder / NAME).exists():
        return False
    try:
        with FileLock(folder / NAME, timeout=0):
            return False
    except Timeout:
        return True
