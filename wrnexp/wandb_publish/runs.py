"""Runs put into W&B: what each needs, found by comparing its record with the server, and the doing of it.

A run is sent from W&B's own files only where the server has nothing of it, for those bring what records do not hold
(system metrics, console output), but sent onto a part of themselves they would double it. All else comes from the
record, by epochs that the server does not have.
"""

import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wrnexp.runs.locks import is_locked as is_held
from wrnexp.runs.strict_json import finite
from wrnexp.tracking.wandb import content
from wrnexp.tracking.wandb.account import quiet
from wrnexp.tracking.wandb.files import epochs_of, wandb_command
from wrnexp.tracking.wandb.mirror import Mirror
from wrnexp.wandb_publish.local import LocalRun
from wrnexp.wandb_publish.server import RemoteRun, Server, ServerError

What = Literal["there", "busy", "send", "complete"]
SETTLING = 15.0  # seconds in which a server is to show what it was sent
PATIENCE = 120.0  # seconds for the server to take one run
SENDING = 30.0  # seconds more for W&B's own sync of each run
TOGETHER = 8  # runs that are sent at once
# Nothing of the machine that publishes is to stand in the run of another.
_SETTINGS = {
    "console": "off", "x_disable_meta": True, "x_disable_stats": True, "x_save_requirements": False,
}  # fmt: skip


@dataclass(frozen=True)
class Upload:
    """What a run needs: nothing (`there`, `busy`), W&B's files sent (`send`), or a part of its record (`complete`)."""

    what: What
    why: str


def need(run: LocalRun, remote: RemoteRun | None, *, rebuild: bool = False) -> Upload:
    """Compare a run with what the server has of it.

    Args:
        run: as this machine has it.
        remote: as the server has it.
        rebuild: take nothing from W&B's files.
    """
    if is_held(run.folder):
        return Upload("busy", "it is being trained")
    if remote is None:
        if not rebuild and _whole(run):
            return Upload("send", f"from W&B's files, {_counted(run.epochs)}")
        return Upload("complete", f"from its record, {_counted(run.epochs)}")
    missing = sorted(set(run.epochs) - set(remote.epochs))
    last = max(remote.epochs, default=0)
    later, gaps = ([epoch for epoch in missing if (epoch > last) is wanted] for wanted in (True, False))
    lacking = [
        *([_counted(later)] if later else []),
        *(["its summary"] if _differing(run, remote) else []),
        *([f"{len(names)} pictures"] if (names := _unseen(run, remote)) else []),
        *(["its end"] if not _ended(run, remote) else []),
    ]
    if lacking:
        return Upload("complete", f"{', '.join(lacking)} from its record")
    whole = "nothing to do" if not gaps else f"but for {_counted(gaps)} before its last one, which W&B takes no more"
    return Upload("there", whole)


def publish(
    runs: Sequence[LocalRun], server: Server, *, rebuild: bool = False
) -> Iterator[tuple[LocalRun, Upload | ServerError]]:
    """Bring runs to where the server shows all of their records; yield each with what was done, or why it was not.

    Args:
        runs: to publish, in this order.
        server: where to.
        rebuild: take nothing from W&B's files.

    Raises:
        ServerError: the server does not answer any more.
    """
    for start in range(0, len(runs), TOGETHER):
        batch = runs[start : start + TOGETHER]
        remotes = [_held(run, server) for run in batch]
        needs = [need(run, remote, rebuild=rebuild) for run, remote in zip(batch, remotes, strict=True)]
        failure = _send([run for run, needed in zip(batch, needs, strict=True) if needed.what == "send"], server)
        for run, remote, needed in zip(batch, remotes, needs, strict=True):
            try:
                if needed.what == "send":
                    remote = _settled(run, server) if failure is None else _held(run, server)
                if needed.what in ("send", "complete"):
                    _finish(run, remote, server, failure)
                yield run, needed
            except ServerError as error:
                yield run, error
                _held(run, server)  # a server that is gone ends it here


def _finish(run: LocalRun, remote: RemoteRun | None, server: Server, failure: str | None) -> None:
    """Add from a run's record what the server lacks of it, and see that it is there.

    Raises:
        ServerError: it is not there; the message says why.
    """
    if need(run, remote, rebuild=True).what != "complete":
        return
    _complete(run, remote, server.entity(run.entity))
    remote = _settled(run, server)
    if need(run, remote, rebuild=True).what == "complete":
        why = f"; {failure}" if failure else ""
        raise ServerError(f"the server does not show {_lacking(run, remote)} {SETTLING:.0f} s after it was sent{why}")


