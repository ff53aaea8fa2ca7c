"""The HTTP server, with faults on request."""

import gzip
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.wandb_server.operations import answer
from tests.wandb_server.state import Artifact, Run, State, Sweep

KEY = "0" * 40
OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")
STREAM = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")


class WandbServer:
    """A W&B server on a free port of this machine.

    Attributes:
        uploads: the folder of uploaded files.
        fail: by `graphql`, `file_stream` and `upload`, the HTTP status and the remaining number of failures.
    """

    def __init__(self, uploads: Path) -> None:
        self.uploads = uploads
        self.fail: dict[str, tuple[int, int]] = {}
        self.state = State()
        self.hanging = threading.Event()
        self._serving: _Server | None = None
        self._port = 0

    def __enter__(self) -> "WandbServer":
        self.recover()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    @property
    def url(self) -> str:
        """The server's address."""
        return self.state.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make the SDK use this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    @property
    def runs(self) -> dict[str, Run]:
        """The runs by their names, which the SDK calls ids."""
        return {run.name: run for run in self.state.runs.values()}

    @property
    def artifacts(self) -> list[Artifact]:
        """The versions of artifacts, in the order in which they were made."""
        return list(self.state.artifacts.values())

    @property
    def sweeps(self) -> dict[str, Sweep]:
        """The sweeps by their names."""
        return self.state.sweeps

    def hang(self) -> None:
        """Accept connections and requests without answering."""
        self.hanging.set()

    def die(self) -> None:
        """Close the socket and all connections."""
        self.hanging.clear()
        if self._serving is not None:
            self._serving.shutdown()
            self._serving.close_all()
            self._serving = None

    def recover(self) -> None:
        """Answer again with the same state at the same address."""
        self.hanging.clear()
        self.fail.clear()
        if self._serving is None:
            self._serving = _Server(self, self._port)
            self._port = self._serving.server_port
            self.state.url = f"http://127.0.0.1:{self._port}"
            threading.Thread(target=self._serving.serve_forever, args=(0.05,), daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = (
        128  # pictures come sixty at once; a connection that is turned away is tried again a second later
    )

    def __init__(self, owner: WandbServer, port: int) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        self.server_close()
        for connection in tuple(self._open):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: the tests let clients vanish."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    server: _Server

    @property
    def _state(self) -> State:
        return self.server.owner.state

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._reply({}, 404)

    def do_POST(self) -> None:
        body, path = self._body(), self.path.split("?")[0]
        if path == "/graphql" and not self._failing("graphql"):
            self._graphql(json.loads(body))
        elif (stream := STREAM.fullmatch(path)) and not self._failing("file_stream"):
            self._stream(json.loads(body), *stream.groups())
        elif path != "/graphql" and not stream:
            self._reply({}, 404)

    def do_PUT(self) -> None:
        body, path = self._body(), self.path.split("?")[0].removeprefix("/upload/")
        if self._failing("upload"):
            return
        upload_path = self.server.owner.uploads / path
        upload_path.parent.mkdir(parents=True, exist_ok=True)
        upload_path.write_bytes(body)
        if run_file := re.fullmatch(r"run/([^/]+)/([^/]+)/([^/]+)/(.+)", path):
            with self._state.lock:
                self._state.make(run_file[1], run_file[2], run_file[3]).files[run_file[4]] = len(body)
        self._reply({})

    def _graphql(self, asked: dict[str, Any]) -> None:
        match = asked.get("operationName") or OPERATION.search(asked["query"])
        name = str(match if isinstance(match, str) or match is None else match[1])
        with self._state.lock:
            self._state.calls.append(name)
            try:
                reply = answer(self._state, name, asked.get("variables") or {})
            except Exception as error:  # a mistake of this server, which the tests look for
                self._state.unknown.append(f"{name}: {error!r}")
                reply = {"data": None, "errors": [{"message": repr(error)}]}
        self._reply(reply)

    def _stream(self, request: dict[str, Any], entity: str, project: str, name: str) -> None:
        """Receive a chunk of a run's files; the offset places it in the history."""
        with self._state.lock:
            run = self._state.make(entity, project, name)
            for file, chunk in (request.get("files") or {}).items():
                lines = [*chunk.get("content", [])]
                if file == "wandb-history.jsonl":
                    run.history[chunk.get("offset", len(run.history)) :] = map(json.loads, lines)
                elif file == "wandb-events.jsonl":
                    run.events += map(json.loads, lines)
                elif file == "wandb-summary.json":
                    run.summary = json.loads(lines[-1])
                elif file == "output.log":
                    run.output += lines
            if request.get("complete"):
                run.exit_code = request.get("exitcode")
                run.state = "failed" if run.exit_code else "finished"
        self._reply({"exitcode": None, "limits": {}})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _failing(self, kind: str) -> bool:
        status, remaining = self.server.owner.fail.get(kind, (0, 0))
        if remaining > 0:
            self.server.owner.fail[kind] = status, remaining - 1
            self._reply({"error": "told to fail"}, status)
        return remaining > 0

    def _reply(self, reply: dict[str, Any], status: int = 200) -> None:
        owner = self.server.owner
        while owner.hanging.is_set():
            threading.Event().wait(0.1)
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
