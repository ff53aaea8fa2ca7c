"""Upload of runs to W&B: compares each record with the server and uploads what is missing.

W&B's local files hold more than the record (system metrics, console output), but syncing them to a run that the server
already has in part duplicates rows. So they are used only for runs that the server does not have; everything else is
uploaded from the record, epoch by epoch.
"""

import math
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wrnexp.runs.locks import is_locked
from wrnexp.runs.strict_json import finite
from wrnexp.tracking.wandb import content
from wrnexp.tracking.wandb.account import configure_sdk
from wrnexp.tracking.wandb.files import epochs_of, wandb_command
from wrnexp.tracking.wandb.mirror import Mirror
from wrnexp.wandb_publish.local import LocalRun
from wrnexp.wandb_publish.server import RemoteRun, Server, ServerError

Action = Literal["there", "busy", "send", "complete"]
SETTLING = 15.0  # seconds within which the server must show what was uploaded
PATIENCE = 120.0  # seconds for the server to receive one run
SENDING = 30.0  # additional seconds per run for `wandb sync`
TOGETHER = 8  # runs that are uploaded at once
_SETTINGS = {  # log nothing about the machine that publishes
    "console": "off", "x_disable_meta": True, "x_disable_stats": True, "x_save_requirements": False,
}  # fmt: skip


@dataclass(frozen=True)
class Upload:
    """What has to be uploaded: nothing (`there`, `busy`), W&B's files (`send`), or part of the record (`complete`).

    Attributes:
        detail: completes the sentence that begins with the action, for the console.
    """

    action: Action
    detail: str


def plan_upload(run: LocalRun, remote: RemoteRun | None, *, rebuild: bool = False) -> Upload:
    """Compare a run with its state at the server; with `rebuild`, do not use W&B's local files."""
    if is_locked(run.folder):
        return Upload("busy", "it is being trained")
    if remote is None:
        if not rebuild and _has_usable_files(run):
            return Upload("send", f"from W&B's files, {_counted(run.epochs)}")
        return Upload("complete", f"from its record, {_counted(run.epochs)}")
    missing = sorted(set(run.epochs) - set(remote.epochs))
    last = max(remote.epochs, default=0)
    later, gaps = [epoch for epoch in missing if epoch > last], [epoch for epoch in missing if epoch <= last]
    lacking = [
        *([_counted(later)] if later else []),
        *(["its summary"] if _differing_names(run, remote) else []),
        *([f"{len(names)} pictures"] if (names := _missing_pictures(run, remote)) else []),
        *(["its final state"] if not _has_final_state(run, remote) else []),
    ]
    if lacking:
        return Upload("complete", f"{', '.join(lacking)} from its record")
    if gaps:
        return Upload("there", f"except {_counted(gaps)} before its last one, which W&B no longer accepts")
    return Upload("there", "nothing to do")


def publish(
    runs: Sequence[LocalRun], server: Server, *, rebuild: bool = False
) -> Iterator[tuple[LocalRun, Upload | ServerError]]:
    """Upload what the server lacks of each run; yield each run with its upload or the error.

    With `rebuild`, W&B's local files are not used.

    Raises:
        ServerError: the server stopped answering.
    """
    for start in range(0, len(runs), TOGETHER):
        batch = runs[start : start + TOGETHER]
        remotes = [_find_remote(run, server) for run in batch]
        uploads = [plan_upload(run, remote, rebuild=rebuild) for run, remote in zip(batch, remotes, strict=True)]
        failure = _sync_files(
            [run for run, upload in zip(batch, uploads, strict=True) if upload.action == "send"], server
        )
        for run, remote, upload in zip(batch, remotes, uploads, strict=True):
            try:
                if upload.action == "send":
                    remote = _await_upload(run, server) if failure is None else _find_remote(run, server)
                if upload.action in ("send", "complete"):
                    _complete(run, remote, server, failure)
                yield run, upload
            except ServerError as error:
                yield run, error
                _find_remote(run, server)  # raises if the server is gone


def _complete(run: LocalRun, remote: RemoteRun | None, server: Server, failure: str | None) -> None:
    """Upload from the record what the server lacks, and check that the server shows it.

    Raises:
        ServerError: the server does not show it; the message includes `failure`, that of an earlier sync.
    """
    if plan_upload(run, remote, rebuild=True).action != "complete":
        return
    _upload_record(run, remote, server.entity(run.entity))
    remote = _await_upload(run, server)
    remaining = plan_upload(run, remote, rebuild=True)
    if remaining.action == "complete":
        missing = "the run" if remote is None else remaining.detail.removesuffix(" from its record")
        reason = f"; {failure}" if failure else ""
        raise ServerError(f"the server does not show {missing} {SETTLING:.0f} s after it was sent{reason}")


