"""One W&B run that mirrors one record: the only place that tells the SDK anything."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from wrnexp.runs.journal import Row
from wrnexp.runs.media import AUGMENTED
from wrnexp.runs.record import Record
from wrnexp.tracking.wandb import content
from wrnexp.tracking.wandb.artifacts import log_code, log_results
from wrnexp.tracking.wandb.pictures import pictures


class Mirror:
    """A W&B run of a record, open.

    W&B's step is the epoch, so that nothing can stand there twice: a row of an epoch that it has is not logged again.

    Args:
        run: what `wandb.init` has returned.
        epoch: the last one that it holds a row of.
        shown: the keys of the pictures that it holds.
    """

    def __init__(self, run: wandb.Run, epoch: int = 0, shown: frozenset[str] = frozenset()) -> None:
        self._run, self._epoch, self._shown = run, epoch, set(shown)
        self._pending = False  # a row is not flushed yet, so that pictures can join it

    @classmethod
    def open(
        cls,
        record: Record,
        identity: str,
        *,
        mode: Any,
        project: str,
        entity: str | None,
        folder: Path,
        patience: float,
        tags: Sequence[str] = (),
        known: tuple[int, frozenset[str]] | None = None,
        **settings: Any,
    ) -> "Mirror":
        """Open the record's W&B run: a new one, or that of an earlier process.

        Args:
            record: to mirror.
            identity: the id of its W&B run.
            mode: online, offline or disabled.
            project: the W&B project.
            entity: the W&B user or team; None is the account's default.
            folder: W&B's, on this machine.
            patience: seconds to wait for the server now, and again when the run is closed.
            tags: words to find the run by.
            known: the last epoch and the pictures that W&B has of the run; None is to ask W&B.
            settings: of the SDK, beyond what every run has.

        Raises:
            wandb.Error: the server cannot be reached, or says no.
        """
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            mode=mode,
            project=project,
            entity=entity,
            dir=folder.parent,
            # One id for one experiment: a run that goes on continues its own and never opens a second.
            id=identity,
            resume="allow",
            reinit="finish_previous",
            settings=_settings(patience, content.sweep(record, project), settings),
            **content.opening(record, tags),
        )
        run.define_metric("epoch")
        epoch, shown = known if known is not None else _told_before(run)
        return cls(run, epoch, shown)

    @property
    def place(self) -> dict[str, Any]:
        """Where the run is: `id`, `entity`, `project`, `mode`, and `sweep` where it is of one."""
        run = self._run
        mode = "offline" if run.offline else "online"
        found = {"id": run.id, "entity": run.entity or None, "project": run.project, "mode": mode}
        return found | ({"sweep": run.sweep_id} if run.sweep_id else {})

    @property
    def url(self) -> str | None:
        """The address of the run's page; None where it is offline."""
        return self._run.url

    def code(self, source: Path) -> None:
        """Save the program's files."""
        log_code(self._run, source, Path(self._run.settings.wandb_dir))

    def rows(self, rows: Sequence[Row], epochs: int) -> None:
        """Log the epochs that W&B does not have.

        Args:
            rows: the epochs so far.
            epochs: of the whole run; the last one's row waits for the pictures.
        """
        for row in rows:
            if row["epoch"] > self._epoch:
                self._define(row)
                self._epoch, self._pending = row["epoch"], row["epoch"] == epochs
                self._run.log(content.values(row), step=row["epoch"], commit=not self._pending)

    def pictures(self, folder: Path) -> None:
        """Log the pictures of a run's folder that W&B lacks: before the first epoch the grid alone, as step 0."""
        first = self._epoch == 0
        found = pictures(folder, self._shown, only=AUGMENTED if first else None)
        self._shown |= found.keys()
        step = self._epoch if first or self._pending else self._epoch + 1
        for key, made in found.items():  # one by one: a picture that cannot be taken takes no other along
            self._run.log({key: made}, step=step, commit=False)
            self._pending = True
        if first and found:
            self._run.log({}, commit=True)
            self._pending = False

    def results(self, record: Record, folder: Path) -> None:
        """Log the final weights and predictions as artifacts."""
        log_results(self._run, record, folder)

    def close(self, record: Record) -> None:
        """Write the summary and end the run.

        Raises:
            TimeoutError: the server has not taken everything in time; it lies on this machine.
        """
        if self._pending:  # before the summary, which a row would overwrite
            self._run.log({}, commit=True)
        held, figures = dict(self._run.summary), content.summary(record)
        told = {name: value for name, value in figures.items() if value is not None or held.get(name) is not None}
        self._run.summary.update(told)
        self._run.finish(exit_code=content.exit_code(record))

    def abandon(self) -> None:
        """End the run as failed, whatever becomes of it."""
        with suppress(Exception):
            self._run.finish(exit_code=1)

    def _define(self, row: Row) -> None:
        """Say that curves are drawn against epochs; not with `*`, which would give the grid of pictures an epoch."""
        if not self._epoch:
            for name in row:
                if name != "epoch":
                    self._run.define_metric(name, step_metric="epoch")


# A kill loses what was told in the last second, no more. Finishing late is an error, so that it can be said.
_SETTINGS = {
    "silent": True,
    "x_transaction_log_flush_interval": 1,
    "finish_timeout_raises": True,
}


def _settings(patience: float, sweep: str | None, more: Mapping[str, Any]) -> wandb.Settings:
    """Return the SDK's settings; `sweep` is of a run that its agent has not started this time."""
    return wandb.Settings(init_timeout=patience, finish_timeout=patience, sweep_id=sweep, **(_SETTINGS | dict(more)))


def _told_before(run: wandb.Run) -> tuple[int, frozenset[str]]:
    """Return the last epoch and the pictures that the server has of a run that goes on."""
    if not run.resumed:
        return 0, frozenset()
    held = dict(run.summary)
    return int(held.get("epoch", 0)), frozenset(key for key in held if key.startswith("media/"))
