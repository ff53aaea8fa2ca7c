"""Sweeps on a local Ray cluster."""

import os
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sweeps.sweeping import FAULTY, command, environment, errors, figures, run, states, times

RAY = ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"]
installed = find_spec("ray") is not None


@pytest.mark.skipif(installed, reason="ray is installed")
def test_without_ray_it_is_said_what_to_install(tmp_path: Path, tiny_overrides: list[str]) -> None:
    done = run(tmp_path, *tiny_overrides, "seed=0,1", "hydra/launcher=ray")
    assert done.returncode == 2
    assert "pip install -c constraints.txt -e '.[ray]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.ray
@pytest.mark.skipif(not installed, reason="needs the extra ray")
def test_a_sweep_ends_as_one_in_order_and_failing_jobs_leave_the_others(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    arguments = [*tiny_overrides, FAULTY[0], "+model.how=fine,raise,killed", "model.dropout=0,0.1", "name=faults"]
    (tmp_path / "in order").mkdir()
    run(tmp_path / "in order", *arguments, MENDED="1")
    first = run(tmp_path, *arguments, *RAY)
    sweep = tmp_path / "multirun" / "faults"
    assert first.returncode == 1, first.stderr
    assert sorted(state for _, state in states(sweep)) == ["completed"] * 2 + ["failed"] * 4
    assert sum("an injected error" in error for error in errors(sweep)) == 2
    assert sum("WorkerCrashedError" in error for error in errors(sweep)) == 2
    assert "2 of 6 jobs completed, 4 failed" in first.stdout
    assert "Traceback" not in first.stderr
    written = times(sweep)
    second = run(tmp_path, *arguments, *RAY, MENDED="1")
    assert second.returncode == 0, second.stderr
    assert written.items() <= times(sweep).items()
    assert figures(sweep) == figures(tmp_path / "in order" / "multirun" / "faults")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not installed, reason="needs the extra ray")
def test_an_interrupted_driver_closes_its_jobs_and_the_next_one_goes_on(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    arguments = [*tiny_overrides, "data.train_limit=1600", "optim.epochs=8", "seed=0,1,2", "name=stopped", *RAY]
    driver = subprocess.Popen(command(*arguments), cwd=tmp_path, env=environment(), start_new_session=True)
    sweep = tmp_path / "multirun" / "stopped"
    deadline = time.monotonic() + 120
    while not any(path.read_text().count("\n") > 1 for path in sweep.glob("*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(driver.pid, signal.SIGINT)
    assert driver.wait(timeout=120) == 130
    assert "running" not in {state for _, state in states(sweep)}
    assert run(tmp_path, *arguments).returncode == 0
    assert {state for _, state in states(sweep)} == {"completed"}


@pytest.mark.ray
@pytest.mark.skipif(not installed, reason="needs the extra ray")
def test_what_the_cluster_has_not_is_said_in_one_line(tmp_path: Path, tiny_overrides: list[str]) -> None:
    done = run(tmp_path, *tiny_overrides, "seed=0,1", *RAY, "hydra.launcher.ray.remote.num_gpus=3")
    assert done.returncode == 2
    assert "hydra.launcher.ray.remote.num_gpus=3 is more than the 0" in done.stderr
    assert not list(tmp_path.rglob("record.json"))