def _held(run: LocalRun, server: Server) -> RemoteRun | None:
    """Return what the server has of a run."""
    return server.find(run.entity, run.project, run.identity)


def _lacking(run: LocalRun, remote: RemoteRun | None) -> str:
    """Say what is not there."""
    told = need(run, remote, rebuild=True).why
    return "the run" if remote is None else told.removesuffix(" from its record")


def _whole(run: LocalRun) -> bool:
    """Say whether W&B's files hold the run's first epochs without a gap, so that the rest can be added."""
    epochs = epochs_of(run.fragments)
    return bool(run.fragments) and epochs == run.epochs[: len(epochs)]


def _send(runs: Sequence[LocalRun], server: Server) -> str | None:
    """Send W&B's files of runs, those of each in their order; return what went wrong, in words.

    What then is not there comes from the records.
    """
    failure = None
    for entity, project in sorted({(server.entity(run.entity), run.project) for run in runs}):
        chosen = [run for run in runs if (server.entity(run.entity), run.project) == (entity, project)]
        paths = [str(fragment.folder) for run in chosen for fragment in run.fragments]
        options = ["--include-online", "--include-synced", "--entity", entity, "--project", project]
        failure = _sync([*options, "-n", str(TOGETHER), *paths], PATIENCE + SENDING * len(chosen)) or failure
    return failure


def _sync(arguments: Sequence[str], seconds: float) -> str | None:
    """Run W&B's own sync; return what went wrong, in words."""
    try:
        done = wandb_command(["sync", *arguments], seconds)
    except subprocess.TimeoutExpired:
        return f"W&B's own sync was not done after {seconds:.0f} s"
    if not done.returncode:
        return None
    told = (done.stderr or done.stdout).strip().splitlines()
    return f"W&B's own sync failed: {told[-1] if told else f'exit code {done.returncode}'}"


def _complete(run: LocalRun, remote: RemoteRun | None, entity: str) -> None:
    """Add to a run what the server lacks; make it where there is none.

    Raises:
        ServerError: not everything was taken.
    """
    epoch = max(remote.epochs, default=0) if remote else 0
    shown = remote.pictures if remote else frozenset()
    with _apart() as folder, _taken():
        mirror = Mirror.open(
            run.record,
            run.identity,
            mode="online",
            project=run.project,
            entity=entity,
            folder=folder,
            patience=PATIENCE,
            tags=run.setting("tags", []),
            known=(epoch, shown),
            **_SETTINGS,
        )
        try:
            mirror.pictures(run.folder)
            mirror.rows(run.rows, run.epochs[-1] if run.epochs else 0)
            mirror.pictures(run.folder)
            if run.setting("artifacts", False) and run.record.status == "completed":
                mirror.results(run.record, run.folder)
            mirror.close(run.record)
        except BaseException:
            mirror.abandon()
            raise


@contextmanager
def _apart() -> Iterator[Path]:
    """Give W&B a folder of its own for what it writes here: the run's are those of the processes that trained it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        quiet(Path(folder) / "wandb")
        yield Path(folder) / "wandb"


@contextmanager
def _taken() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ServerError(f"not everything was taken within {PATIENCE:.0f} s") from error
    except Exception as error:
        raise ServerError((str(error).splitlines() or [type(error).__name__])[0]) from error


def _settled(run: LocalRun, server: Server, now: Callable[[], float] = time.monotonic) -> RemoteRun | None:
    """Return what the server has once it shows all that it was sent, or what it shows in the end."""
    until = now() + SETTLING
    while True:
        remote = _held(run, server)
        if need(run, remote, rebuild=True).what != "complete" or now() > until:
            return remote
        time.sleep(0.5)


def _differing(run: LocalRun, remote: RemoteRun) -> list[str]:
    """Return the names of the record's figures that the summary has not, or has and the record has not."""
    wanted = finite(content.summary(run.record))
    return [name for name, value in wanted.items() if not _equal(value, remote.summary.get(name))]


def _equal(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(wanted, found, rel_tol=1e-9)
    return bool(wanted == found)


def _unseen(run: LocalRun, remote: RemoteRun) -> list[str]:
    return [picture.name for picture in run.pictures if picture.name not in remote.pictures]


def _ended(run: LocalRun, remote: RemoteRun) -> bool:
    """Say whether the server knows how the run ended."""
    if content.exit_code(run.record) == 0:
        return remote.state == "finished"
    return remote.state not in ("running", "finished")


def _counted(epochs: list[int]) -> str:
    return f"{len(epochs)} epoch" if len(epochs) == 1 else f"{len(epochs)} epochs"
