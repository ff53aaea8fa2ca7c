"""The contents of a W&B run, computed from the record alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from wrnexp.errors import is_pruned
from wrnexp.runs.journal import Row
from wrnexp.runs.record import Record
from wrnexp.runs.strict_json import finite

KILLED = 130  # exit code of a run that was ended by a signal


def wandb_id(record: Record) -> str:
    """Return the id of the record's W&B run, the same for every process that trains the run.

    It is the id in the record if there is one (that of an agent's run in a W&B sweep, for instance), else the run id,
    with the start time appended if `rerun` is set.
    """
    if identity := wandb_location(record).get("id"):
        return str(identity)
    started = str(record.provenance.get("started", ""))
    suffix = "-" + "".join(filter(str.isdigit, started)) if record.config.get("rerun") else ""
    return f"{record.run_id}{suffix}"


def wandb_location(record: Record) -> Mapping[str, Any]:
    """Return `id`, `entity`, `project`, `mode` and `sweep` of the record's W&B run; empty if it never had one."""
    location = record.provenance.get("wandb_run")
    return location if isinstance(location, Mapping) else {}


def sweep_id(record: Record, project: str) -> str | None:
    """Return the id of the W&B sweep that the record's W&B run belongs to, or None if it is not in this project."""
    location = wandb_location(record)
    return location.get("sweep") if location.get("project") in (None, project) else None


def destination(record: Record, project: str, entity: str | None) -> tuple[str, str | None]:
    """Return project and entity of the record's W&B run: those of its W&B sweep, else the arguments."""
    location = wandb_location(record)
    if "sweep" not in location:
        return project, entity
    return location.get("project") or project, location.get("entity") or entity


def recipe(record: Record) -> str:
    """Return the recipe's name, for instance `light`; for records without one the label."""
    return str(record.provenance.get("recipe") or record.label)


def init_arguments(record: Record, tags: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `wandb.init` by which a W&B run is found and filtered.

    The config is the record's, nested, plus `run` (run_id, arm_id, label, recipe, sweep), `digest` (the content
    digests of the data) and `provenance`.
    """
    names = {"run_id": record.run_id, "arm_id": record.arm_id, "label": record.label}
    provenance = {key: value for key, value in record.provenance.items() if key not in ("wandb_run", "finished")}
    return {
        "name": f"{record.label} seed {record.seed}",
        "group": record.sweep,
        "job_type": recipe(record),
        "notes": " ".join(record.overrides),
        "tags": list(tags),
        "config": {
            **record.config,
            "run": {**names, "recipe": recipe(record), "sweep": record.sweep},
            "digest": {} if record.data is None else dict(record.data.digest),
            "provenance": provenance,
        },
    }


def measured(row: Row) -> dict[str, Any]:
    """Return a row without values that are missing or not finite."""
    return {key: value for key, value in finite(dict(row)).items() if value is not None}


def summary(record: Record) -> dict[str, Any]:
    """Return metrics, costs, times to accuracy (`time_to/0.70`), test set reads, and status of the record.

    Missing values are None, because the W&B summary of an earlier attempt may hold one that must be overwritten.
    """
    return {
        **record.metrics,
        **record.cost.model_dump(),
        **{f"time_to/{level}": seconds for level, seconds in record.time_to.items()},
        "test_looks": record.test_looks,
        "status": record.status,
        "error": record.error,
    }


def exit_code(record: Record) -> int:
    """Return 0 for a completed or pruned run, which W&B then shows as finished; otherwise nonzero."""
    if record.status == "completed" or is_pruned(record.error):
        return 0
    return KILLED if record.status == "interrupted" else 1
