"""Files of `torch.save` that carry the SHA-256 of their own content.

`torch.load` compares no checksum: it returns flipped bits as weights. The digest is the comment of the ZIP archive that
`torch.save` writes, so that one rename replaces a file and its digest together, and `torch.load` reads the file as
before.
"""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from wrnexp.runs.files import NoFileError, open_regular

PREFIX = b"wrnexp sha256 "
COMMENT = len(PREFIX) + 2 * hashlib.sha256().digest_size  # bytes
LENGTH = COMMENT.to_bytes(2, "little")  # of the comment, as the last field of an archive's end record has it
UNSEALED = b"\0\0"  # the same field as torch writes it
END_RECORD, END_SIZE = b"PK\5\6", 22  # how an archive's last record begins, and its bytes without a comment
CHUNK = 1 << 20


class DamagedError(ValueError):
    """A file that is not what was written; the message says in what way."""


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def save_sealed(state: Mapping[str, Any], path: Path) -> None:
    """Write `state` with its digest, down to the disk.

    Raises:
        OSError, RuntimeError: it cannot be written; a part may be there.
    """
    with path.open("wb") as file:
        hashing = _Hashing(file)
        torch.save(state, cast(IO[bytes], hashing))
        file.seek(-len(UNSEALED), os.SEEK_END)
        file.write(LENGTH + PREFIX + hashing.sha256.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def load_sealed(path: Path) -> Any:
    """Return what a file holds, on the CPU; it is compared with its digest first.

    Files of earlier versions have no digest: the checksums of their ZIP archive are compared.

    Raises:
        DamagedError: the content is not what was written, or the file is none of `torch.save`.
        OSError: the file cannot be read.
    """
    try:
        if not _is_sealed(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise DamagedError("a checksum does not match")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (DamagedError, MemoryError, PermissionError):
        raise
    except NoFileError as error:
        raise DamagedError(error.strerror) from error
    except Exception as error:  # the readers of a damaged file raise errors of any kind
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedError("it is not a checkpoint") from error


def _is_sealed(path: Path) -> bool:
    """Compare a file with its digest; False where it has none.

    Raises:
        DamagedError: they do not match.
    """
    size = path.stat().st_size
    with open_regular(path) as file:
        file.seek(max(0, size - END_SIZE))
        if (end := file.read()).startswith(END_RECORD) and end.endswith(UNSEALED):
            return False
        file.seek(0)
        sha256, remaining = hashlib.sha256(), size - COMMENT - len(LENGTH)
        while remaining > 0 and (chunk := file.read(min(remaining, CHUNK))):
            sha256.update(chunk)
            remaining -= len(chunk)
        sha256.update(UNSEALED)
        if file.read() != LENGTH + PREFIX + sha256.hexdigest().encode():
            raise DamagedError("its content does not match its SHA-256" if size else "it is empty")
    return True
