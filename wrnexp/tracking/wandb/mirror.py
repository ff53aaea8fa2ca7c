"""One W&B run as a mirror of one record."""

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
from wrnexp.tracking.wandb.pictures import load_pictures


class Mirror:
    """An open W&B run. Its step is the epoch, and each epoch is logged once.

    Args:
        run: what `wandb.init` returned.
        epoch: the last epoch that the run has a row for.
        pictures: keys of the pictures that the run has.
    """

    def __init__(self, run: wandb.Run, epoch: int = 0, pictures: frozenset[str] = frozenset()) -> None:
        self._run, self._epoch, self._logged_pictures = run, epoch, set(pictures)
        self._pending = False  # whether the last row is not committed yet, so that pictures can be added to it

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
        already_logged: tuple[int, frozenset[str]] | None = None,
        **settings: Any,
    ) -> "Mirror":
        """Open the record's W&B run: a new one, or resume that of an earlier process.

        Args:
            identity: the id of the W&B run.
            mode: online, offline or disabled.
            entity: the W&B user or team; None is the account's default.
            folder: W&B's local folder.
            patience: seconds to wait for the server now, and again when the run is closed.
            already_logged: the last epoch and the picture keys that W&B has; None asks W&B.
            settings: additional settings of the SDK.

        Raises:
            wandb.Error: the server cannot be reached or refuses.
        """
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            mode=mode,
            project=project,
            entity=entity,
            dir=folder.parent,
            # A resumed run continues under the same id and never opens a second W&B run.
            id=identity,
            resume="allow",
            reinit="finish_previous",
            settings=_settings(patience, content.sweep_id(record, project), settings),
            **content.init_arguments(record, tags),
        )
        run.define_metric("epoch")
        return cls(run, *(already_logged if already_logged is not None else _logged_at_server(run)))

    @property
    def location(self) -> dict[str, Any]:
        """`id`, `entity`, `project` and `mode` of the W&B run, and `sweep` if it belongs to a W&B sweep."""
        run = self._run
        mode = "offline" if run.offline else "online"
        location = {"id": run.id, "entity": run.entity or None, "project": run.project, "mode": mode}
        return location | ({"sweep": run.sweep_id} if run.sweep_id else {})

    @property
    def url(self) -> str | None:
        """URL of the run's page; None if it is offline."""
        return self._run.url

    def log_code(self, source: Path) -> None:
        """Log the source code of the package in the folder `source`."""
        log_code(self._run, source, Path(self._run.settings.wandb_dir))

    def log_rows(self, rows: Sequence[Row], epochs: int) -> None:
        """Log the rows of epochs that W&B lacks; the last of all `epochs` is committed later, with the pictures."""
        for row in rows:
            if row["epoch"] > self._epoch:
                self._define(row)
                self._epoch, self._pending = row["epoch"], row["epoch"] == epochs
                self._run.log(content.measured(row), step=row["epoch"], commit=not self._pending)

    def log_pictures(self, folder: Path) -> None:
        """Log pictures that W&B lacks from a run's folder; before the first epoch only the augmented images, step 0."""
        before_training = self._epoch == 0
        new = load_pictures(folder, self._logged_pictures, only=AUGMENTED if before_training else None)
        self._logged_pictures |= new.keys()
        step = self._epoch if before_training or self._pending else self._epoch + 1
        for key, picture in new.items():  # separately, so that one rejected picture does not affect the others
            self._run.log({key: picture}, step=step, commit=False)
            self._pending = True
        if before_training and new:
            self._run.log({}, commit=True)
            self._pending = False

    def log_results(self, record: Record, folder: Path) -> None:
        """Log the final weights and predictions as artifacts."""
        log_results(self._run, record, folder)

    def close(self, record: Record) -> None:
        """Write the summary and finish the run.

        Raises:
            TimeoutError: the server did not receive everything in time; the rest is in W&B's local files.
        """
        if self._pending:  # before the summary, which a row would overwrite
            self._run.log({}, commit=True)
        present, summary = dict(self._run.summary), content.summary(record)
        summary = {name: value for name, value in summary.items() if value is not None or present.get(name) is not None}
        self._run.summary.update(summary)
        self._run.finish(exit_code=content.exit_code(record))

    def abandon(self) -> None:
        """Finish the run as failed and suppress errors."""
        with suppress(Exception):
            self._run.finish(exit_code=1)

    def _define(self, row: Row) -> None:
        """Plot each metric against the epoch; `*` would also match the grid of augmented images, which has no epoch."""
        if not self._epoch:
            for name in row:
                if name != "epoch":
                    self._run.define_metric(name, step_metric="epoch")


_SETTINGS = {
    "silent": True,
    "x_transaction_log_flush_interval": 1,  # a kill loses one second of logs at most
    "finish_timeout_raises": True,  # so that a late finish can be reported
}


def _settings(patience: float, sweep: str | None, more: Mapping[str, Any]) -> wandb.Settings:
    """Return the SDK's settings; `sweep` keeps a run in its W&B sweep when no agent started it this time."""
    return wandb.Settings(init_timeout=patience, finish_timeout=patience, sweep_id=sweep, **(_SETTINGS | dict(more)))


def _logged_at_server(run: wandb.Run) -> tuple[int, frozenset[str]]:
    """Return the last epoch and the picture keys that the server has of a resumed run."""
    if not run.resumed:
        return 0, frozenset()
    summary = dict(run.summary)
    return int(summary.get("epoch", 0)), frozenset(key for key in summary if key.startswith("media/"))
