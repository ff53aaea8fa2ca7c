"""The time limit of a sweep: which jobs it lets start by records, and what comes of those that do not end."""

import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from tests.sweeps.sweeping import figures, run, states
from wrnexp import app
from wrnexp.config import identity
from wrnexp.errors import OutOfTimeError, Stopped
from wrnexp.hydra_app.main import one_message
from wrnexp.hydra_app.naming import app_config
from wrnexp.process.signals import TimeLimit
from wrnexp.runs.invocation import Invocation
from wrnexp.runs.record import Record, find_record, read_record, write_metrics, write_record
from wrnexp.sweeps import limit as limits
from wrnexp.sweeps.jobs import Job
from wrnexp.sweeps.limit import SweepLimit
from wrnexp.sweeps.sweep_json import read_sweep

Tiny = Callable[..., DictConfig]
PASSED = TimeLimit(60.0, "sweep.max_seconds", ends=0.0)


def job(config: DictConfig, folder: Path) -> Job:
    hydra = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder), "subdir": str(config.seed)}}})
    return Job((), (), (), hydra, app_config(config))


def write(config: DictConfig, folder: Path, seconds: float, epochs: int = 2, host: str | None = None) -> None:
    """Write the record of a run that was trained for some epochs of so many seconds, and then stopped."""
    values = app_config(config)
    record = Record(
        status="interrupted",
        run_id=identity.run_id(values),
        arm_id=identity.arm_id(values),
        label="base",
        seed=values["seed"],
        config=values,
        provenance={"hostname": host or platform.node(), "device": "CPU", "device_type": "cpu"},
    )
    write_record(folder, record)
    write_metrics(folder, [{"epoch": epoch, "seconds": seconds} for epoch in range(1, epochs + 1)])


def test_without_a_limit_every_job_fits_and_no_record_is_read(tiny: Tiny, tmp_path: Path) -> None:
    write(tiny("seed=9"), tmp_path / "records" / "9", 1000.0)
    limit = SweepLimit(None, [tmp_path / "records"])
    assert limit.fits(job(tiny(), tmp_path))
    assert limit._measured is None


def test_a_job_starts_where_no_record_tells_and_not_where_one_says_that_it_will_not_fit(
    tiny: Tiny, tmp_path: Path
) -> None:
    limit = SweepLimit(1000, [tmp_path / "records"])
    jobs = [job(tiny(f"seed={seed}"), tmp_path / "sweep") for seed in (0, 1)]
    assert limit.fits(jobs[0])
    write(tiny("seed=9"), tmp_path / "records" / "9", 600.0)  # 2 epochs
    assert limit.fits(jobs[0])  # not read again yet
    limit.read_again()
    assert not limit.fits(jobs[0])
    assert limit.refused == {jobs[0].folder: "not started: needs about 20 min, 17 min of sweep.max_seconds was left"}
    write(tiny("seed=1"), jobs[1].folder, 600.0, epochs=1)
    assert limit.fits(jobs[1])  # half of it is done
    write(tiny("seed=8"), tmp_path / "records" / "8", 100.0)
    limit.read_again()
    assert limit.fits(jobs[0])  # in the median of both
    assert limit.refused == {}


def test_no_time_left_is_no_time_for_any_job(tiny: Tiny, tmp_path: Path) -> None:
    limit = SweepLimit(1e-9, [tmp_path])
    one = job(tiny(), tmp_path)
    assert limit.reached
    assert not limit.fits(one)
    assert not limit.fits_new(one)
    assert limit.refused == {one.folder: "not started: sweep.max_seconds has passed"}


def test_records_of_another_machine_count_where_jobs_run_elsewhere(tiny: Tiny, tmp_path: Path) -> None:
    write(tiny("seed=9"), tmp_path / "records" / "9", 600.0, host="another")
    one = job(tiny(), tmp_path)
    fitting = [SweepLimit(1000, [tmp_path / "records"], elsewhere=elsewhere).fits(one) for elsewhere in (False, True)]
    assert fitting == [True, False]


