"""Searches as their users run them: stopped and given again, two at once, with hopeless, failing and diverging runs."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sweeps.sweeping import FAULTY, command, environment, figures, run, times
from wrnexp.runs.record import read_record
from wrnexp.sweeps.sweep_json import read_sweep
from wrnexp.sweeps.tables import totals

SEARCH = ["hydra/sweeper=search", "data.val_size=48", "hydra.sweeper.sampler.startup_trials=2"]
SPACE = ["optim.lr=tag(log, interval(0.05, 1.6))", "model.dropout=0,0.1,0.2", "name=found"]
UNPRUNED = "hydra.sweeper.pruning.enabled=false"
HIDDEN = 'import sys\nsys.modules["optuna"] = None\n'  # as if it were not installed


def sweep_of(folder: Path) -> Path:
    return folder / "multirun" / "found"


def started(output: str) -> list[str]:
    """Return the lines that say that a job begins."""
    return [line for line in output.splitlines() if line.startswith("trial ") and ": " in line]


def trials(sweep: Path) -> list[tuple[Any, ...]]:
    """Return the number, parameters, state, value and curve of each trial, in their order."""
    from wrnexp.sweeps.search.study import FILE, open_study

    found = open_study(sweep / FILE).trials
    return [(one.number, one.params, one.state.name, one.value, one.intermediate_values) for one in found]


def perfect(sweep: Path, count: int) -> None:
    """Begin the study with complete trials that no run can come up to."""
    from optuna.trial import create_trial

    from wrnexp.sweeps.search.space import space
    from wrnexp.sweeps.search.study import FILE, open_study

    sweep.mkdir(parents=True)
    study = open_study(sweep / FILE)
    for _ in range(count):
        study.add_trial(
            create_trial(
                params={"optim.lr": 0.1, "model.dropout": "0"},
                distributions=space([*SPACE, "seed=0"]).searched,
                value=1.0,
                intermediate_values=dict.fromkeys((1, 2, 3), 1.0),
            )
        )


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def killed_once_at_work(arguments: list[str], folder: Path, records: int, delay: float) -> None:
    """Start a search and kill it `delay` seconds after its run number `records` has trained an epoch."""
    process = start(folder, *arguments)
    while len(list(sweep_of(folder).glob("*/metrics.jsonl"))) < records:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("n_trials", "kills"), [(3, (2,)), pytest.param(9, (1, 2, 3, 4, 5, 6, 7), marks=pytest.mark.slow)]
)
def test_a_search_that_is_killed_and_then_enlarged_ends_as_an_undisturbed_one(
    tmp_path: Path, tiny_overrides: list[str], n_trials: int, kills: tuple[int, ...]
) -> None:
    pytest.importorskip("optuna")
    arguments = [*tiny_overrides, *SEARCH, *SPACE, "hydra.sweeper.pruning.warmup_epochs=0"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    beside = start(undisturbed, *arguments, f"hydra.sweeper.n_trials={n_trials}")
    chance = random.Random(20)
    for records in kills:
        delay = chance.uniform(0, 1) if len(kills) > 1 else 0.0
        killed_once_at_work([*arguments, f"hydra.sweeper.n_trials={n_trials - 1}"], killed, records, delay)
    completed = times(sweep_of(killed))
    last = run(killed, *arguments, f"hydra.sweeper.n_trials={n_trials}")
    assert last.returncode == 0, last.stderr
    assert beside.wait(240) == 0
    assert trials(sweep_of(killed)) == trials(sweep_of(undisturbed))
    assert len(trials(sweep_of(killed))) == n_trials
    assert completed.items() <= times(sweep_of(killed)).items()  # none was run again
    assert figures(sweep_of(killed)) == figures(sweep_of(undisturbed))


def test_a_hopeless_run_is_stopped_once_and_is_no_failure(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("optuna")
    perfect(sweep_of(tmp_path), 2)
    pruning = ["hydra.sweeper.pruning.startup_trials=2", "hydra.sweeper.pruning.warmup_epochs=1"]
    arguments = [*tiny_overrides, *SEARCH, *SPACE, "optim.epochs=3", *pruning, "hydra.sweeper.n_trials=3"]
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(started(done.stdout)) == 1
    number, _, state, _, curve = trials(sweep_of(tmp_path))[-1]
    assert (number, state, list(curve)) == (2, "PRUNED", [1, 2])
    sweep = read_sweep(sweep_of(tmp_path))
    entry = sweep.jobs[-1]
    assert (entry.state, entry.over) == ("interrupted", True)
    assert (entry.error or "").startswith("Pruned: after epoch 2 of 3")
    assert "1 stopped by the search" in totals(sweep.jobs)
    record = sweep_of(tmp_path) / entry.folder / "record.json"
    written = record.read_bytes()
    again = run(tmp_path, *arguments)
    assert again.returncode == 0, again.stdout + again.stderr
    assert started(again.stdout) == []
    assert "2 of 3 trials completed, 1 stopped" in again.stdout
    assert record.read_bytes() == written


@pytest.mark.slow
def test_two_drivers_share_a_study(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("optuna")
    arguments = [*tiny_overrides, *SEARCH, *SPACE, UNPRUNED, "optim.epochs=1", "hydra.sweeper.n_trials=4"]
    both = [
        subprocess.Popen(
            command(*arguments),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [one.communicate(timeout=240) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    lines = [line for output, _ in outputs for line in started(output)]
    runs = {path.parent.name for path in sweep_of(tmp_path).glob("*/record.json")}
    assert len(lines) == len(set(lines)) == len(runs)
    assert [state for _, _, state, _, _ in trials(sweep_of(tmp_path))] == ["COMPLETE"] * 4
    assert all("4 of 4 trials completed" in output for output, _ in outputs)


@pytest.mark.slow
def test_two_trials_at_once(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("optuna")
    at_once = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    arguments = [*tiny_overrides, *SEARCH, *SPACE, UNPRUNED, "optim.epochs=20", "hydra.sweeper.n_trials=4", *at_once]
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert [state for _, _, state, _, _ in trials(sweep_of(tmp_path))] == ["COMPLETE"] * 4
    records = [read_record(path.parent).provenance for path in sweep_of(tmp_path).glob("*/record.json")]
    spans = sorted((one["started"], one["finished"]) for one in records)
    assert spans[1][0] < spans[0][1]  # the second began before the first ended


@pytest.mark.slow
def test_failing_and_diverging_trials_and_several_seeds(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "count").mkdir()
    faulty = [FAULTY[0], "+model.how=fine,raise", "optim.lr=0.1,1e30", "seed=0,1", "optim.epochs=1", "name=found"]
    arguments = [*tiny_overrides, *SEARCH, *faulty, UNPRUNED, "hydra.sweeper.n_trials=8"]
    first = run(tmp_path, *arguments, COUNT=str(tmp_path / "count"))
    assert first.returncode == 2
    assert "an injected error" in first.stdout
    found = trials(sweep_of(tmp_path))
    for _, params, state, value, _ in found:
        if params["+model.how"] == "raise":
            assert state == "RUNNING"
        elif params["optim.lr"] == "1e+30":
            assert state == "PRUNED"
        else:
            assert state == "COMPLETE"
            runs = [read_record(path) for path in times_of(sweep_of(tmp_path))]
            assert [one.seed for one in runs] == [0, 1]
            assert value == pytest.approx(sum(float(one.metrics["val_accuracy"] or 0) for one in runs) / 2)
    assert {state for _, _, state, _, _ in found} == {"RUNNING", "PRUNED", "COMPLETE"}
    made = len((tmp_path / "count" / "raise 0.3").read_text().splitlines())
    assert made == len({params["optim.lr"] for _, params, state, _, _ in found if state == "RUNNING"})
    left = run(tmp_path, *arguments, "sweep.retry_failed=false", COUNT=str(tmp_path / "count"))
    assert left.returncode == 2
    assert started(left.stdout) == []
    mended = run(tmp_path, *arguments, MENDED="1")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "RUNNING" not in {state for _, _, state, _, _ in trials(sweep_of(tmp_path))}
    assert [one[1] for one in trials(sweep_of(tmp_path))] == [one[1] for one in found]


def times_of(sweep: Path) -> list[Path]:
    """Return the folders of the complete runs, by their seeds."""
    return sorted((path.parent for path in times(sweep)), key=lambda folder: read_record(folder).seed)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["data.val_size=0", "model.dropout=0,0.1"], "must not choose by the test set"),
        (["model.dropout=interval(0,1.5)"], r"^config: model\.dropout=1\.5 is not allowed"),
        (["model.dropout=0,0.1", "hydra.sweeper.n_trials=0"], r"^config: hydra\.sweeper\.n_trials=0: "),
        (["model.dropout=0,0.1", "hydra.sweeper.pruning.startup_trials=0.5"], r"pruning\.startup_trials=0\.5: "),
        (["optim.lr=interval(1,0)"], r"^optim\.lr=interval\(1,0\): "),
    ],
)
def test_a_wrong_search_is_one_message_before_work(
    tmp_path: Path, tiny_overrides: list[str], wrong: list[str], words: str
) -> None:
    pytest.importorskip("optuna")
    done = run(tmp_path, *tiny_overrides, "data.val_size=48", "hydra/sweeper=search", *wrong)
    assert done.returncode == 2
    assert re.search(words, done.stderr.removeprefix("error: "))
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_is_exit_code_2(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("optuna")
    done = run(tmp_path, *tiny_overrides, *SEARCH, "model.dropuot=interval(0,0.3)")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("there is no such key; did you mean model.dropout?")
    assert not (tmp_path / "multirun").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("optuna")
    done = run(tmp_path, *tiny_overrides, *SEARCH, *SPACE, "sweep.dry_run=true", "hydra.sweeper.n_trials=7")
    assert done.returncode == 0, done.stderr
    assert "7 more trials of 7" in done.stdout
    assert "optim.lr=tag(log, interval(0.05, 1.6))" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_it_is_said_what_to_install(tmp_path: Path, tiny_overrides: list[str]) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDDEN)
    paths = os.pathsep.join([str(hidden), environment()["PYTHONPATH"]])
    done = run(tmp_path, *tiny_overrides, *SEARCH, "model.dropout=0,0.1", PYTHONPATH=paths)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "error: hydra/sweeper=search needs optuna, not installed here: pip install -c constraints.txt -e '.[search]'"
    )
    assert not (tmp_path / "multirun").exists()
