"""The W&B sink of a run, which survives every failure of W&B."""

import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wrnexp.errors import one_line
from wrnexp.process.terminal import warn
from wrnexp.runs.journal import Row, Sink, TrainingPlan
from wrnexp.runs.record import Record
from wrnexp.tracking.wandb import content
from wrnexp.tracking.wandb.account import configure_sdk, resolve_mode, server
from wrnexp.tracking.wandb.files import NAME, last_logged

if TYPE_CHECKING:
    from wrnexp.tracking.wandb.mirror import Mirror

RETRY_SECONDS = 600.0  # after a failed connection, the next jobs of a process do not try again for this long
MIN_FREE_BYTES = 2**20  # with less free disk space, W&B's files are assumed to be truncated
SOURCE = Path(__file__).parents[2]


class Wandb(Sink):
    """Sink that mirrors one run to W&B.

    A failure of W&B does not fail the run: a single warning reports it, and `wrnexp publish` completes the W&B run
    later, from W&B's local files if they are complete, else from the record.

    Args:
        mode: `auto`, `online`, `offline` or `disabled`, see `resolve_mode`.
        entity: the W&B user or team; None is the account's default.
        patience: seconds to wait for the server when the run starts, and again when it ends.
        code: log the source code.
        artifacts: log final weights and predictions.
        shared: the parent of W&B's local folder `wandb/`.
    """

    _last_failure: float | None = None  # time of this process's last failed connection

    def __init__(
        self,
        *,
        mode: str,
        project: str,
        entity: str | None,
        tags: Sequence[str],
        patience: float,
        code: bool,
        artifacts: bool,
        record: Record,
        plan: TrainingPlan,
        shared: Path,
        folder: Path,
    ) -> None:
        self._folder, self._files, self._epochs = folder, shared / NAME, plan.epochs
        self._artifacts, self._warned = artifacts, False
        self._mirror: Mirror | None = None
        self._patience = patience
        project, entity = content.destination(record, project, entity)
        self._open_arguments: dict[str, Any] = {
            "project": project, "entity": entity, "tags": tags, "folder": self._files, "patience": patience,
        }  # fmt: skip
        self._identity = content.wandb_id(record)
        if (resolved := resolve_mode(mode)) == "disabled":
            return
        self._mirror = self._open(resolved, record)
        if self._mirror is not None:
            record.provenance["wandb_run"] = self._mirror.location
            if code:
                self._attempt(lambda mirror: mirror.log_code(SOURCE))

    def on_resume(self, record: Record, rows: Sequence[Row]) -> None:
        """Log earlier epochs that W&B lacks."""
        self.on_epoch_end(record, rows)

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Log the epoch's row without missing values, and earlier rows that W&B lacks."""
        self._attempt(lambda mirror: mirror.log_rows(rows, self._epochs))

    def on_media(self, record: Record, folder: Path) -> None:
        """Log new pictures."""
        self._attempt(lambda mirror: mirror.log_pictures(folder))

    def on_run_end(self, record: Record) -> None:
        """Write the summary and finish the W&B run."""
        if self._artifacts and record.status == "completed":
            self._attempt(lambda mirror: mirror.log_results(record, self._folder))
        try:
            if self._mirror is not None:
                self._mirror.close(record)
        except TimeoutError:
            self._warn_once(f"{server()} did not receive everything within {self._patience:g} s", "uploads the rest")
        except Exception as error:
            self._warn_once(one_line(error), "uploads what is missing")
            _teardown_sdk()
        self._mirror = None

    def _open(self, mode: str, record: Record) -> "Mirror | None":
        """Open the W&B run, offline if the server fails; None if W&B's local folder is not writable."""
        try:
            from wrnexp.tracking.wandb.mirror import Mirror  # imports the SDK

            configure_sdk(self._files)
            _check_writable(self._files)
            if mode == "online" and (mirror := self._open_online(record)) is not None:
                return mirror
            logged = last_logged(self._files, self._identity)
            return Mirror.open(record, self._identity, mode="offline", already_logged=logged, **self._open_arguments)
        except Exception as error:
            self._warn_once(f"no local files ({one_line(error)})", "creates the W&B run from the record")
            return None

    def _open_online(self, record: Record) -> "Mirror | None":
        """Open the W&B run at the server, or None if it does not answer or refuses."""
        from wrnexp.tracking.wandb.mirror import Mirror

        failed_at = Wandb._last_failure
        if failed_at is not None and time.monotonic() - failed_at < RETRY_SECONDS:
            self._warn_once(f"{server()} did not answer a while ago; this run is logged offline", "uploads it")
            return None
        try:
            mirror = Mirror.open(record, self._identity, mode="online", **self._open_arguments)
        except Exception as error:
            Wandb._last_failure = time.monotonic()
            self._warn_once(f"{server()}: {_reason(error, self._patience)}; this run is logged offline", "uploads it")
            _teardown_sdk()  # otherwise the SDK stays online in this process
            return None
        Wandb._last_failure = None
        warn(f"W&B: {mirror.url}")
        return mirror

    def _attempt(self, action: "Callable[[Mirror], None]") -> None:
        """Call `action` if there is a W&B run, and turn errors into the warning."""
        if self._mirror is None:
            return
        try:
            action(self._mirror)
            if shutil.disk_usage(self._files).free < MIN_FREE_BYTES:
                self._warn_once(f"the disk of {self._files} is full, its files are truncated", "uploads the record")
        except Exception as error:
            self._warn_once(f"not everything was logged ({one_line(error)})", "uploads what is missing")

    def _warn_once(self, problem: str, remedy: str) -> None:
        if not self._warned:
            self._warned = True
            warn(f"W&B: {problem}; the run and its record are not affected, `wrnexp publish {self._folder}` {remedy}")


def _teardown_sdk() -> None:
    """Shut down the SDK in this process: the next run starts it again, and it prints nothing at exit."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _check_writable(folder: Path) -> None:
    """Raise an OSError if W&B's folder is not writable; the SDK would silently use another one."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{time.monotonic_ns()}"
    probe.touch()
    probe.unlink()


def _reason(error: Exception, patience: float) -> str:
    message = " ".join(str(error).split())
    if refusal := re.search(r"connection refused|no such host|HTTP [45]\d\d", message, re.IGNORECASE):
        return refusal[0]
    if "deadline exceeded" in message or "timed out" in message:
        return f"no answer within {patience:g} s"
    return message or type(error).__name__