def _find_remote(run: LocalRun, server: Server) -> RemoteRun | None:
    return server.find(run.entity, run.project, run.identity)


def _has_usable_files(run: LocalRun) -> bool:
    """Return True if W&B's files hold the run's first epochs without a gap, so that the rest can be appended."""
    epochs = epochs_of(run.fragments)
    return bool(run.fragments) and epochs == run.epochs[: len(epochs)]


def _sync_files(runs: Sequence[LocalRun], server: Server) -> str | None:
    """Upload W&B's local files of runs; return the error message, if any. The records then supply what is missing."""
    failure = None
    for entity, project in sorted({(server.entity(run.entity), run.project) for run in runs}):
        in_project = [run for run in runs if (server.entity(run.entity), run.project) == (entity, project)]
        paths = [str(fragment.folder) for run in in_project for fragment in run.fragments]
        options = ["--include-online", "--include-synced", "--entity", entity, "--project", project]
        failure = _sync([*options, "-n", str(TOGETHER), *paths], PATIENCE + SENDING * len(in_project)) or failure
    return failure


def _sync(arguments: Sequence[str], seconds: float) -> str | None:
    """Run `wandb sync`; return the error message, if any."""
    try:
        completed = wandb_command(["sync", *arguments], seconds)
    except subprocess.TimeoutExpired:
        return f"wandb sync did not finish within {seconds:.0f} s"
    if not completed.returncode:
        return None
    lines = (completed.stderr or completed.stdout).strip().splitlines()
    return f"wandb sync failed: {lines[-1] if lines else f'exit code {completed.returncode}'}"


def _upload_record(run: LocalRun, remote: RemoteRun | None, entity: str) -> None:
    """Upload what the server lacks from the record; create the W&B run if there is none."""
    epoch = max(remote.epochs, default=0) if remote else 0
    pictures = remote.pictures if remote else frozenset()
    with _temporary_wandb_folder() as folder, _server_errors():
        mirror = Mirror.open(
            run.record,
            run.identity,
            mode="online",
            project=run.project,
            entity=entity,
            folder=folder,
            patience=PATIENCE,
            tags=run.setting("tags", []),
            already_logged=(epoch, pictures),
            **_SETTINGS,
        )
        try:
            mirror.log_pictures(run.folder)
            mirror.log_rows(run.rows, run.epochs[-1] if run.epochs else 0)
            mirror.log_pictures(run.folder)
            if run.setting("artifacts", False) and run.record.status == "completed":
                mirror.log_results(run.record, run.folder)
            mirror.close(run.record)
        except BaseException:
            mirror.abandon()
            raise


@contextmanager
def _temporary_wandb_folder() -> Iterator[Path]:
    """Keep W&B's files of the upload out of those of the processes that trained the run."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        configure_sdk(Path(folder) / "wandb")
        yield Path(folder) / "wandb"


@contextmanager
def _server_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ServerError(f"the server did not receive everything within {PATIENCE:.0f} s") from error
    except Exception as error:
        raise ServerError((str(error).splitlines() or [type(error).__name__])[0]) from error


def _await_upload(run: LocalRun, server: Server) -> RemoteRun | None:
    """Return the server's state once it shows everything, or after `SETTLING` seconds."""
    deadline = time.monotonic() + SETTLING
    while True:
        remote = _find_remote(run, server)
        if plan_upload(run, remote, rebuild=True).action != "complete" or time.monotonic() > deadline:
            return remote
        time.sleep(0.5)


def _differing_names(run: LocalRun, remote: RemoteRun) -> list[str]:
    summary = finite(content.summary(run.record))
    return [name for name, value in summary.items() if not _equal(value, remote.summary.get(name))]


def _equal(local: Any, remote: Any) -> bool:
    if isinstance(local, float) and isinstance(remote, int | float):
        return math.isclose(local, remote, rel_tol=1e-9)
    return bool(local == remote)


def _missing_pictures(run: LocalRun, remote: RemoteRun) -> list[str]:
    return [picture.name for picture in run.pictures if picture.name not in remote.pictures]


def _has_final_state(run: LocalRun, remote: RemoteRun) -> bool:
    if content.exit_code(run.record) == 0:
        return remote.state == "finished"
    return remote.state not in ("running", "finished")


def _counted(epochs: list[int]) -> str:
    return f"{len(epochs)} epoch" if len(epochs) == 1 else f"{len(epochs)} epochs"
