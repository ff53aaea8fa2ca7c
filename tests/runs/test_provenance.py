"""Provenance: what git and the interpreter say themselves."""

import platform
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
import torch

from wrnexp.runs import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("one = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def test_the_commit_and_whether_tracked_files_differ(repository: Path) -> None:
    found = provenance.collect(repository)
    assert found["git_commit"] == git(repository, "rev-parse", "HEAD")
    assert found["git_dirty"] is False
    (repository / "output.txt").write_text("not tracked")
    assert provenance.collect(repository)["git_dirty"] is False
    (repository / "code.py").write_text("one = 2\n")
    assert provenance.collect(repository)["git_dirty"] is True


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    found = provenance.collect(tmp_path)
    assert (found["git_commit"], found["git_dirty"]) == (None, None)


def test_versions_and_times(tmp_path: Path) -> None:
    found = provenance.collect(tmp_path)
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__.split("+")[0]
    assert datetime.fromisoformat(found["started"]).utcoffset() is not None
    assert found["finished"] is None


def test_only_a_sweeps_agent_chooses_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "other")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert provenance.agents_run() is None
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    assert provenance.agents_run() == {"id": "other", "sweep": "s1", "project": "mine"}
