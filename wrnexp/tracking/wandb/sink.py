"""What a run is watched by: its W&B run, which can fail in every way there is without the run's noticing."""

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
from wrnexp.tracking.wandb.account import quiet, server, settle_mode
from wrnexp.tracking.wandb.files import NAME, last_told

if TYPE_CHECKING:
    from wrnexp.tracking.wandb.mirror import Mirror

LOST_FOR = 600.0  # seconds for which a server that did not answer is not asked again by the next jobs of a process
LEAST_SPACE = 2**20  # bytes; below that much W&B's files are taken to be cut short
SOURCE = Path(__file__).parents[2]


class Wandb(Sink):
    """The W&B run of one job.

    No failure of W&B's is one of the run's: one line says what happened, and `wrnexp publish` fills W&B later, from
    W&B's files where they are whole, else from the record.

    Args:
        mode: `auto`, `online`, `offline` or `disabled`, see `settle_mode`.
        project: the W&B project.
        entity: the W&B user or team; None is the account's default.
        tags: words to find the run by.
        patience: seconds to wait for the server when the run starts, and again when it ends.
        code: save the program's files.
        artifacts: save final weights and predictions.
        record: the run's record.
        plan: how long the run is.
        shared: the folder beside the runs' folders; W&B's files lie in `wandb/` there.
        folder: of the run.
    """

    _asked_in_vain: float | None = None  # when, of this process

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
        self._artifacts, self._said = artifacts, False
        self._mirror: Mirror | None = None
        self._patience = patience
        project, entity = content.destination(record, project, entity)
        self._opening: dict[str, Any] = {
            "project": project, "entity": entity, "tags": tags, "folder": self._files, "patience": patience,
        }  # fmt: skip
        self._identity = content.wandb_id(record)
        if (settled := settle_mode(mode)) == "disabled":
            return
        self._mirror = self._open(settled, record)
        if self._mirror is not None:
            record.provenance["wandb_run"] = self._mirror.place
            if code:
                self._told(lambda mirror: mirror.code(SOURCE))

    def on_resume(self, record: Record, rows: Sequence[Row]) -> None:
        """Log what W&B has not got of the epochs before."""
        self.on_epoch_end(record, rows)

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Log an epoch's row; what was not measured is left out."""
        self._told(lambda mirror: mirror.rows(rows, self._epochs))

    def on_media(self, record: Record, folder: Path) -> None:
        """Log the pictures that are new."""
        self._told(lambda mirror: mirror.pictures(folder))

    def on_run_end(self, record: Record) -> None:
        """Write the summary and end the run: finished where it completed, failed where it did not."""
        if self._artifacts and record.status == "completed":
            self._told(lambda mirror: mirror.results(record, self._folder))
        try:
            if self._mirror is not None:
                self._mirror.close(record)
        except TimeoutError:
            self._say(f"{server()} has not taken everything within {self._patience:g} s", "sends the rest")
        except Exception as error:
            self._say(one_line(error), "puts there what is missing")
            _forget()
        self._mirror = None

    def _open(self, mode: str, record: Record) -> "Mirror | None":
        """Open the W&B run, offline where online cannot be, not at all where W&B's folder cannot be written to."""
        try:
            from wrnexp.tracking.wandb.mirror import Mirror  # the SDK comes with it

            quiet(self._files)
            _check_writable(self._files)
            if mode == "online" and (mirror := self._online(record)) is not None:
                return mirror
            known = last_told(self._files, self._identity)
            return Mirror.open(record, self._identity, mode="offline", known=known, **self._opening)
        except Exception as error:
            self._say(f"no files for it ({one_line(error)})", "makes its run from the record")
            return None

    def _online(self, record: Record) -> "Mirror | None":
        """Open the W&B run at the server; None where that does not answer or says no."""
        from wrnexp.tracking.wandb.mirror import Mirror

        asked = Wandb._asked_in_vain
        if asked is not None and time.monotonic() - asked < LOST_FOR:
            self._say(f"{server()} did not answer a while ago, so this run is kept offline", "puts it online")
            return None
        try:
            mirror = Mirror.open(record, self._identity, mode="online", **self._opening)
        except Exception as error:
            Wandb._asked_in_vain = time.monotonic()
            self._say(f"{server()}: {_reason(error, self._patience)}; this run is kept offline", "puts it online")
            _forget()  # the SDK stays online in this process otherwise
            return None
        Wandb._asked_in_vain = None
        warn(f"W&B: {mirror.url}")
        return mirror

    def _told(self, event: "Callable[[Mirror], None]") -> None:
        """Tell W&B something, which may fail."""
        if self._mirror is None:
            return
        try:
            event(self._mirror)
            if shutil.disk_usage(self._files).free < LEAST_SPACE:
                self._say(
                    f"the disk of {self._files} is full, its files are cut short", "takes the rest from the record"
                )
        except Exception as error:
            self._say(f"not everything was taken ({one_line(error)})", "puts there what is missing")

    def _say(self, what: str, later: str) -> None:
        """Print the one line that a run has on its W&B run's trouble."""
        if not self._said:
            self._said = True
            warn(f"W&B: {what}; the run and its record are whole, `wrnexp publish {self._folder}` {later}")


def _forget() -> None:
    """End the SDK's part in this process: the next run starts it anew, and at exit nothing is told at length."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _check_writable(folder: Path) -> None:
    """Write to W&B's folder; the SDK would take another one without a word.

    Raises:
        OSError: it cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{time.monotonic_ns()}"
    probe.touch()
    probe.unlink()


def _reason(error: Exception, patience: float) -> str:
    """Return in a few words why a server was not reached; the SDK's own say what it was doing then."""
    told = " ".join(str(error).split())
    if refused := re.search(r"connection refused|no such host|HTTP [45]\d\d", told, re.IGNORECASE):
        return refused[0]
    if "deadline exceeded" in told or "timed out" in told:
        return f"no answer within {patience:g} s"
    return told or type(error).__name__
