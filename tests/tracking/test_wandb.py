"""W&B through its real SDK, offline: what its files hold equals the record."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from wrnexp import app
from wrnexp.errors import TrainingError
from wrnexp.launch import Job
from wrnexp.records import read_metrics
from wrnexp.tracking.wandb import settle_mode

Tiny = Callable[..., DictConfig]


def inspect(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a local W&B run through W&B's own reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def entries(folder: Path, kind: str) -> list[Any]:
    return [entry[kind] for entry in inspect(folder) if entry["type"] == kind]


def test_an_offline_run_mirrors_the_record(tiny: Tiny, tmp_path: Path) -> None:
    job = Job(sweep="two", overrides=["seed=0"], choices={"experiment": "base"}, shared=tmp_path)
    record = app.run(tiny("tracking.wandb.mode=offline"), tmp_path / "run", job)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert folder.name.endswith(record.run_id)
    (run,) = entries(folder, "run")
    assert run["config"]["update"]["model"]["depth"] == 10
    assert (run["run_group"], run["job_type"], run["notes"]) == ("two", "base", "seed=0")
    history = entries(folder, "history")
    assert len(history) == len(read_metrics(tmp_path / "run")) == 2
    assert [entry.get("exit_code", 0) for entry in entries(folder, "exit")] == [0]


def test_a_failed_run_ends_with_exit_code_1(tiny: Tiny, tmp_path: Path) -> None:
    job = Job(shared=tmp_path)
    with pytest.raises(TrainingError):
        app.run(tiny("tracking.wandb.mode=offline", "optim.lr=1e30"), tmp_path / "run", job)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert [entry.get("exit_code") for entry in entries(folder, "exit")] == [1]


def test_two_runs_in_one_process_are_two(tiny: Tiny, tmp_path: Path) -> None:
    for seed in (0, 1):
        app.run(
            tiny("tracking.wandb.mode=offline", f"seed={seed}", "optim.epochs=1", "optim.schedule.warmup_epochs=0"),
            tmp_path / str(seed),
            Job(shared=tmp_path),
        )
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    assert [len(entries(folder, "history")) for folder in folders] == [1, 1]


@pytest.mark.parametrize(
    ("mode", "environment", "settled"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "0" * 40}, "online"),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("auto", {"WANDB_MODE": "offline", "WANDB_API_KEY": "0" * 40}, "offline"),
        ("auto", {"WANDB_MODE": "dryrun"}, "offline"),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
        ("online", {}, "offline"),
        ("auto", {"WANDB_MODE": "online"}, "offline"),
        ("online", {"WANDB_API_KEY": "0" * 40}, "online"),
    ],
)
def test_the_mode_is_never_a_question(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, environment: dict[str, str], settled: str
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settle_mode(mode) == settled


def test_a_key_in_netrc_is_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine wandb.example login user password 0000\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    assert settle_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    assert settle_mode("auto") == "online"
