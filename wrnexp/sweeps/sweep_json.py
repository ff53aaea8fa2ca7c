"""`sweep.json`: axes, jobs and their states, and the code that made them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wrnexp.config import identity
from wrnexp.errors import DivergedError, UserError, is_diverged, is_pruned, one_line
from wrnexp.runs.files import read_regular
from wrnexp.runs.locks import is_locked
from wrnexp.runs.ownership import own_record
from wrnexp.runs.provenance import now
from wrnexp.runs.record import Record, RecordError, find_record, write_json
from wrnexp.runs.strict_json import loads

SCHEMA_VERSION = 1
FILE = "sweep.json"

State = Literal["pending", "running", "completed", "failed", "interrupted"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", validate_assignment=True)


class Code(_Part):
    """The program's own code: the commit where git knows one, and the digest of the source files."""

    git_commit: str | None = None
    digest: str = ""


class JobEntry(_Part):
    """One job: one run of the sweep.

    `overrides` are those of the command that belong to the job, `settings` its values of the keys in which the jobs
    differ, `roles` what a study says of its arm (`wrnexp ablate` does). `folder` is relative to the sweep's.
    """

    run_id: str
    arm_id: str
    label: str
    seed: int
    folder: str
    overrides: list[str] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    roles: list[dict[str, Any]] = Field(default_factory=list)
    state: State = "pending"
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other jobs of the sweep: its folder may hold the run of another."""
        return self.run_id, self.folder

    @property
    def over(self) -> bool:
        """Say whether nothing more is to come of it: it is completed, or a search has stopped it."""
        return self.state == "completed" or is_pruned(self.error)

    def ask(self, sweep: Path, config: Mapping[str, Any]) -> None:
        """Take the state that the run's record gives.

        Without a record, a job that failed before it began keeps what was noted of it.

        Args:
            sweep: the sweep's folder.
            config: of the job, nested.
        """
        state, error = state_of(sweep / self.folder, self.run_id, config)
        if state != "pending" or self.state != "failed":
            self.state, self.error = state, error


class Sweep(_Part):
    """The contents of sweep.json. `config` has the dotted keys that all jobs share, without what changes no result."""

    schema_version: int = SCHEMA_VERSION
    name: str
    question: str | None = None
    command: str = ""
    axes: dict[str, list[str]] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    jobs: list[JobEntry] = Field(default_factory=list)
    code: Code = Field(default_factory=Code)
    started: str | None = None
    updated: str | None = None

    def settings_of(self, job: JobEntry) -> dict[str, Any]:
        """Return all settings of a job, those that it shares with the others too."""
        return self.config | job.settings

    def take(self, now: "Sweep") -> None:
        """Take over what a command says of the sweep; jobs of earlier commands stay, where it does not speak of them.

        A job with the same overrides and another configuration takes the place of the earlier one, and so does a job
        in the folder of one that never began.
        """
        commands, folders = {tuple(job.overrides) for job in now.jobs}, {job.folder for job in now.jobs}
        keys = {job.key for job in now.jobs}
        others = [
            job
            for job in self.jobs
            if tuple(job.overrides) not in commands
            and job.key not in keys
            and (job.folder not in folders or job.state not in ("pending", "failed"))
        ]
        settings = {job.key: self.settings_of(job) for job in others}
        self.name, self.command, self.code = now.name, now.command, now.code
        self.question = now.question or self.question
        self.axes = now.axes if not others else _united(self.axes, now.axes)
        self.config = {
            key: value for key, value in now.config.items() if all(one.get(key) == value for one in settings.values())
        }
        for job in others:
            job.settings = {key: value for key, value in settings[job.key].items() if key not in self.config}
        ours = [
            job.model_copy(update={"settings": {k: v for k, v in now.settings_of(job).items() if k not in self.config}})
            for job in now.jobs
        ]
        self.jobs = [*others, *ours]


def read_sweep(folder: Path) -> Sweep:
    """Read `folder/sweep.json`, each job's state asked of its record.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be used; the message says why.
    """
    sweep = _stored(folder)
    for job in sweep.jobs:
        job.ask(folder, identity.nested(sweep.settings_of(job)))
    return sweep


def state_of(folder: Path, run_id: str, config: Mapping[str, Any]) -> tuple[State, str | None]:
    """Return the state of a job and, where it went wrong, one line that says how.

    A record that says `running` while nobody holds the folder is one whose process was killed. Of a run that diverged
    the line is one that `is_diverged` recognizes.

    Args:
        folder: of the job's run.
        run_id: of the job's run.
        config: of the job, nested.
    """
    try:
        record = own_record(folder, run_id, config, busy=is_locked(folder))
    except (UserError, RecordError) as error:
        return "failed", one_line(error)
    if record is None:
        return ("running" if is_locked(folder) else "pending"), None
    if record.status == "running" and not is_locked(folder):
        return "interrupted", "its process was killed"
    if record.status == "failed" and record.divergence is not None and not is_diverged(record.error):
        return "failed", f"{DivergedError.__name__}: {record.error or f'at step {record.divergence.step}'}"
    return record.status, record.error


def completed_record(folder: Path, run_id: str) -> Record | None:
    """Read the record of a job's run; None unless it is this run's and completed."""
    record = find_record(folder)
    return record if record and record.run_id == run_id and record.status == "completed" else None


def question_of(path: Path) -> str | None:
    """Return the question of a sweep's YAML file: its first line, where that is a comment."""
    first = path.read_text().partition("\n")[0].strip()
    return first.lstrip("# ") if first.startswith("#") else None


@contextmanager
def update_sweep(folder: Path, make: Sweep) -> Iterator[Sweep]:
    """Change sweep.json under a lock: hand out what is there, or `make`, and write it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{FILE}.lock", timeout=60):
        try:
            sweep = _stored(folder)
        except FileNotFoundError:
            sweep = make.model_copy(deep=True)
        yield sweep
        sweep.updated = now()
        write_json(folder / FILE, sweep.model_dump(mode="json"))


def _united(first: dict[str, list[str]], second: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return every value that an axis has in either."""
    return {key: list(dict.fromkeys([*first.get(key, []), *second.get(key, [])])) for key in first | second}


def _stored(folder: Path) -> Sweep:
    path = folder / FILE
    try:
        raw = loads(read_regular(path))
        if isinstance(raw, dict) and raw.get("schema_version", 1) > SCHEMA_VERSION:
            raise UserError(
                f"{path} is of schema {raw['schema_version']}, newer than this program's {SCHEMA_VERSION}; update "
                "wrnexp, or give the sweep a name of its own (name=...)"
            )
        return Sweep.model_validate(raw)
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, OSError) as error:  # pydantic's errors are ValueErrors
        raise UserError(
            f"{path} cannot be read ({_reason(error)}); move it away: the runs' records hold the results"
        ) from error


def _reason(error: Exception) -> str:
    """Return why a sweep.json cannot be read, in one line, with the key for a wrong value."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    return one_line(error)
