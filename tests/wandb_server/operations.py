"""The part of W&B's GraphQL API that the SDK uses here, one function per operation."""

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from tests.wandb_server.state import ENTITY, THEN, Artifact, Run, State, Sweep, identity

Given = dict[str, Any]
Answer = dict[str, Any]
OPERATIONS: dict[str, Callable[[State, Given], Answer]] = {}

PROJECT = {"id": "p", "internalId": identity("ProjectInternalId", 1), "readOnly": False}
USER = {
    "id": identity("User", 1), "entity": ENTITY, "username": ENTITY, "email": "me@localhost", "name": ENTITY,
    "admin": False, "flags": "{}", "deletedAt": None, "apiKeys": {"edges": []},
    "teams": {"edges": [{"node": {"name": ENTITY}}]},
}  # fmt: skip
# What the SDK asks to know what the server can do, with the same answer always.
CONSTANT: dict[str, Answer] = {
    "Viewer": {"viewer": USER},
    "GetDefaultEntity": {"viewer": USER},
    "ServerFeaturesQuery": {"serverInfo": {"features": []}},
    "OrganizationCoreWeaveOrganizationID": {"entity": {"organization": {"coreWeaveOrganizationId": None}}},
    "XXHashDigestsEnabled": {"entity": {"xxhashDigestsEnabled": False}},
    "OrgFeatureFlags": {"organization": {"featureFlags": []}},
    "FetchArtifactDigestAlgorithm": {"project": {"artifactType": {"artifactCollection": None}}},
    "ArtifactType": {"project": {"artifact": None}},
    "MarkRunFilesUploaded": {"markRunFilesUploaded": {"success": True}},
    "ProjectInternalId": {"project": PROJECT},
    "UpsertModel": {"upsertModel": {"project": PROJECT, "model": PROJECT, "inserted": False}},
}
INFO: Answer = {"cliVersionInfo": {"max_cli_version": "99.0.0"}, "latestLocalVersionInfo": None, "features": []}
CONSTANT |= {name: {"serverInfo": INFO} for name in ("ServerInfo", "GetServerInfo")}


def operation(*names: str) -> Callable[[Callable[[State, Given], Answer]], Callable[[State, Given], Answer]]:
    """Register a function as the handler of operations."""

    def enter(answer: Callable[[State, Given], Answer]) -> Callable[[State, Given], Answer]:
        OPERATIONS.update(dict.fromkeys(names, answer))
        return answer

    return enter


def answer(state: State, name: str, given: Given) -> Answer:
    """Return the response to an operation; an unknown one is an error, as at the real server."""
    if name in CONSTANT:
        return {"data": CONSTANT[name]}
    if name not in OPERATIONS:
        state.unknown.append(name)
        return {"data": None, "errors": [{"message": f"unknown operation {name}"}]}
    return {"data": OPERATIONS[name](state, given)}


