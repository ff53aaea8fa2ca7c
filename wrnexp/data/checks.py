"""Comparison of files of the data store with the digests recorded when they were written, in the background."""

import os
import threading
from pathlib import Path

from wrnexp.errors import UserError
from wrnexp.runs.digests import file_digest

_checks: dict[tuple[object, ...], "FileCheck"] = {}  # of this process
_lock = threading.Lock()


class FileCheck:
    """One file of the store, hashed once in a thread (hashing releases the GIL), against its SHA-256 in hexadecimal."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest, self._process = path, digest, os.getpid()
        self._problem: str | None = None
        self._state = _state(path)
        self._thread = threading.Thread(target=self._compare, name=f"check {path.name}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the file is hashed; hash it again if it changed since.

        Returns at once in a forked process, which does not inherit the thread: the training process has waited.

        Raises:
            UserError: the file is damaged or cannot be read; the message says how to repair it.
        """
        if os.getpid() != self._process:
            return
        self._thread.join()
        state = _state(self._path)  # None if the cache was emptied meanwhile; the mapped pages are still intact
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
    """Return the check of a file in its present state; a file that did not change is hashed once per process."""
    key = (path, digest, _state(path))
    with _lock:
        if key not in _checks:
            _checks[key] = FileCheck(path, digest)
        return _checks[key]


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return inode, size and modification time; None for a missing file, which the check reports."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def damage(path: Path) -> str:
    """Return the message that a file of the store is damaged, and how to repair it."""
    return f"{path} is damaged: its content is not what was stored; {repair(path.parent)}"


def repair(folder: Path) -> str:
    """Return how to repair a folder of the store."""
    return f"remove {folder}: the same command restores it, from data.root or by download"
