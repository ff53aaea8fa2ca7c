"""`sweep.json`: axes, jobs and their states, and the code that made them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wrnexp.errors import UserError, is_pruned
from wrnexp.locks import held
from wrnexp.provenance import now
from wrnexp.records import RecordError, read_record, write_json

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
    def over(self) -> bool:
        """Say whether nothing more is to come of it: it is completed, or a search has stopped it."""
        return self.state == "completed" or is_pruned(self.error)

    def ask(self, sweep: Path) -> None:
        """Take the state that the run's record gives.

        Without a record, a job that failed before it began keeps what was noted of it.
        """
        state, error = state_of(sweep / self.folder)
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

        A job with the same overrides and another configuration takes the place of the earlier one.
        """
        known = {tuple(job.overrides) for job in now.jobs} | {(job.folder,) for job in now.jobs}
        others = [job for job in self.jobs if not {tuple(job.overrides), (job.folder,)} & known]
        settings = {job.folder: self.settings_of(job) for job in others}
        self.name, self.command, self.code = now.name, now.command, now.code
        self.question = now.question or self.question
        self.axes = now.axes if not others else _united(self.axes, now.axes)
        self.config = {
            key: value for key, value in now.config.items() if all(one.get(key) == value for one in settings.values())
        }
        for job in others:
            job.settings = {key: value for key, value in settings[job.folder].items() if key not in self.config}
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
        job.ask(folder)
    return sweep


def state_of(folder: Path) -> tuple[State, str | None]:
    """Return the state of the run in `folder` and, where it went wrong, one line that says how.

    A record that says `running` while nobody holds the folder is one whose process was killed.
    """
    try:
        record = read_record(folder)
    except FileNotFoundError:
        return ("running" if held(folder) else "pending"), None
    except RecordError as error:
        return "failed", f"record.json: {error}"
    if record.status == "running" and not held(folder):
        return "interrupted", "its process was killed"
    return record.status, record.error


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
        raw = json.loads(path.read_text())
        if isinstance(raw, dict) and raw.get("schema_version", 1) > SCHEMA_VERSION:
            raise UserError(f"{path} is of schema {raw['schema_version']}, newer than this program's {SCHEMA_VERSION}")
        return Sweep.model_validate(raw)
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); move it away: the runs' records hold the results"
        ) from error
