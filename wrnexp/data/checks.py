"""Files of the data store compared with the digests that were taken when they were written, in threads."""

import os
import threading
from pathlib import Path

from wrnexp.errors import UserError
from wrnexp.runs.digests import file_digest

_checks: dict[tuple[object, ...], "FileCheck"] = {}  # of this process
_lock = threading.Lock()


class FileCheck:
    """One file, hashed once in a thread of its own: hashing does not hold Python's lock.

    Args:
        path: of the file, in a folder of the store.
        digest: SHA-256 of its content when it was written, in hexadecimal.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest, self._process = path, digest, os.getpid()
        self._problem: str | None = None
        self._state = _state(path)
        self._thread = threading.Thread(target=self._compare, name=f"check {path.name}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the file is hashed; hash it again if it was written to since.

        A forked process, which has no such thread, does not wait: the process that trains has.

        Raises:
            UserError: the file is damaged, or cannot be read; the message says how to repair it.
        """
        if os.getpid() != self._process:
            return
        self._thread.join()
        state = _state(self._path)  # of an absent file, from a cache that was emptied, the pages in memory are whole
        if self._problem is None and state is not None and state != self._state:
            self._state = state
            self._compare()
        if self._problem is not None:
            raise UserError(self._problem)

    def _compare(self) -> None:
        try:
            if file_digest(self._path) != self._digest:
                self._problem = damage(self._path)
        except OSError as error:
            self._problem = f"{self._path} cannot be read ({error.strerror}); {repair(self._path.parent)}"


def start(path: Path, digest: str) -> FileCheck:
    """Return the check of a file as it is now: the one of before where path, size and time of change are the same."""
    key = (path, digest, _state(path))
    with _lock:
        if key not in _checks:
            _checks[key] = FileCheck(path, digest)
        return _checks[key]


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written to; None for one that is not there, which its check says."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def damage(path: Path) -> str:
    """Say that a file of the store is damaged, and how to repair it."""
    return f"{path} is damaged: its content is not what was stored; {repair(path.parent)}"


def repair(folder: Path) -> str:
    """Say how to repair a folder of the store."""
    return f"remove {folder}: the same command makes it again, from data.root or by the download"