def test_a_job_with_a_limit_of_its_own_takes_no_longer(tiny: Tiny, tmp_path: Path) -> None:
    write(tiny("seed=9"), tmp_path / "records" / "9", 600.0)
    limit = SweepLimit(1000, [tmp_path / "records"])
    assert [limit.fits(job(tiny(f"trainer.max_seconds={own}", f"seed={own}"), tmp_path)) for own in (900, 1100)] == [
        True,
        False,
    ]


def test_a_job_that_needs_more_than_the_whole_limit_is_resumed_but_not_begun(tiny: Tiny, tmp_path: Path) -> None:
    begun, other = (job(tiny(f"seed={seed}"), tmp_path / "sweep") for seed in (0, 1))
    write(tiny("seed=0"), begun.folder, 5000.0, epochs=1)
    limit = SweepLimit(1000, [tmp_path])
    assert limit.fits(begun)
    assert not limit.fits(other)
    assert limit._closing([begun, other]).endswith("the same command resumes")
    assert "with a higher limit" in limit._closing([other])


def test_a_wrong_config_is_left_to_its_job(tiny: Tiny, tmp_path: Path) -> None:
    write(tiny("seed=9"), tmp_path / "records" / "9", 600.0)
    assert SweepLimit(1000, [tmp_path / "records"]).fits(job(tiny("optim.epochs=ten"), tmp_path))


def test_a_new_run_needs_its_whole_time_though_one_like_it_is_nearly_done(tiny: Tiny, tmp_path: Path) -> None:
    one = job(tiny(), tmp_path)
    write(tiny(), one.folder, 600.0)
    limit = SweepLimit(1000, [tmp_path])
    assert limit.fits(one)
    assert not limit.fits_new(one)


@pytest.mark.parametrize(
    ("late", "errors", "code", "words"),
    [
        (1, [], 124, "the same command resumes"),
        (0, [], 124, "the same command resumes"),
        (1, ["RuntimeError: x"], 1, "the same command resumes"),
        (1, ["UserError: x"], 2, "the same command resumes"),
        (0, ["UserError: x", ""], 1, "the same command runs what is not completed"),
    ],
)
def test_a_sweep_that_only_lacked_time_has_an_exit_code_of_its_own(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], late: int, errors: list[str], code: int, words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        SweepLimit(1e-9, [tmp_path]).end([job(tiny(), tmp_path)] * late, errors)
    assert ended.value.code == code
    assert capsys.readouterr().err.strip().endswith(words)


def test_a_limit_that_no_job_will_ever_fit_into_is_said(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tiny("seed=9"), tmp_path / "records" / "9", 600.0)
    with pytest.raises(SystemExit):
        SweepLimit(1000, [tmp_path / "records"]).end([job(tiny(), tmp_path)], [])
    assert "fits into sweep.max_seconds=1000: the shortest needs about 20 min" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_launcher_that_does_not_end_is_broken_off_some_time_after_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OVERTIME", 0.05)
    before, reached = signal.getsignal(signal.SIGALRM), []
    with SweepLimit(0.01, [tmp_path]).enforced():
        time.sleep(60)
        reached.append("the end")
    assert not reached
    assert signal.getsignal(signal.SIGALRM) is before
    with pytest.raises(Stopped), SweepLimit(60, [tmp_path]).enforced():
        raise Stopped(signal.SIGTERM)


def test_a_job_hears_of_the_sweeps_limit_and_its_record_holds_what_the_user_gave(tiny: Tiny, tmp_path: Path) -> None:
    current = Invocation(sweep="s", limit=PASSED)
    with pytest.raises(OutOfTimeError), one_message(current):
        app.run(tiny("sweep.max_seconds=60"), tmp_path, current)
    record = read_record(tmp_path)
    assert (record.status, record.config["trainer"]["max_seconds"]) == ("interrupted", None)
    assert record.error == (
        "Stopped: time limit of 60 s reached (sweep.max_seconds); checkpointed up to step 1 of 6 in epoch 1"
    )
    alone = Invocation(limit=PASSED)
    with pytest.raises(Stopped), one_message(alone):
        app.run(tiny(), tmp_path, alone)


