"""Where a run's numbers come from: code, software, machine and times."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# What may make the same config train otherwise: code, software, and what was settled for the machine.
PROGRAM = (
    "code", "external_code", "python", "torch", "numpy", "device_type", "device", "precision", "channels_last",
    "compile", "cuda_graphs", "threads", "devices",
)  # fmt: skip
PACKAGES = ("torch", "torchvision", "hydra-core", "numpy", "wandb")


def collect(source: Path) -> dict[str, Any]:
    """Return git commit and state, the code's digest, Python, package versions, platform and the time of the start.

    Args:
        source: a folder of the code, for git to look at.
    """
    commit = git_commit(source)
    return {
        "git_commit": commit,
        "git_dirty": None if commit is None else bool(_git(source, "status", "--porcelain", "--untracked-files=no")),
        "code": code_digest(source),
        "python": platform.python_version(),
        **{package.split("-")[0]: _version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "hostname": platform.node(),
        "cpus": usable_cores(),
        "command": _utf8(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "started": now(),
        "finished": None,
    }


class Programs:
    """The programs that trained a run, the last one in this process, each with its first and last epoch, from 1.

    An epoch in which a process was stopped and another resumed belongs to both.

    Args:
        earlier: of the processes before this one, as `upto` returned them.
        current: provenance of this process.
        first_epoch: that this process trains.
    """

    def __init__(self, earlier: Sequence[Mapping[str, Any]], current: Mapping[str, Any], first_epoch: int) -> None:
        self._earlier = [dict(program) for program in earlier]
        self._current = {key: current[key] for key in ("git_commit", "git_dirty", *PROGRAM) if key in current}
        self._first = first_epoch
        if self._earlier and not self.changes:
            self._first = self._earlier.pop()["epochs"][0]

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """What differs from the program before this one: its value and this one's."""
        last = self._earlier[-1] if self._earlier else {}
        both = last.keys() & self._current.keys()
        return {
            key: (last[key], self._current[key]) for key in PROGRAM if key in both and last[key] != self._current[key]
        }

    def upto(self, epoch: int) -> list[dict[str, Any]]:
        """Return all of them once `epoch` epochs are trained or begun."""
        trained = [self._current | {"epochs": [self._first, epoch]}] if epoch >= self._first else []
        return [*self._earlier, *trained]


def are_programs(value: Any) -> bool:
    """Say whether a value is a list as `Programs.upto` returns it: a file may have anything in its place."""
    return isinstance(value, list) and all(isinstance(one, dict) and _is_program(one) for one in value)


def agents_run() -> dict[str, str] | None:
    """Return the W&B run that a W&B sweep's agent has chosen for this process, which it started; None without one.

    Returns:
        `id` of the run, `sweep`, and where the agent was told them `entity` and `project`.
    """
    names = {"id": "RUN_ID", "sweep": "SWEEP_ID", "entity": "ENTITY", "project": "PROJECT"}
    found = {key: value for key, name in names.items() if (value := os.environ.get(f"WANDB_{name}"))}
    return found if {"id", "sweep"} <= found.keys() else None


def git_commit(source: Path) -> str | None:
    """Return the commit of the checkout that `source` lies in; None where there is none."""
    return _git(source, "rev-parse", "HEAD")


def code_digest(source: Path) -> str:
    """Return ten hexadecimal digits of the Python files below `source`: what ran, whether committed or not."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:10]


def usable_cores() -> int:
    """Return how many processor cores this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def now() -> str:
    """Return the time in UTC as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_program(program: Mapping[str, Any]) -> bool:
    epochs, threads = program.get("epochs"), program.get("threads", 1)
    whole = isinstance(epochs, list) and len(epochs) == 2 and all(type(epoch) is int for epoch in epochs)
    return whole and type(threads) is int and threads > 0


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _utf8(text: str) -> str:
    """Escape bytes of a command line that are not UTF-8, which Python keeps as lone surrogates."""
    return text.encode(errors="backslashreplace").decode()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
