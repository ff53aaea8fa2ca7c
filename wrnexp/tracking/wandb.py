"""W&B through its own SDK: one run a job, a mirror of the record, never a prompt."""

import netrc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb

from wrnexp.records import Record
from wrnexp.tracking.journal import Plan, Row, Sink


class Wandb(Sink):
    """The W&B run of one job, a sink.

    Args:
        mode: `auto`, `online`, `offline` or `disabled`, see `settle_mode`.
        project: the W&B project.
        entity: the W&B user or team; None is the account's default.
        tags: words to find the run by.
        record: the run's record.
        plan: not used; every sink is given it.
        shared: the folder beside the runs' folders; W&B's files lie in `wandb/` there.
        folder: of the run.
    """

    def __init__(
        self,
        *,
        mode: str,
        project: str,
        entity: str | None,
        tags: Sequence[str],
        record: Record,
        plan: Plan,
        shared: Path,
        folder: Path,
    ) -> None:
        shared.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            mode=settle_mode(mode),
            project=project,
            entity=entity,
            tags=list(tags),
            dir=shared,
            # One id for one experiment: a run that goes on continues its own and never opens a second.
            id=None if "WANDB_SWEEP_ID" in os.environ else wandb_id(record),
            resume="allow",
            reinit="finish_previous",
            name=f"{record.label} seed {record.seed}",
            group=record.sweep,
            job_type=record.label,
            config=record.config,
            notes=" ".join(record.overrides),
            settings=wandb.Settings(silent=True, x_transaction_log_flush_interval=1),
        )
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def log(self, record: Record, rows: Sequence[Row]) -> None:
        """Log an epoch's row; what was not measured is left out."""
        self._run.log({key: value for key, value in rows[-1].items() if value is not None})

    def finish(self, record: Record) -> None:
        """Write the summary and end the run: exit code 0 where it completed, 1 where it did not."""
        figures = {
            **record.metrics,
            **record.cost.model_dump(),
            "status": record.status,
            "test_looks": record.test_looks,
        }
        self._run.summary.update({key: value for key, value in figures.items() if value is not None})
        self._run.finish(exit_code=0 if record.status == "completed" else 1)


def settle_mode(mode: str) -> Any:
    """Return what W&B is to do: `auto` is `WANDB_MODE` where that is set, else online with an API key, else offline."""
    if mode == "auto":
        chosen = os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
        mode = {"dryrun": "offline", "run": "online"}.get(chosen, chosen)
    if mode == "online" and not has_key():  # the SDK would ask for one
        print("W&B: online needs an API key (WANDB_API_KEY, or wandb login); this run is kept offline", file=sys.stderr)
        return "offline"
    return mode


def wandb_id(record: Record) -> str:
    """Return the id of the record's W&B run: the run id, with the start where `rerun` made a second folder."""
    started = str(record.provenance.get("started", ""))
    again = "-" + "".join(filter(str.isdigit, started)) if record.config.get("rerun") else ""
    return f"{record.run_id}{again}"


def has_key() -> bool:
    """Say whether an API key is configured, in the environment or in the user's netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
