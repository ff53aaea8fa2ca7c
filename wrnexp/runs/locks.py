"""One process a folder: a lock that the kernel frees when its owner dies, however it dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wrnexp.errors import BusyError

NAME = ".lock"
WRITER = ".writer.lock"  # of the process that writes for a run which another process has started and holds
PATIENCE = 1.0  # seconds; `is_locked` takes the lock for an instant, which must not turn a run away


@contextmanager
def exclusive_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder against every other process; it is made where it is not there.

    Raises:
        BusyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _taken(folder, NAME):
        if (folder / WRITER).exists():
            with _taken(folder, WRITER):  # one that has lost who started it may still be writing
                pass
        yield


@contextmanager
def exclusive_writer(folder: Path) -> Iterator[None]:
    """Hold a folder as the process that writes for a run, beside the one that started it and is `exclusive_run` there.

    Raises:
        BusyError: another process does.
    """
    with _taken(folder, WRITER):
        yield


def is_locked(folder: Path) -> bool:
    """Say whether a living process holds a run's folder."""
    return any(_is_held(folder / name) for name in (NAME, WRITER))


@contextmanager
def _taken(folder: Path, name: str) -> Iterator[None]:
    lock = FileLock(folder / name, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(f"another process is training this run in {folder}; wait for it, or use rerun=true") from error
    try:
        yield
    finally:
        lock.release()


def _is_held(path: Path) -> bool:
    try:
        if not path.exists():
            return False
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # another user's, on a read-only disk, or no possible name: nobody here can be at work there
        return False
