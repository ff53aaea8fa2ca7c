"""What a W&B server has of a run, read through W&B's public API."""

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

SECONDS = 15  # to wait for an answer


class ServerError(Exception):
    """The server does not answer, or says no."""


@dataclass(frozen=True)
class RemoteRun:
    """A run as the server has it.

    Attributes:
        epochs: those that it holds a row of, in their order.
        pictures: the keys of those that were logged.
        summary: its summary.
        state: the server's word for it: running, finished, failed, crashed, killed.
    """

    epochs: list[int]
    pictures: frozenset[str]
    summary: dict[str, Any]
    state: str


class Server:
    """The W&B server that is configured.

    Raises:
        UserError: no API key is configured, or the server does not take it.
        ServerError: it does not answer.
    """

    def __init__(self) -> None:
        if not has_key():
            raise UserError(f"publishing needs an API key for {server()}: set WANDB_API_KEY, or use `wandb login`")
        _knock(server())
        with _answering():
            self._api = wandb.Api(timeout=SECONDS)
            self._default = self._api.default_entity

    def entity(self, chosen: str | None) -> str:
        """Return the entity: the one chosen, else `WANDB_ENTITY` as in training, else the account's default."""
        if not (entity := chosen or os.environ.get("WANDB_ENTITY") or self._default):
            raise UserError("the W&B account has no default entity: give one with --entity")
        return str(entity)

    def find(self, entity: str | None, project: str, identity: str) -> RemoteRun | None:
        """Return a run; None where the server has none of that id.

        Raises:
            ServerError: the server does not answer, or says no.
        """
        with _answering():
            self._api.flush()  # type: ignore[no-untyped-call]  # it would answer from memory
            try:
                run = self._api.run(f"{self.entity(entity)}/{project}/{identity}")
            except CommError as error:
                if "could not find" in str(error).lower():
                    return None
                raise
            rows = list(run.scan_history())
            epochs = [int(row["epoch"]) for row in rows if row.get("epoch") is not None]
            # Of a run in several pieces the summary knows the last one's pictures alone.
            shown = frozenset(key for row in rows for key in row if key.startswith(f"{FOLDER}/"))
            return RemoteRun(epochs, shown, dict(run.summary), str(run.state))


def refuse_settings(folders: Iterable[Path]) -> None:
    """Refuse to work with W&B's settings of the working directory where that is a folder of runs.

    The SDK reads them, and they may send the API key to any server: whoever made the runs may have put them there.

    Args:
        folders: the runs' folders, or folders above them.

    Raises:
        UserError: there are such settings in the working directory, which is one of the folders or below one.
    """
    settings = Path(wandb.Settings().settings_workspace)
    inside = any(Path.cwd().is_relative_to(folder.resolve()) for folder in folders)
    if inside and settings.exists():
        raise UserError(f"{settings} came with the runs and may name any server: publish from a folder outside of them")


def close() -> None:
    """End the SDK's own process."""
    wandb.teardown()


def _knock(address: str) -> None:
    """See whether anything answers at the server's address, before the SDK, which would try for minutes.

    Raises:
        ServerError: nothing does.
    """
    try:
        urllib.request.urlopen(address, timeout=SECONDS).close()
    except urllib.error.HTTPError:  # an answer
        pass
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServerError(f"{address} does not answer ({getattr(error, 'reason', error)})") from error


@contextmanager
def _answering() -> Iterator[None]:
    """Turn the SDK's errors into those of this package."""
    try:
        yield
    except AuthenticationError as error:
        if "401" in str(error) or "403" in str(error):
            raise UserError(f"{server()} does not take the API key: check WANDB_API_KEY, or `wandb login`") from error
        raise ServerError(f"{server()} does not answer") from error
    except (wandb.Error, OSError, ValueError) as error:
        if "busy and did not respond" in str(error):  # of the SDK's own process, which is waiting for the server
            raise ServerError(f"{server()} does not answer") from error
        raise ServerError(f"{server()}: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
