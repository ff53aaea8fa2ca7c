"""SHA-256 of files: stored when a file is written, compared when it is read again."""

import hashlib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Protocol

from wrnexp.runs.files import open_regular


class FileState(Enum):
    """How a file of a run's folder compares with the digest in the run's record.

    `DAMAGED` is all that is there and is not what was written: another content, a folder, a file that cannot be read.
    `UNRECORDED` is a file whose digest is not on record: a run that is not completed, or an earlier version's.
    """

    WHOLE = "whole"
    DAMAGED = "damaged"
    ABSENT = "absent"
    UNRECORDED = "unrecorded"


class HasFiles(Protocol):
    """A run's record."""

    @property
    def files(self) -> Mapping[str, str]:
        """The SHA-256 of each file, in hexadecimal, by its name."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read, as `open_regular` says.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bytes_digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_state(folder: Path, record: HasFiles, name: str) -> FileState:
    """Compare a file of a run's folder with the run's record; reads the whole file."""
    path, recorded = folder / name, record.files.get(name)
    if not path.exists():
        return FileState.ABSENT
    if recorded is None and (path.is_file() or path.is_dir()):
        return FileState.UNRECORDED
    try:
        whole = file_digest(path) == recorded
    except OSError:
        whole = False
    return FileState.WHOLE if whole else FileState.DAMAGED


def damaged_files(folder: Path, record: HasFiles) -> list[str]:
    """Return the names of the files that are in a run's folder and are not what the record says."""
    return [name for name in record.files if file_state(folder, record, name) is FileState.DAMAGED]
