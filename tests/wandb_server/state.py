"""The server's state: runs, artifacts, sweeps and saved views."""

import base64
import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import Any

ENTITY = "me"
THEN = "2026-01-01T00:00:00"


def identity(*parts: object) -> str:
    """Return an id in W&B's format."""
    return base64.b64encode(":".join(map(str, parts)).encode()).decode()


@dataclass
class Run:
    """A run at the server.

    Attributes:
        name: what the SDK calls the id.
        config: as the SDK sends it, each value as {"value": ...}.
        state: running, finished or failed.
        files: sizes of the uploaded files in bytes.
        opened: how many processes have opened the run.
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
        """The server's id."""
        return identity("Run", self.entity, self.project, self.name)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of epochs, without rows that hold only pictures."""
        return [row for row in self.history if "epoch" in row]

    @property
    def settings(self) -> dict[str, Any]:
        """The config without the SDK's wrapping."""
        return {key: entry["value"] for key, entry in self.config.items() if key != "_wandb"}

    def node(self) -> dict[str, Any]:
        """Return the run as in GraphQL responses."""
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
    """A sweep: the remaining combinations, and the runs assigned to its agents."""

    name: str
    entity: str
    project: str
    config: dict[str, Any]
    todo: list[dict[str, Any]]
    state: str = "PENDING"
    agents: dict[str, list[str]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The server's id."""
        return identity("Sweep", self.name)


@dataclass
class Artifact:
    """A version of an artifact; `files` are file names."""

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
    """The server's state; `calls` are the names of the operations received, in order."""

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
        """Return a run, or None."""
        return self.runs.get(f"{entity or ENTITY}/{project}/{name}")

    def make(self, entity: str | None, project: str | None, name: str) -> Run:
        """Return a run, created if missing."""
        key = f"{entity or ENTITY}/{project}/{name}"
        return self.runs.setdefault(key, Run(entity or ENTITY, str(project), name))
