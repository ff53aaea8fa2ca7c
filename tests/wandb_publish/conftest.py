"""A local server of saved views for the real SDK: projects with their workspaces and reports."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass
class ViewServer:
    """Answers the requests that saving a view sends.

    Attributes:
        projects: existing projects as `entity/name`.
        views: by id, the variables of the last mutation that wrote each.
        filtering: whether a query by name returns only the views of that name.
        status: HTTP status of every response.
        refusal: error message of the response to writing a view, if any.
    """

    projects: set[str] = field(default_factory=lambda: {"me/wrnexp"})
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    filtering: bool = True
    status: int = 200
    refusal: str = ""

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the response to an operation."""
        if operation == "upsertView" and self.refusal:
            return {"data": None, "errors": [{"message": self.refusal}]}
        return {"data": {name: make(variables) for name, make in self._operations()[operation].items()}}

    def specs(self) -> list[Any]:
        """Return the views' contents in order of creation."""
        return [json.loads(view["spec"]) for view in self.views.values()]

    def _operations(self) -> dict[str, dict[str, Any]]:
        return {
            "Viewer": {
                "viewer": lambda _: {"id": "VXNlcjox", "entity": "me", "username": "me", "teams": {"edges": []}}
            },
            "ProjectViews": {"project": self._views_of},
            "ProjectInternalId": {"project": lambda asked: {"id": "p", "internalId": f"id-{asked['projectName']}"}},
            "upsertView": {"upsertView": self._write},
        }

    def _views_of(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if f"{asked['entity']}/{asked['project']}" not in self.projects:
            return None
        nodes = [
            {"id": key, "name": view["name"]}
            for key, view in self.views.items()
            if view["type"] == asked["viewType"] and (not self.filtering or asked["viewName"] in ("", view["name"]))
        ]
        return {"allViews": {"edges": [{"node": node} for node in nodes]}}

    def _write(self, given: dict[str, Any]) -> dict[str, Any]:
        key = given["id"] or f"view{len(self.views)}"
        self.views[key] = {name: value for name, value in given.items() if name != "id"}
        return {"view": {"id": key, "name": given["name"]}, "inserted": given["id"] is None}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ViewServer]:
    """Return a running server; the environment makes the SDK use it."""
    view_server = ViewServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # http.server's name
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer: dict[str, Any] = {}
            if self.path == "/graphql":
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                asked = json.loads(body)
                named = re.search(r"\b(?:query|mutation)\s+(\w+)", asked["query"])
                answer = view_server.answer(named[1] if named else "", asked.get("variables") or {})
            text = json.dumps(answer).encode()
            self.send_response(view_server.status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield view_server
    listening.shutdown()
    listening.server_close()


@pytest.fixture(scope="session")
def dashboards() -> ModuleType:
    """Return the module that writes the golden files."""
    from tests.golden import dashboards

    return dashboards