def _edges(nodes: Iterable[Answer]) -> Answer:
    edges = [{"node": node, "cursor": str(number)} for number, node in enumerate(nodes)]
    return {"totalCount": len(edges), "edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}


def _model(given: Given, run: Run | None) -> Answer:
    entity = {"id": "e", "name": given.get("entity") or ENTITY}
    return {"id": "p", "name": given.get("project"), "entity": entity, "bucket": run and run.node()}


@operation("RunResumeStatus")
def _resume_status(state: State, given: Given) -> Answer:
    return {"model": _model(given, state.find(given.get("entity"), given.get("project"), given["name"]))}


@operation("UpsertBucket")
def _upsert_run(state: State, given: Given) -> Answer:
    run = next((run for run in state.runs.values() if run.id == given.get("id")), None)
    inserted = run is None and state.find(given.get("entity"), given.get("project"), given["name"]) is None
    run = run or state.make(given.get("entity"), given.get("project"), given["name"])
    names = {"displayName": "display", "groupName": "group", "jobType": "job_type", "notes": "notes"}
    for source, attribute in (names | {"sweep": "sweep", "commit": "commit"}).items():
        if given.get(source):
            setattr(run, attribute, given[source])
    if given.get("name"):  # a process opens it; later ones of the same process give its id
        run.opened, run.state = run.opened + 1, "running"
    run.tags = run.tags if given.get("tags") is None else given["tags"]
    run.config |= json.loads(given.get("config") or "{}")
    run.summary |= json.loads(given.get("summaryMetrics") or "{}")
    return {"upsertBucket": {"bucket": run.node(), "inserted": inserted}}


@operation("RunState", "RunStoppedStatus")
def _run_state(state: State, given: Given) -> Answer:
    named = given.get("run") or given["runId"]
    run = state.find(
        given.get("entity") or given.get("entityName"), given.get("project") or given.get("projectName"), named
    )
    return {"project": {"run": {"state": run and run.state, "stopped": False}}}


@operation("CreateRunFiles")
def _create_files(state: State, given: Given) -> Answer:
    run = state.make(given["entity"], given["project"], given["run"])
    base_url = f"{state.url}/upload/run/{run.entity}/{run.project}/{run.name}"
    files = [{"name": name, "uploadUrl": f"{base_url}/{name}"} for name in given["files"]]
    return {"createRunFiles": {"runID": run.id, "uploadHeaders": [], "files": files}}


@operation("Run", "LightweightRun", "GetRun", "RunFull", "RunHistoryKeys")
def _run(state: State, given: Given) -> Answer:
    run = state.find(given.get("entity"), given.get("project"), given.get("name") or given["run"])
    return {"project": PROJECT | {"run": run and run.node()}}


@operation("Runs", "LightweightRuns", "GetRuns")
def _runs(state: State, given: Given) -> Answer:
    project = (given.get("entity") or ENTITY, given.get("project"))
    nodes = [run.node() for run in state.runs.values() if (run.entity, run.project) == project]
    return {"project": PROJECT | {"runCount": len(nodes), "runs": _edges(nodes)}}


@operation("HistoryPage", "SampledHistoryPage", "RunFullHistory", "RunParquetHistory")
def _history(state: State, given: Given) -> Answer:
    named = given.get("run") or given.get("name") or given["runName"]
    run = state.find(given["entity"], given["project"], named)
    assert run is not None
    first, end = given.get("minStep") or 0, given.get("maxStep") or 10**9
    rows = [row for row in run.history if first <= row.get("_step", 0) < end]
    sampled = {"sampledHistory": [rows], "parquetHistory": {"parquetUrls": [], "liveData": rows}}
    return {"project": {"run": {"history": [json.dumps(row) for row in rows], **sampled}}}


@operation("CreateArtifact")
def _create_artifact(state: State, given: Given) -> Answer:
    asked = given["input"]
    name, kind = asked.get("artifactCollectionName") or "", asked.get("artifactTypeName") or ""
    existing = [
        artifact for artifact in state.artifacts.values() if (artifact.name, artifact.digest) == (name, asked["digest"])
    ]
    key = existing[0].id if existing else identity("Artifact", next(state.numbers))
    new = Artifact(key, name, kind, asked["digest"], json.loads(asked.get("metadata") or "{}"), asked.get("runName"))
    artifact = state.artifacts.setdefault(key, new)
    sequence = {"id": "seq", "name": name, "latestArtifact": None}
    return {
        "createArtifact": {
            "artifact": {"id": key, "state": artifact.state, "versionIndex": 0, "artifactSequence": sequence}
        }
    }


@operation("CreateArtifactManifest", "UpdateArtifactManifest")
def _manifest(state: State, given: Given) -> Answer:
    key = given.get("artifactManifestID") or identity("Manifest", next(state.numbers))
    name = "createArtifactManifest" if "artifactID" in given else "updateArtifactManifest"
    file: Answer = {"id": key, "uploadUrl": f"{state.url}/upload/manifest/{key}", "uploadHeaders": []}
    return {name: {"artifactManifest": {"id": key, "file": file}}}


@operation("CreateArtifactFiles")
def _artifact_files(state: State, given: Given) -> Answer:
    nodes = []
    for file in given["input"]["artifactFiles"]:
        name, key = file["name"], file["artifactID"]
        state.artifacts[key].files.append(name)
        nodes.append(
            {"id": identity("File", key, name), "name": name, "displayName": name, "storagePath": name,
             "uploadUrl": f"{state.url}/upload/artifact/{key}/{name}", "uploadHeaders": [], "uploadMultipartUrls": None,
             "artifact": {"id": key}}
        )  # fmt: skip
    return {"createArtifactFiles": {"files": _edges(nodes)}}


@operation("CommitArtifact")
def _commit_artifact(state: State, given: Given) -> Answer:
    artifact = state.artifacts[given["artifactID"]]
    artifact.state = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


@operation("ArtifactByID")
def _artifact(state: State, given: Given) -> Answer:
    artifact = state.artifacts[given["id"]]
    project = {"id": "p", "name": "wrnexp", "entity": {"id": "e", "name": ENTITY}}
    return {
        "artifact": {
            "__typename": "Artifact", "id": artifact.id, "versionIndex": 0, "artifactType": {"name": artifact.type},
            "artifactSequence": {
                "__typename": "ArtifactSequence", "id": "seq", "name": artifact.name,
                "project": project | {"__typename": "Project"},
            },
            "description": None, "metadata": json.dumps(artifact.metadata), "ttlDurationSeconds": -1,
            "ttlIsInherited": True, "tags": [], "historyStep": None, "state": artifact.state, "size": 1,
            "digest": artifact.digest, "digestAlgorithm": "MANIFEST_MD5", "commitHash": "c", "aliases": [],
            "fileCount": len(artifact.files), "createdAt": THEN, "updatedAt": THEN,
        }
    }  # fmt: skip


@operation("UseArtifact")
def _use_artifact(state: State, given: Given) -> Answer:
    key = given["input"]["artifactID"]
    state.artifacts[key].used_by.append(given["input"]["runName"])
    return {"useArtifact": {"artifact": {"id": key}}}


@operation("UpsertSweep")
def _upsert_sweep(state: State, given: Given) -> Answer:
    sweep = next((sweep for sweep in state.sweeps.values() if given.get("id") in (sweep.name, sweep.id)), None)
    if sweep is None:
        config = yaml.safe_load(given["config"])
        name = f"sweep{next(state.numbers):03d}"
        location = given.get("entityName") or ENTITY, given.get("projectName") or "wrnexp"
        sweep = state.sweeps[name] = Sweep(name, *location, config, _combinations(config["parameters"]))
    sweep.state = given.get("state") or sweep.state
    project = {"name": sweep.project, "id": "p", "entity": {"id": "e", "name": sweep.entity}}
    return {"upsertSweep": {"sweep": {"name": sweep.name, "project": project}, "configValidationWarnings": []}}


def _combinations(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all combinations of a sweep's parameters; a distribution contributes its midpoint."""
    axes = {key: _values(given) for key, given in parameters.items()}
    return [dict(zip(axes, combination, strict=True)) for combination in itertools.product(*axes.values())]


def _values(given: dict[str, Any]) -> list[Any]:
    if "values" in given:
        return list(given["values"])
    if "value" in given:
        return [given["value"]]
    middle = (given["min"] + given["max"]) / 2
    return [int(middle) if str(given["distribution"]).startswith("int") else middle]


@operation("SweepWithRuns", "GetSweepState", "Sweep", "SweepConfig")
def _sweep(state: State, given: Given) -> Answer:
    sweep = state.sweeps.get(given["sweep"])
    if sweep is None:
        return {"project": {"sweep": None}}
    nodes = [run.node() for run in state.runs.values() if run.sweep == sweep.name]
    absent = dict.fromkeys(
        ("description", "createdAt", "heartbeatAt", "updatedAt", "bestLoss", "controller", "scheduler")
    )
    fields = {"id": sweep.id, "name": sweep.name, "method": sweep.config.get("method"), "state": sweep.state}
    fields |= {"config": json.dumps(sweep.config), "earlyStopJobRunning": False, "runs": _edges(nodes)}
    return {"project": {"sweep": absent | fields}}


@operation("CreateAgent")
def _create_agent(state: State, given: Given) -> Answer:
    sweep, key = state.sweeps[given["sweep"]], identity("Agent", next(state.numbers))
    sweep.agents[key], sweep.state = [], "RUNNING"
    return {"createAgent": {"agent": {"id": key}}}


@operation("Heartbeat")
def _heartbeat(state: State, given: Given) -> Answer:
    """Send an idle agent the next combination, or the command to exit."""
    sweep = next(sweep for sweep in state.sweeps.values() if given["id"] in sweep.agents)
    busy = any(json.loads(given.get("runState") or "{}").values())
    commands: list[dict[str, Any]] = []
    if not busy and sweep.todo and sweep.state == "RUNNING":
        arguments = {key: {"value": value} for key, value in sweep.todo.pop(0).items()}
        name = f"{sweep.name}-{next(state.numbers)}"
        sweep.agents[given["id"]].append(name)  # the run is made by who opens it, and has to say whose it is
        commands = [{"type": "run", "run_id": name, "args": arguments, "program": sweep.config["program"]}]
    elif not busy:
        sweep.state, commands = "FINISHED", [{"type": "exit"}]
    return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}


@operation("upsertView", "UpsertView2")
def _upsert_view(state: State, given: Given) -> Answer:
    key = given.get("id") or identity("View", next(state.numbers))
    inserted = key not in state.views
    state.views[key] = {name: value for name, value in given.items() if name != "id"}
    fields = {name: given.get(name) for name in ("name", "type", "displayName", "description", "spec")}
    project = PROJECT | {"name": given.get("projectName"), "entityName": ENTITY}
    view = fields | {"id": key, "project": project, "createdAt": THEN, "updatedAt": THEN, "user": {"username": ENTITY}}
    return {"upsertView": {"view": view, "inserted": inserted}}


@operation("ProjectViews")
def _views(state: State, given: Given) -> Answer:
    projects = {f"{run.entity}/{run.project}" for run in state.runs.values()}
    if f"{given.get('entity') or ENTITY}/{given['project']}" not in projects:
        return {"project": None}
    nodes = [
        {"id": key, "name": view["name"], "displayName": view.get("displayName")}
        for key, view in state.views.items()
        if view["type"] == given.get("viewType") and given.get("viewName") in (None, "", view["name"])
    ]
    return {"project": PROJECT | {"allViews": _edges(nodes)}}
