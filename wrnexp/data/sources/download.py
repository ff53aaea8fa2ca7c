"""Downloads that may stop anywhere: they go on where they stopped, and are checked before they count."""

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
"""Called with the bytes that are there and the bytes of the whole file, where they are known."""

_BROKEN = (OSError, http.client.HTTPException)


def download(url: str, target: Path, sha256: str, by_hand: str) -> None:
    """Fetch `url` into `target`, unless it is there, by way of `<target>.part`, which a later call goes on with.

    Processes that start at once share one download: the others wait for it.

    Args:
        url: http or https; from a server without byte ranges the file is read from its start again.
        target: exists afterwards, complete and checked.
        sha256: of the file, hexadecimal.
        by_hand: for messages: what to do without a network.

    Raises:
        UserError: the file cannot be fetched or written, or is not the expected one.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _fetch_checked(url, target, sha256, by_hand)
    except _BROKEN as error:
        raise UserError(
            f"{url} cannot be downloaded to {target} ({reason(error)}); the same command goes on with it. {by_hand}"
        ) from error


def _fetch_checked(url: str, target: Path, sha256: str, by_hand: str) -> None:
    part = target.with_name(f"{target.name}.part")
    part.touch()
    with download_bar() as bar:
        task = bar.add_task(target.name, total=None)
        _fetch(url, part, lambda done, total: bar.update(task, completed=done, total=total))
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise UserError(f"{url} gave another file: its SHA-256 is {found}, right is {sha256}. {by_hand}")
    part.replace(target)


def _fetch(url: str, part: Path, report: Report) -> None:
    """Append to `part` until it is complete; a connection that breaks is made anew as long as each brings bytes."""
    while True:
        before = part.stat().st_size
        try:
            return _append(url, part, report)
        except _BROKEN:
            if part.stat().st_size <= before:
                raise


def _append(url: str, part: Path, report: Report) -> None:
    """Read what `part` lacks, in one connection.

    Raises:
        OSError, HTTPException: the connection cannot be made, or ends before the file does.
    """
    try:
        response = _request(url, part.stat().st_size)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # nothing is left to read; the checksum says whether it is the right file
            raise
    with response, part.open("ab") as file:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()
        total = _copy(response, file, report)
        if total is not None and file.tell() < total:
            raise http.client.IncompleteRead(b"", total - file.tell())


def _request(url: str, start: int) -> Any:
    headers = {"Range": f"bytes={start}-"} if start else {}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def _copy(response: Any, file: Any, report: Report) -> int | None:
    """Append the response to the file and return how long the file should be, None where the server does not say."""
    length = response.headers.get("Content-Length")
    total = file.tell() + int(length) if length else None
    while chunk := response.read(CHUNK):
        file.write(chunk)
        report(file.tell(), total)
    return total
