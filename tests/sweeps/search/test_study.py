"""The study on disk: who runs which trial, what is left by processes that die, and what it is a study of."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from wrnexp.errors import UserError
from wrnexp.sweeps.search.study import FILE, Study, followed, open_study

SPACE = {"lr": FloatDistribution(0.01, 1.0, log=True), "dropout": CategoricalDistribution(("0", "0.1"))}


def study(folder: Path, **more: Any) -> Study:
    return Study(folder, SPACE, {"epochs": 2}, **{"startup_trials": 3, "seed": 0} | more)


def value(trial: Any) -> float:
    """Return an objective with its best at lr 0.1."""
    lr, dropout = float(trial.params["lr"]), str(trial.params["dropout"])
    return 1 / (1 + abs(lr - 0.1)) - 0.1 * (dropout == "0")


def fill(one: Study, n_trials: int) -> list[dict[str, Any]]:
    while found := one.claim(1, n_trials):
        one.tell(found[0].number, value(found[0]), {1: 0.1, 2: value(found[0])})
    return [trial.params for trial in one.trials]


def test_the_same_seed_and_figures_give_the_same_trials_however_often_it_is_opened(tmp_path: Path) -> None:
    with study(tmp_path / "at once") as one:
        at_once = fill(one, 8)
    for n_trials in (1, 4, 5, 8):
        with study(tmp_path / "in parts") as one:
            in_parts = fill(one, n_trials)
        assert len(in_parts) == n_trials
    assert in_parts == at_once
    with study(tmp_path / "another seed", seed=1) as one:
        assert fill(one, 8) != at_once


def test_a_trial_is_held_by_one_and_waits_for_others_once_it_is_let_go(tmp_path: Path) -> None:
    with study(tmp_path) as one, study(tmp_path) as two:
        (mine,) = one.claim(1, 2)
        (theirs,) = two.claim(5, 2)
        assert (mine.number, theirs.number) == (0, 1)
        assert one.claim(1, 2) == two.claim(1, 2) == []
        assert one.others()
        assert two.others()
        one.release(0)
        assert two.claim(1, 2, passed_over=[0]) == []
        assert not two.others(passed_over=[0])
        assert [trial.params for trial in two.claim(1, 2)] == [mine.params]
        two.tell(0, 0.5, {1: 0.4, 2: 0.5})
        two.tell(1, None, {1: 0.2})
        assert not one.others()
        assert [(trial.state, trial.value) for trial in one.trials] == [
            (TrialState.COMPLETE, 0.5),
            (TrialState.PRUNED, 0.2),
        ]
        assert one.trials[0].intermediate_values == {1: 0.4, 2: 0.5}


def test_what_was_reported_is_kept_when_the_trial_is_told(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        (trial,) = one.claim(1, 1)
        running, known = followed(open_study(tmp_path / FILE), trial.number)
        assert known == set()
        running.report(0.3, 1)
        one.tell(trial.number, 0.5, {1: 0.9, 2: 0.5})
        assert one.trials[0].intermediate_values == {1: 0.3, 2: 0.5}


def _claim_and_wait(folder: Path, ours: Connection) -> None:
    with study(folder) as one:
        ours.send([trial.number for trial in one.claim(2, 3)])
        ours.recv()


@contextmanager
def _claimed_elsewhere(folder: Path) -> Iterator[tuple[list[int], int]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_claim_and_wait, args=(folder, theirs))
    process.start()
    try:
        yield ours.recv(), process.pid or 0
    finally:
        process.kill()
        process.join()


def test_what_a_killed_process_held_is_taken_over(tmp_path: Path) -> None:
    with _claimed_elsewhere(tmp_path) as (theirs, pid), study(tmp_path) as one:
        assert theirs == [0, 1]
        assert [trial.number for trial in one.claim(5, 3)] == [2]
        os.kill(pid, signal.SIGKILL)
        found: list[int] = []
        deadline = time.monotonic() + 30
        while len(found) < 2 and time.monotonic() < deadline:  # the kernel frees the locks in a moment, one by one
            found += [trial.number for trial in one.claim(5, 3)]
        assert sorted(found) == [0, 1]
        assert not one.others()


def test_a_trial_whose_process_died_while_it_was_chosen_counts_for_nothing(tmp_path: Path) -> None:
    with study(tmp_path / "whole") as one:
        whole = fill(one, 4)
    with study(tmp_path / "torn") as one:
        fill(one, 2)
    asked = open_study(tmp_path / "torn" / FILE).ask()
    asked.suggest_float("lr", 0.01, 1.0, log=True)  # and then it was killed
    with study(tmp_path / "torn") as one:
        assert fill(one, 4) == whole
        assert [trial.number for trial in one.trials] == [0, 1, 3, 4]


def test_a_line_that_was_cut_short_is_cut_off(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        fill(one, 2)
    log = tmp_path / FILE
    with log.open("a") as file:
        file.write('{"op_code":4,"worker')
    with study(tmp_path) as one:
        assert len(fill(one, 3)) == 3
    assert all(json.loads(line) for line in log.read_text().splitlines())


def test_a_file_that_is_no_study_is_one_message(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no study\nat all\n")
    with pytest.raises(UserError, match=r"study\.journal is no study that can be read"):
        study(tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {"trial_id": {}}, {"op_code": 99}, {"op_code": None}, {"state": 77}, {"values": ["x"]}, [], None,
    ],
    ids=repr,
)  # fmt: skip
def test_a_malformed_entry_is_one_message(tmp_path: Path, entry: object) -> None:
    with study(tmp_path) as one:
        (trial,) = one.claim(1, 1)
        one.tell(trial.number, 0.5, {1: 0.5})
    path = tmp_path / FILE
    *lines, last = path.read_text().splitlines()
    malformed = json.loads(last) | entry if isinstance(entry, dict) else entry
    path.write_text("\n".join([*lines, json.dumps(malformed)]) + "\n")
    with pytest.raises(UserError, match=r"study\.journal is no study that can be read \([^\n]*\); move .*$") as raised:
        study(tmp_path)
    assert len(str(raised.value).splitlines()) == 1


def test_a_study_of_something_else_is_refused_with_what_differs(tmp_path: Path) -> None:
    with study(tmp_path) as one:
        fill(one, 1)
    with pytest.raises(UserError, match=r"epochs: 2 then, 3 now.*name="):
        Study(tmp_path, SPACE, {"epochs": 3}, startup_trials=3, seed=0)
    with pytest.raises(UserError, match="depth was not searched"):
        Study(tmp_path, SPACE | {"depth": FloatDistribution(0, 1)}, {"epochs": 2}, startup_trials=3, seed=0)
    others = SPACE | {"dropout": CategoricalDistribution(("0", "0.3"))}
    with pytest.raises(UserError, match="dropout: "):
        Study(tmp_path, others, {"epochs": 2}, startup_trials=3, seed=0)
    wider = SPACE | {"lr": FloatDistribution(0.001, 2.0, log=True)}
    with Study(tmp_path, wider, {"epochs": 2}, startup_trials=3, seed=0) as one:
        assert len(fill(one, 2)) == 2


def test_a_refusal_is_one_line_whatever_the_study_holds(tmp_path: Path) -> None:
    with Study(tmp_path, SPACE, {"x\nerror: forged\x1b[2J": "\r"}, startup_trials=3, seed=0) as one:
        fill(one, 1)
    with pytest.raises(UserError, match=r"x\\nerror: forged\\x1b\[2J: \\r then, absent now") as error:
        Study(tmp_path, SPACE, {}, startup_trials=3, seed=0)
    assert str(error.value).isprintable()


def test_importances_name_the_key_that_matters_once_there_are_enough_trials(tmp_path: Path) -> None:
    space = {"lr": SPACE["lr"], "idle": FloatDistribution(0, 1)}
    with Study(tmp_path, space, {}, startup_trials=40, seed=0) as one:
        while len(one.trials) < 40:
            if len(one.trials) == 9:
                assert one.importances() == {}
            (trial,) = one.claim(1, 40)
            one.tell(trial.number, -abs(trial.params["lr"] - 0.1), {})
        shares = one.importances()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["lr"] > 0.8