def test_jobs_that_do_not_fit_are_not_started(tmp_path: Path, tiny: Tiny, tiny_overrides: list[str]) -> None:
    write(tiny("seed=9"), tmp_path / "outputs" / "9", 600.0)
    done = run(tmp_path, *tiny_overrides, "seed=0,1", "name=s", "sweep.max_seconds=900", COLUMNS="200")
    assert done.returncode == 124, done.stderr
    assert done.stdout.count("not started: needs about 20 min, 15 min of sweep.max_seconds was left") == 2
    assert "0 of 2 jobs completed, 2 pending" in done.stdout
    assert done.stderr.startswith("no job that is left fits into sweep.max_seconds=900")
    assert len(done.stderr.splitlines()) == 1
    sweep = tmp_path / "multirun" / "s"
    assert [entry.error for entry in read_sweep(sweep).jobs] == [None, None]
    assert not list(sweep.glob("*/record.json"))


def test_jobs_that_end_at_their_limit_leave_the_others_and_the_same_command_resumes(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    arguments = [*tiny_overrides, "seed=0,1", "name=s"]
    first = run(tmp_path, *arguments, "trainer.max_seconds=0.001", COLUMNS="200")
    assert first.returncode == 124, first.stderr
    assert "0 of 2 jobs completed, 2 interrupted" in first.stdout
    assert (
        first.stdout.count("(trainer.max_seconds); checkpointed up to step 1 of 6 in epoch 1\n") == 4
    )  # and in the table
    assert first.stderr.splitlines()[-1].endswith("the same command resumes")
    second = run(tmp_path, *arguments)
    assert second.returncode == 0, second.stderr
    assert "note" not in second.stdout.replace("note: 2 seeds", "")
    assert {state for _, state in states(tmp_path / "multirun" / "s")} == {"completed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]], ids=["local", "joblib"]
)
def test_a_sweep_given_again_until_it_is_complete(
    tmp_path: Path, tiny_overrides: list[str], launcher: list[str]
) -> None:
    arguments = [*tiny_overrides, "data.train_limit=960", "optim.epochs=4", "seed=0,1,2", "name=s", *launcher]
    (tmp_path / "whole").mkdir()
    assert run(tmp_path / "whole", *arguments).returncode == 0
    codes: list[int] = []
    while not codes or codes[-1] == 124:
        done = run(tmp_path, *arguments, "sweep.max_seconds=15", "trainer.max_seconds=12", COLUMNS="200")
        codes.append(done.returncode)
        assert len(codes) < 20
        assert "note: the configuration" not in done.stdout
    assert codes[-1] == 0
    assert len(codes) > 1
    assert figures(tmp_path / "multirun" / "s") == figures(tmp_path / "whole" / "multirun" / "s")


@pytest.mark.slow
def test_a_search_asks_for_no_trial_that_will_not_fit(tmp_path: Path, tiny: Tiny, tiny_overrides: list[str]) -> None:
    pytest.importorskip("optuna")
    write(tiny("seed=9", "data.val_size=48"), tmp_path / "outputs" / "9", 600.0)
    search = ["hydra/sweeper=search", "data.val_size=48", "optim.lr=interval(0.05, 1.6)", "name=s"]
    done = run(tmp_path, *tiny_overrides, *search, "hydra.sweeper.n_trials=2", "sweep.max_seconds=900")
    assert done.returncode == 124, done.stderr
    assert "0 of 2 trials completed, 2 to come" in done.stdout
    assert "trial 0" not in done.stdout
    assert find_record(tmp_path / "multirun" / "s") is None
