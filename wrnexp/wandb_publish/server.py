"""Runs at a W&B server, read through W&B's public API."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb
from wandb.errors import AuthenticationError, CommError

from wrnexp.errors import UserError
from wrnexp.runs.media import FOLDER
from wrnexp.tracking.wandb.account import has_key, server

SECONDS = 15  # timeout of a request


class ServerError(Exception):
    """The server does not answer, or refuses."""


@dataclass(frozen=True)
class RemoteRun:
    """A run at the server.

    Attributes:
        epochs: epochs with a row, in the order logged.
        pictures: keys of the logged pictures.
        state: running, finished, failed, crashed or killed.
    """

    epochs: list[int]
    pictures: frozenset[str]
    summary: dict[str, Any]
    state: str


class Server:
    """The configured W&B server.

    Raises:
        UserError: no API key is configured, or the server rejects it.
        ServerError: it does not answer.
    """

    def __init__(self) -> None:
        if not has_key():
            raise UserError(f"publishing needs an API key for {server()}: set WANDB_API_KEY, or use `wandb login`")
        _check_reachable(server())
        with _translated_errors():
            self._api = wandb.Api(timeout=SECONDS)
            self._default = self._api.default_entity

    def entity(self, chosen: str | None) -> str:
        """Return `chosen`, else `WANDB_ENTITY` as in training, else the account's default entity."""
        if not (entity := chosen or os.environ.get("WANDB_ENTITY") or self._default):
            raise UserError("the W&B account has no default entity: give one with --entity")
        return str(entity)

    def find(self, entity: str | None, project: str, identity: str) -> RemoteRun | None:
        """Return a run; None if the server has no run with that id.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        with _translated_errors():
            self._api.flush()  # type: ignore[no-untyped-call]  # drop its cached answers
            try:
                run = self._api.run(f"{self.entity(entity)}/{project}/{identity}")
            except CommError as error:
                if "could not find" in str(error).lower():
                    return None
                raise
            rows = list(run.scan_history())
            epochs = [int(row["epoch"]) for row in rows if row.get("epoch") is not None]
            # From the rows, because the summary of a resumed run has the pictures of the last process only.
            pictures = frozenset(key for row in rows for key in row if key.startswith(f"{FOLDER}/"))
            return RemoteRun(epochs, pictures, dict(run.summary), str(run.state))


def refuse_settings(folders: Iterable[Path]) -> None:
    """Refuse W&B's settings in the working directory if it is inside one of these folders of runs.

    The SDK reads such settings, which may come with someone else's runs and send the API key to any server.

    Raises:
        UserError: the working directory is inside one of the folders and has W&B settings.
    """
    settings = Path(wandb.Settings().settings_workspace)
    inside = any(Path.cwd().is_relative_to(folder.resolve()) for folder in folders)
    if inside and settings.exists():
        raise UserError(f"{settings} came with the runs and may name any server: publish from a folder outside of them")


def close() -> None:
    """End the SDK's service process."""
    wandb.teardown()


def _check_reachable(address: str) -> None:
    """Raise a ServerError if nothing answers at this address; the SDK would retry for minutes."""
    try:
        urllib.request.urlopen(address, timeout=SECONDS).close()
    except urllib.error.HTTPError:  # the server answered
        pass
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServerError(f"{address} does not answer ({getattr(error, 'reason', error)})") from error


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn the SDK's errors into `UserError` and `ServerError`."""
    try:
        yield
    except AuthenticationError as error:
        if "401" in str(error) or "403" in str(error):
            raise UserError(f"{server()} rejects the API key: check WANDB_API_KEY, or use `wandb login`") from error
        raise ServerError(f"{server()} does not answer") from error
    except (wandb.Error, OSError, ValueError) as error:
        if "busy and did not respond" in str(error):  # the SDK's service process is waiting for the server
            raise ServerError(f"{server()} does not answer") from error
        raise ServerError(f"{server()}: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
