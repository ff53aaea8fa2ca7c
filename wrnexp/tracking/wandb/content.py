"""What of a record stands where in its W&B run: functions of the record alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from wrnexp.errors import is_pruned
from wrnexp.runs.journal import Row
from wrnexp.runs.record import Record
from wrnexp.runs.strict_json import finite

KILLED = 130  # the exit code of a run that a signal has ended


def wandb_id(record: Record) -> str:
    """Return the id of the record's W&B run: one experiment has one, however often it is started.

    It is the one that the record names already, an agent's of a W&B sweep from the start; else the run id, with the
    start where `rerun` made a second folder.
    """
    if known := place(record).get("id"):
        return str(known)
    started = str(record.provenance.get("started", ""))
    again = "-" + "".join(filter(str.isdigit, started)) if record.config.get("rerun") else ""
    return f"{record.run_id}{again}"


def place(record: Record) -> Mapping[str, Any]:
    """Return `id`, `entity`, `project`, `sweep` of the record's W&B run and `mode`; nothing where it never had one."""
    found = record.provenance.get("wandb_run")
    return found if isinstance(found, Mapping) else {}


def sweep(record: Record, project: str) -> str | None:
    """Return the id of the W&B sweep that the record's W&B run is of, if that is in this project."""
    found = place(record)
    return found.get("sweep") if found.get("project") in (None, project) else None


def destination(record: Record, project: str, entity: str | None) -> tuple[str, str | None]:
    """Return where the record's W&B run is to be: in its W&B sweep's project, without one in the project given."""
    found = place(record) if "sweep" in place(record) else {}
    return found.get("project") or project, found.get("entity") or entity


def recipe(record: Record) -> str:
    """Return the name of what the four groups were set to, for instance `light`; of early records the label."""
    return str(record.provenance.get("recipe") or record.label)


def opening(record: Record, tags: Sequence[str]) -> dict[str, Any]:
    """Return what a W&B run is found and filtered by, as arguments of `wandb.init`.

    The config is the record's, nested, and beside it `run` (run_id, arm_id, label, recipe, sweep), `digest` (the
    content digests of the data) and `provenance`.
    """
    named = {"run_id": record.run_id, "arm_id": record.arm_id, "label": record.label}
    told = {key: value for key, value in record.provenance.items() if key not in ("wandb_run", "finished")}
    return {
        "name": f"{record.label} seed {record.seed}",
        "group": record.sweep,
        "job_type": recipe(record),
        "notes": " ".join(record.overrides),
        "tags": list(tags),
        "config": {
            **record.config,
            "run": {**named, "recipe": recipe(record), "sweep": record.sweep},
            "digest": {} if record.data is None else dict(record.data.digest),
            "provenance": told,
        },
    }


def values(row: Row) -> dict[str, Any]:
    """Return what a row says; what was not measured, or is no number, is left out."""
    return {key: value for key, value in finite(dict(row)).items() if value is not None}


def summary(record: Record) -> dict[str, Any]:
    """Return the record's figures by plain names: metrics, costs, `time_to/0.70` and the like, looks, and the end.

    What the record has no value of is None: a summary of an earlier attempt may still have one.
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
    """Return 0 for a run that ended as it was meant to, which makes W&B call it finished, else another number."""
    if record.status == "completed" or is_pruned(record.error):
        return 0
    return KILLED if record.status == "interrupted" else 1
