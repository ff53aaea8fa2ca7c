"""What the server holds: runs, artifacts, sweeps and saved views, as dictionaries of plain values."""

import base64
import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import Any

ENTITY = "me"
THEN = "2026-01-01T00:00:00"


def identity(*parts: object) -> str:
    """Return an id as W&B writes them."""
    return base64.b64encode(":".join(map(str, parts)).encode()).decode()


@dataclass
class Run:
    """A run at the server.

    Attributes:
        entity, project, name: where it is; `name` is what the SDK calls the id.
        config: as the SDK sends it, each value as {"value": ...}.
        history: its rows, in the order of their lines.
        state: running, finished or failed.
        files: the size in bytes of each that was uploaded.
        opened: how often a process has opened it.
    """

    entity: str
    project: str
    name: str
    display: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    sweep: str | None = None
    commit: str | None = None
    state: str = "running"
    exit_code: int | None = None
    files: dict[str, int] = field(default_factory=dict)
    opened: int = 0

    @property
    def id(self) -> str:
        """The server's own id of it."""
        return identity("Run", self.entity, self.project, self.name)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of epochs, without those of pictures alone."""
        return [row for row in self.history if "epoch" in row]

    @property
    def settings(self) -> dict[str, Any]:
        """The config as it was given."""
        return {key: item["value"] for key, item in self.config.items() if key != "_wandb"}

    def node(self) -> dict[str, Any]:
        """Return the run as answers hold it."""
        lines = [json.dumps(row) for row in self.history]
        last = self.history[-1].get("_step", -1) if self.history else -1
        return {
            "id": self.id, "name": self.name, "displayName": self.display, "description": None, "projectId": 1,
            "sweepName": self.sweep, "config": json.dumps(self.config), "summaryMetrics": json.dumps(self.summary),
            "tags": self.tags, "notes": self.notes, "group": self.group, "jobType": self.job_type, "state": self.state,
            "createdAt": THEN, "heartbeatAt": THEN, "historyLineCount": len(lines), "logLineCount": len(self.output),
            "eventsLineCount": len(self.events), "historyTail": json.dumps(lines[-1:]), "eventsTail": "[]",
            "wandbConfig": json.dumps({"t": 1}), "historyKeys": {"sets": [], "keys": {}, "lastStep": last},
            "stopped": False, "user": {"name": ENTITY, "username": ENTITY}, "commit": self.commit, "readOnly": False,
            "systemMetrics": "{}", "history": lines, "events": [], "sampledHistory": [self.history],
            "exitcode": self.exit_code, "shouldStop": False, "failed": False, "running": self.state == "running",
            "project": {
                "id": identity("Project", self.project), "name": self.project,
                "entity": {"id": identity("Entity", self.entity), "name": self.entity},
            },
        }  # fmt: skip


@dataclass
class Sweep:
    """A sweep: the combinations that are still to be tried, and the runs that its agents were given."""

    name: str
    entity: str
    project: str
    config: dict[str, Any]
    todo: list[dict[str, Any]]
    state: str = "PENDING"
    agents: dict[str, list[str]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The server's own id of it."""
        return identity("Sweep", self.name)


@dataclass
class Artifact:
    """An artifact's version: `files` are the names of what it holds."""

    id: str
    name: str
    type: str
    digest: str
    metadata: dict[str, Any]
    run: str | None
    state: str = "PENDING"
    files: list[str] = field(default_factory=list)
    used_by: list[str] = field(default_factory=list)


@dataclass
class State:
    """All that a server holds; `calls` are the names of what it was asked, in order."""

    url: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def find(self, entity: str | None, project: str | None, name: str) -> Run | None:
        """Return a run; None where there is none of that name."""
        return self.runs.get(f"{entity or ENTITY}/{project}/{name}")

    def make(self, entity: str | None, project: str | None, name: str) -> Run:
        """Return a run, a new one where there is none of that name."""
        key = f"{entity or ENTITY}/{project}/{name}"
        return self.runs.setdefault(key, Run(entity or ENTITY, str(project), name))
