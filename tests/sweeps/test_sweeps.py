"""Sweeps as their users run them: stopped and given again, with failing jobs, two at once, edited while they run."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.sweeps.sweeping import FAULTY, ROOT, command, environment, errors, figures, run, states, times
from wrnexp.runs.record import read_metrics


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("seeds", "kills"), [(1, 1), pytest.param(4, 5, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_ends_as_an_undisturbed_one(
    tmp_path: Path, tiny_overrides: list[str], seeds: int, kills: int
) -> None:
    count = 3 * seeds
    jobs = [*tiny_overrides, "model.dropout=0,0.1,0.2", f"seed=range({seeds})", "name=killed"]
    (tmp_path / "undisturbed").mkdir()
    (tmp_path / "killed").mkdir()
    done = run(tmp_path / "undisturbed", *jobs, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / "killed" / "multirun" / "killed"
    chance = random.Random(20)
    completed: dict[Path, int] = {}
    for _ in range(kills):
        process = subprocess.Popen(
            command(*jobs),
            cwd=tmp_path / "killed",
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + chance.uniform(2.0, 7.0)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        completed = times(sweep) | completed  # when each was completed first
    last = run(tmp_path / "killed", *jobs)
    assert last.returncode == 0, last.stderr
    assert len(times(sweep)) == count
    assert completed.items() <= times(sweep).items()  # none was run again
    assert figures(sweep) == figures(tmp_path / "undisturbed" / "multirun" / "killed")
    assert {state for _, state in states(sweep)} == {"completed"}
    written = times(sweep)
    kept = [one for one in jobs if "seed" not in one]
    more = run(tmp_path / "killed", f"seed=range({seeds + 1})", *kept, "sweep.dry_run=true")
    assert f"{count} of {count + 3} jobs completed, 3 pending" in more.stdout
    assert times(sweep) == written


@pytest.mark.parametrize(
    "launcher",
    [[], pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], marks=pytest.mark.slow)],
    ids=["local", "joblib"],
)
def test_failing_jobs_leave_the_others_and_are_all_that_the_next_call_runs(
    tmp_path: Path, tiny_overrides: list[str], launcher: list[str]
) -> None:
    arms = {
        "first": ["+model.how=fine"],
        "raised": ["+model.how=raise"],
        "killed": ["+model.how=killed"],
        "bad value": ["+model.how=fine", "optim.lr=-1"],
        "not there": ["+model.how=fine", "optim.schedule._target_=nowhere.Nope"],
        "last": ["+model.how=fine", "model.dropout=0.1"],
    }
    sweeper = {"arms": {label: {"overrides": overrides} for label, overrides in arms.items()}}
    OmegaConf.save({"defaults": ["config", "_self_"], "hydra": {"sweeper": sweeper}}, tmp_path / "faults.yaml")
    arguments = ["--config-dir", str(tmp_path), "-cn", "faults", *tiny_overrides, FAULTY[0], *launcher]
    first = run(tmp_path, *arguments)
    assert first.returncode == 1
    sweep = tmp_path / "multirun" / "faults"
    expected = {
        "first": "completed",
        "raised": "failed",
        "killed": "failed",
        "bad value": "failed",
        "not there": "failed",
        "last": "completed",
    }
    assert dict(states(sweep)) == expected
    assert "2 of 6 jobs completed, 4 failed" in first.stdout
    table = " ".join(first.stdout.split())
    for error in ("an injected error", "killed by SIGKILL", "optim.lr=-1 is not allowed"):
        assert error in table
    assert "optim.schedule._target_=nowhere.Nope cannot be imported" in " ".join(errors(sweep))
    assert "Traceback" not in first.stderr
    left = run(tmp_path, *arguments, "sweep.retry_failed=false", MENDED="1")
    assert left.returncode == 1
    assert dict(states(sweep)) == expected
    written = times(sweep)
    second = run(tmp_path, *arguments, MENDED="1", COUNT=str(tmp_path))
    assert dict(states(sweep)) == expected | {"raised": "completed", "killed": "completed"}
    assert second.returncode == 2  # what is left is the user's mistake
    assert written.items() <= times(sweep).items()
    assert {path.name for path in tmp_path.iterdir()} - {"multirun", "faults.yaml"} == {"raise 0.3", "killed 0.3"}


def test_a_sweep_may_stop_at_its_first_failure(tmp_path: Path, tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, FAULTY[0], "+model.how=raise,fine", "sweep.on_error=stop"]
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert [state for _, state in states(tmp_path / "multirun" / "how")] == ["failed", "pending"]


def test_a_sweep_that_is_told_to_end_closes_its_run_and_says_how_it_stands(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    arguments = [*tiny_overrides, "data.train_limit=1600", "optim.epochs=40", "seed=0,1", "name=told"]
    driver = subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    sweep = tmp_path / "multirun" / "told"
    deadline = time.monotonic() + 240
    while not any(path.read_text() for path in sweep.glob("*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGTERM)
    output, errors = driver.communicate(timeout=240)
    assert driver.returncode == 143
    assert "0 of 2 jobs completed, 1 interrupted, 1 pending" in output
    assert errors.startswith("interrupted: terminated (SIGTERM)")
    assert "Traceback" not in errors
    assert [state for _, state in states(sweep)] == ["interrupted", "pending"]


def test_two_drivers_at_once_run_every_job_once(tmp_path: Path, tiny_overrides: list[str]) -> None:
    count = tmp_path / "count"
    count.mkdir()
    arguments = [*tiny_overrides, FAULTY[0], "+model.how=slow,raise", "model.dropout=0,0.1,0.2", "name=shared"]
    drivers = [
        subprocess.Popen(
            command(*arguments), cwd=tmp_path, env=environment(COUNT=str(count)), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [driver.communicate(timeout=200)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [2, 2]
    assert all("3 of 6 jobs completed, 3 failed" in output for output in outputs)
    made = {path.name: path.read_text().split() for path in count.iterdir()}
    assert len(made) == 6
    assert all(len(lines) == 1 for lines in made.values())
    assert len({lines[0] for lines in made.values()}) == 2  # both had a share


def test_editing_a_config_changes_no_job_of_a_running_sweep_and_the_next_call_says_so(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    kept = [one for one in tiny_overrides if not one.startswith("optim.")]
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "edited.yaml"
    file.write_text(
        "# Does an edit reach a job?\ndefaults: [config, _self_]\noptim: {epochs: 1, schedule: {warmup_epochs: 0}}\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    )
    arguments = ["--config-dir", str(file.parent), "-cn", "edited", *kept, *FAULTY]
    first = run(tmp_path, *arguments, EDIT=str(file))
    assert first.returncode == 0, first.stderr
    assert "epochs: 2" in file.read_text()
    sweep = tmp_path / "multirun" / "edited"
    assert [len(read_metrics(path.parent)) for path in sweep.glob("*/record.json")] == [1, 1]
    assert json.loads((sweep / "sweep.json").read_text())["question"] == "Does an edit reach a job?"
    assert "note: the configuration" not in first.stdout
    second = run(tmp_path, *arguments)
    assert second.returncode == 0, second.stderr
    assert "note: the configuration of 2 jobs has changed" in second.stdout
    assert "optim.epochs: 1 then, 2 now" in second.stdout
    assert sorted(len(read_metrics(path.parent)) for path in sweep.glob("*/record.json")) == [1, 1, 2, 2]
    assert len(states(sweep)) == 2


def test_a_dry_run_shows_what_is_done_and_writes_nothing(tmp_path: Path, tiny_overrides: list[str]) -> None:
    assert run(tmp_path, *tiny_overrides, "seed=0").returncode == 0
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    dry = run(tmp_path, *tiny_overrides, "seed=0,1", "sweep.dry_run=true")
    assert dry.returncode == 0, dry.stderr
    assert "1 of 2 jobs completed, 1 pending; 1 of the open ones take" in dry.stdout
    unknown = run(tmp_path, *tiny_overrides, "model.width=2", "seed=0,1", "sweep.dry_run=true")
    assert "for 2 no run like them is on record" in unknown.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written
    listed = subprocess.run(
        [sys.executable, "-m", "wrnexp", "sweeps"], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=environment(PYTHONPATH=str(ROOT)),
    )  # fmt: skip
    assert "multirun/seed" in listed.stdout
    assert "1/1" in listed.stdout


def test_combinations_that_are_one_run_are_one_job(tmp_path: Path, tiny_overrides: list[str]) -> None:
    kept = [one for one in tiny_overrides if not one.startswith("loader.workers")]
    done = run(tmp_path, *kept, "loader.workers=0,1", "sweep.dry_run=true")
    assert "0 of 1 jobs completed" in done.stdout
    assert "note: 2 combinations are 1 run: loader.workers does not change a result" in done.stdout
