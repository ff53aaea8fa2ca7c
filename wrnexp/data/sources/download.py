"""Downloads that can be interrupted and resumed; the file is verified before it gets its final name."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from wrnexp.data.messages import reason
from wrnexp.data.progress import download_bar
from wrnexp.errors import UserError

CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte

Report = Callable[[int, int | None], None]
"""Called with the bytes downloaded so far and the size of the whole file, None if unknown."""

_CONNECTION_ERRORS = (OSError, http.client.HTTPException)


def download(url: str, target: Path, sha256: str, by_hand: str) -> None:
    """Download `url` to `target` unless that exists; `<target>.part` allows a later call to resume.

    Concurrent processes share one download.

    Args:
        url: http or https; without support for byte ranges by the server, the download restarts from the beginning.
        target: exists afterwards, complete and verified.
        sha256: of the file, hexadecimal.
        by_hand: for error messages: what to do without a network.

    Raises:
        UserError: the file cannot be downloaded or written, or has another SHA-256.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _fetch_checked(url, target, sha256, by_hand)
    except _CONNECTION_ERRORS as error:
        raise UserError(
            f"{url} cannot be downloaded to {target} ({reason(error)}); the same command resumes it. {by_hand}"
        ) from error


def _fetch_checked(url: str, target: Path, sha256: str, by_hand: str) -> None:
    part = target.with_name(f"{target.name}.part")
    part.touch()
    with download_bar() as bar:
        task = bar.add_task(target.name, total=None)
        _fetch(url, part, lambda completed, total: bar.update(task, completed=completed, total=total))
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        part.unlink()
        raise UserError(f"{url} returned another file: its SHA-256 is {digest}, expected {sha256}. {by_hand}")
    part.replace(target)


def _fetch(url: str, part: Path, report: Report) -> None:
    """Append to `part` until it is complete; reconnect as long as each connection returns some bytes."""
    while True:
        before = part.stat().st_size
        try:
            return _append(url, part, report)
        except _CONNECTION_ERRORS:
            if part.stat().st_size <= before:
                raise


def _append(url: str, part: Path, report: Report) -> None:
    """Append the missing bytes to `part` over one connection.

    Raises:
        OSError, HTTPException: the connection fails, or ends before the file does.
    """
    size = part.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={size}-"} if size else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # the part is complete; the caller compares its SHA-256
            raise
    with response, part.open("ab") as file:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()
        total = _copy(response, file, report)
        if total is not None and file.tell() < total:
            raise http.client.IncompleteRead(b"", total - file.tell())


def _copy(response: Any, file: Any, report: Report) -> int | None:
    """Append the response to the file; return the file's full size, None if the server does not report it."""
    length = response.headers.get("Content-Length")
    total = file.tell() + int(length) if length else None
    while chunk := response.read(CHUNK):
        file.write(chunk)
        report(file.tell(), total)
    return total
