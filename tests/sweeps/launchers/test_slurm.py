"""Sweeps through sbatch on a real Slurm; one node on this machine will do (docs/howto/slurm.md)."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sweeps.sweeping import FAULTY, command, environment, errors, figures, run, states, times
from wrnexp.sweeps.launchers.slurm import _Array

SLURM = [
    "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=15", "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.gpus_per_node=null",
]  # fmt: skip


def _missing() -> str | None:
    """Say why nothing can be submitted from here."""
    if find_spec("submitit") is None:
        return "needs the extra slurm"
    if shutil.which("sbatch") is None:
        return "Slurm is not installed"
    asked = subprocess.run(["sinfo", "-h", "-t", "idle,mixed,alloc"], capture_output=True, text=True, timeout=60)
    return None if asked.stdout.strip() else f"no node of Slurm is up {asked.stderr.strip()}"


MISSING = _missing()


def cluster(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that submits jobs."""
    absent = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
    marked: Callable[..., None] = pytest.mark.slurm(pytest.mark.slow(absent(test)))
    return marked


def until(true: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.2)


@pytest.mark.skipif(find_spec("submitit") is not None, reason="submitit is installed")
def test_without_submitit_it_is_said_what_to_install(tmp_path: Path, tiny_overrides: list[str]) -> None:
    done = run(tmp_path, *tiny_overrides, "seed=0,1", "hydra/launcher=submitit_slurm")
    assert done.returncode == 2
    assert "pip install -c constraints.txt -e '.[slurm]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.skipif(find_spec("submitit") is None or shutil.which("sbatch") is not None, reason="Slurm may be there")
def test_without_slurm_it_is_said_in_one_line(tmp_path: Path, tiny_overrides: list[str]) -> None:
    done = run(tmp_path, *tiny_overrides, "seed=0,1", *SLURM)
    assert done.returncode == 2
    assert "hydra/launcher=submitit_slurm" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(find_spec("submitit") is None, reason="needs the extra slurm")
@pytest.mark.parametrize("key", ["nodes", "tasks_per_node"])
def test_more_than_one_task_is_refused(tmp_path: Path, tiny_overrides: list[str], key: str) -> None:
    done = run(tmp_path, *tiny_overrides, "seed=0,1", *SLURM, f"hydra.launcher.{key}=2")
    assert done.returncode == 2
    assert f"hydra.launcher.{key}=2 would start each run 2 times" in done.stderr


def test_jobs_that_wait_are_called_off_once_each_as_time_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append(command))
    paths = SimpleNamespace(folder=Path("logs/7"), result_pickle=Path("absent"))
    array = _Array([SimpleNamespace(job_id=f"7_{index}", paths=paths) for index in range(4)])
    for indices in (set[int](), {3}, {3}, {1, 2, 3}):
        array.call_off(indices)
    assert commands == [["scancel", "--state=PENDING", "7_3"], ["scancel", "--state=PENDING", "7_1", "7_2"]]
    array._states = {"7_1": "RUNNING", "7_2": "CANCELLED", "7_3": "CANCELLED", "7_0": "CANCELLED"}
    assert array.gone() == {2, 3}


@cluster
def test_jobs_that_fail_or_are_killed_leave_the_others(tmp_path: Path, tiny_overrides: list[str]) -> None:
    arguments = [
        *tiny_overrides,
        FAULTY[0],
        "+model.how=fine,raise,killed",
        "model.dropout=0,0.1",
        "name=faults",
        *SLURM,
    ]
    first = run(tmp_path, *arguments)
    sweep = tmp_path / "multirun" / "faults"
    assert first.returncode == 1, first.stderr
    assert sorted(state for _, state in states(sweep)) == ["completed"] * 2 + ["failed"] * 4
    assert sum("an injected error" in error for error in errors(sweep)) == 2
    assert sum("left no result" in error for error in errors(sweep)) == 2
    assert "2 of 6 jobs completed, 4 failed" in first.stdout
    written = times(sweep)
    second = run(tmp_path, *arguments, MENDED="1")
    assert second.returncode == 0, second.stderr
    assert "4 jobs, logs in" in second.stdout
    assert {state for _, state in states(sweep)} == {"completed"}
    assert written.items() <= times(sweep).items()


@cluster
def test_a_failure_may_call_off_what_waits(tmp_path: Path, tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, FAULTY[0], "+model.how=raise,slow", "seed=range(4)", "name=called_off", *SLURM]
    done = run(tmp_path, *arguments, "hydra.launcher.array_parallelism=1", "sweep.on_error=stop")
    assert done.returncode == 1, done.stderr
    found = [state for _, state in states(tmp_path / "multirun" / "called_off")]
    assert found.count("failed") >= 1
    assert found.count("pending") >= 4
    assert "completed" in found or found.count("pending") == 7


@cluster
def test_a_preempted_job_goes_on_in_its_folder_and_ends_as_an_undisturbed_one(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    jobs = [*tiny_overrides, "data.train_limit=1600", "optim.epochs=12", "model.dropout=0.1,0.2", "name=preempted"]
    (tmp_path / "undisturbed").mkdir()
    assert run(tmp_path / "undisturbed", *jobs).returncode == 0
    sweep = tmp_path / "multirun" / "preempted"
    driver = subprocess.Popen(
        command(*jobs, *SLURM),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: any(path.read_text().count("\n") > 2 for path in sweep.glob("*/metrics.jsonl")))
    job = next(iter(sweep.glob(".submitit/*_0"))).name
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    until(
        lambda: any(
            "preempted" in (json.loads(path.read_text())["error"] or "") for path in sweep.glob("*/record.json")
        )
    )
    output, _ = driver.communicate(timeout=400)  # Slurm lets a job that is queued again wait for two minutes
    assert driver.returncode == 0, output
    logs = "".join(path.read_text() for path in sweep.glob(f".submitit/{job}/*.out"))
    assert "checkpointed up to step" in logs
    assert logs.count("Starting with JobEnvironment") == 2
    assert figures(sweep) == figures(tmp_path / "undisturbed" / "multirun" / "preempted")
