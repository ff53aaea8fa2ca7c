"""Downloads from a local HTTP server that may break connections and may support byte ranges."""

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wrnexp.data.datasets import obtain
from wrnexp.data.sources.cifar import CIFARS
from wrnexp.data.sources.download import download
from wrnexp.errors import UserError

BODY = np.random.default_rng(0).bytes(1_000_000)


@dataclasses.dataclass
class Site:
    """A server of one file that records the requests."""

    url: str = ""
    body: bytes = BODY
    breaks: list[int] = dataclasses.field(default_factory=list)  # after how many bytes each connection ends
    ranges: bool = True
    status: int = 200
    requested: list[int] = dataclasses.field(default_factory=list)  # the first byte of each request

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        first_byte = int((request.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        start = first_byte if self.ranges else 0
        self.requested.append(first_byte)
        status = self.status if self.status != 200 else 206 if start else 200
        if status < 300 and start >= len(self.body):
            status = 416
        request.send_response(status)
        part = self.body[start:] if status < 300 else b"no"
        request.send_header("Content-Length", str(len(part)))
        request.end_headers()
        request.wfile.write(part[: self.breaks.pop(0)] if self.breaks else part)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.respond(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_port}/file.bin"
        yield site
        server.shutdown()
        thread.join()


def fetch(site: Site, target: Path, body: bytes = BODY) -> None:
    download(site.url, target, hashlib.sha256(body).hexdigest(), "Do it by hand.")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "file.bin"


def test_a_file_arrives_whole(site: Site, target: Path) -> None:
    fetch(site, target)
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir() if not path.name.startswith(".")] == ["file.bin"]


def test_what_is_there_is_not_fetched(site: Site, target: Path) -> None:
    fetch(site, target)
    fetch(site, target)
    assert len(site.requested) == 1


def test_a_broken_connection_is_resumed_where_it_broke(site: Site, target: Path) -> None:
    site.breaks = [300_000, 300_000]
    fetch(site, target)
    assert target.read_bytes() == BODY
    assert site.requested == [0, 300_000, 600_000]


def test_a_later_call_resumes(site: Site, target: Path) -> None:
    site.breaks = [300_000, 0]
    with pytest.raises(UserError, match=r"cannot be downloaded .* the same command resumes it. Do it by hand."):
        fetch(site, target)
    assert not target.exists()
    fetch(site, target)
    assert target.read_bytes() == BODY
    assert site.requested == [0, 300_000, 300_000]


def test_a_server_without_ranges_starts_over(site: Site, target: Path) -> None:
    site.ranges, site.breaks = False, [300_000]
    fetch(site, target)
    assert target.read_bytes() == BODY


def test_a_part_that_is_complete_already(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(BODY)
    fetch(site, target)
    assert target.read_bytes() == BODY
    assert site.requested == [len(BODY)]


def test_another_file_is_refused_and_not_kept(site: Site, target: Path) -> None:
    with pytest.raises(UserError, match=r"returned another file: its SHA-256 is .* Do it by hand."):
        fetch(site, target, body=b"something else")
    assert [path.name for path in target.parent.iterdir()] in ([".file.bin.lock"], [])


def test_a_part_of_another_file_is_refused_then_fetched_again(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="returned another file"):
        fetch(site, target)
    fetch(site, target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("status", [404, 503])
def test_a_servers_refusal(site: Site, target: Path, status: int) -> None:
    site.status = status
    with pytest.raises(UserError, match=f"HTTP Error {status}"):
        fetch(site, target)
    assert len(site.requested) == 1


def test_nobody_listens(target: Path) -> None:
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/x cannot be downloaded to .*refused.* Do it by hand."):
        download("http://127.0.0.1:9/x", target, "", "Do it by hand.")


def test_of_two_at_once_one_downloads(site: Site, target: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: fetch(site, target), range(3)))
    assert site.requested == [0]


@pytest.fixture
def served(site: Site, tiny_cifar: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny CIFAR with its official archive on the site."""
    site.body = tiny_cifar.packed(tmp_path / "official").read_bytes()
    spec = dataclasses.replace(tiny_cifar.spec, url=site.url, sha256=hashlib.sha256(site.body).hexdigest())
    monkeypatch.setitem(CIFARS, spec.name, spec)
    return spec


def test_where_there_is_none_the_archive_is_downloaded_once(served: Any, site: Site, cache: Path) -> None:
    first, second = obtain(served.name, None), obtain(served.name, None)
    assert first == second
    assert first.digest == served.digest
    assert site.requested == [0]
    remaining = [path.name for path in (cache / "downloads").iterdir() if not path.name.startswith(".")]
    assert remaining == []  # the stored form is enough


def test_an_empty_root_is_downloaded_into(served: Any, site: Site, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    site.breaks = [len(site.body) // 2, 0]
    with pytest.raises(UserError, match="cannot be downloaded"):
        obtain(served.name, str(root))
    assert obtain(served.name, str(root)).digest == served.digest
    assert (root / served.layout.file).read_bytes() == site.body


def test_runs_that_start_at_once_share_one_download(served: Any, site: Site) -> None:
    with ThreadPoolExecutor(3) as threads:
        stored = list(threads.map(lambda _: obtain(served.name, None), range(3)))
    assert stored[0] == stored[1] == stored[2]
    assert site.requested == [0]
