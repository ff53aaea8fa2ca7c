"""Files that are read without waiting for anyone, whatever lies in their place."""

import errno
import stat
from io import BufferedReader
from pathlib import Path


class NoFileError(OSError):
    """A folder, a named pipe or a device in the place of a file."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        NoFileError: it is something else: opening a named pipe would wait for a writer, and a device may never end.
        OSError: it is not there or cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a named pipe, a socket or a device"
        raise NoFileError(errno.EINVAL, f"it is {kind}", str(path))
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """Return a file's content; raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()
