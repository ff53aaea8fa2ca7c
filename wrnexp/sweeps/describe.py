"""A sweep in the words of sweep.json, and what has changed since it was last started."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from wrnexp.config import identity
from wrnexp.config.check import message, problems
from wrnexp.errors import UserError, one_line
from wrnexp.runs import provenance
from wrnexp.runs.locks import is_locked
from wrnexp.runs.ownership import own_record, results_to_repair
from wrnexp.runs.record import RecordError
from wrnexp.sweeps.jobs import Job
from wrnexp.sweeps.sweep_json import Code, JobEntry, State, Sweep, completed_record, question_of, state_of

SOURCE = Path(__file__).parents[1]
SHOWN = 5  # changed keys in one note


def described(config: DictConfig, folder: Path) -> Sweep:
    """Return the sweep that a command describes, without axes and jobs."""
    return Sweep(
        name=folder.name,
        question=_question(config),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        code=Code(git_commit=provenance.git_commit(SOURCE), digest=provenance.code_digest(SOURCE)),
        started=provenance.now(),
    )


def factor_common_settings(jobs: Sequence[Job], folder: Path) -> tuple[dict[str, Any], list[JobEntry]]:
    """Return the settings that all jobs share, and each job with those of its own."""
    each = [identity.flat(identity.identity_config(job.values)) for job in jobs]
    first = each[0] if each else {}
    absent = object()
    common = {key: value for key, value in first.items() if all(one.get(key, absent) == value for one in each)}
    return common, [
        JobEntry(
            run_id=job.run_id,
            arm_id=identity.arm_id(job.values),
            label=job.label,
            seed=job.values["seed"] if isinstance(job.values["seed"], int) else -1,
            folder=os.path.relpath(job.folder, folder),  # hydra.sweep.subdir may lead out of the sweep's folder
            overrides=list(job.overrides),
            settings={key: value for key, value in settings.items() if key not in common},
            roles=[dict(role) for role in job.roles],
        )
        for job, settings in zip(jobs, each, strict=True)
    ]


def job_state(job: Job) -> tuple[State, str | None]:
    """Return the state of a job by its record and, where it went wrong, one line that says how."""
    return state_of(job.folder, job.run_id, job.values)


def data_may_change(job: Job) -> bool:
    """Say whether a job's images may be others than when it was trained: their name does not say which they are."""
    return not identity.has_known_content(job.values)


def needs_verification(job: Job) -> bool:
    """Say whether a completed job is launched again, to compare its images or to write damaged results anew."""
    record = completed_record(job.folder, job.run_id)
    return data_may_change(job) or (record is not None and bool(results_to_repair(job.folder, record)))


def folder_problem(job: Job) -> str | None:
    """Return one line on why a job cannot run in its folder; None if it can, or if the run itself must find out."""
    rerun = job.values.get("rerun") is True
    try:
        own_record(job.folder, job.run_id, job.values, rerun=rerun, busy=is_locked(job.folder))
    except UserError as error:
        return one_line(error)
    except RecordError:  # damaged
        return None
    return None


def mistake(job: Job) -> str | None:
    """Return one line on why a job cannot run, as far as its config and folder tell before it runs; None if it can."""
    if problem := folder_problem(job):
        return problem
    done = job_state(job)[0] == "completed"
    return None if done or not (wrong := problems(job.values)) else one_line(UserError(message(wrong)))


def changes(before: Sweep, now: Sweep, folder: Path) -> Iterator[str]:
    """Yield a line for each way in which code or configuration has drifted since the sweep was last started."""
    if before.code.digest and before.code.digest != now.code.digest:
        old = sum(1 for job in now.jobs if _code(job, folder) not in (None, now.code.digest))
        yield (
            f"the code has changed since this sweep was last started ({before.code.digest} then, {now.code.digest} "
            f"now); {old} of its completed runs were made by other code than today's"
        )
    earlier = {tuple(job.overrides): job for job in before.jobs}
    drifted = [
        (earlier[key], job)
        for job in now.jobs
        if (key := tuple(job.overrides)) in earlier and earlier[key].run_id != job.run_id
    ]
    if drifted:
        done = sum(1 for was, _ in drifted if was.state == "completed")
        keys = _differing(before.settings_of(drifted[0][0]), now.settings_of(drifted[0][1]))
        yield (
            f"the configuration of {len(drifted)} jobs has changed since this sweep was last started ({keys}): they "
            f"are other runs now; the {done} that were completed stay in their folders and are no part of it any more"
        )


def _differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    absent = "absent"
    keys = [key for key in sorted(before | now) if before.get(key, absent) != now.get(key, absent)]
    shown = [f"{key}: {before.get(key, absent)} then, {now.get(key, absent)} now" for key in keys[:SHOWN]]
    return "; ".join(shown + ([f"and {len(keys) - SHOWN} more"] if len(keys) > SHOWN else []))


def _code(job: JobEntry, sweep: Path) -> str | None:
    """Return the digest of the code that made a completed run; None where there is none or it does not say."""
    record = completed_record(sweep / job.folder, job.run_id)
    return record.provenance.get("code") if record else None


def _question(config: DictConfig) -> str | None:
    """Return the question of the sweep's file, its first line, where the sweep comes from a file."""
    name = config.hydra.job.config_name
    for source in config.hydra.runtime.config_sources:
        path = Path(source.path) / f"{name}.yaml"
        if name != "config" and source.schema == "file" and path.is_file():
            return question_of(path)
    return None
