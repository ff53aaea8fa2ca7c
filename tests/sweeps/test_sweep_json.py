"""sweep.json: states asked of records, jobs of several commands together, files that cannot be used."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from wrnexp.config.identity import flat, nested
from wrnexp.errors import UserError
from wrnexp.runs.locks import exclusive_run, is_locked
from wrnexp.runs.record import Record, write_record
from wrnexp.sweeps.sweep_json import JobEntry, State, Sweep, read_sweep, update_sweep
from wrnexp.sweeps.sweep_json import state_of as state_of_run
from wrnexp.sweeps.tables import jobs_table, sweeps_table, totals


def job(number: int, **more: object) -> JobEntry:
    place = {"run_id": f"run{number}", "arm_id": "arm", "label": "base", "seed": number, "folder": f"run{number}"}
    return JobEntry.model_validate(place | {"overrides": [f"seed={number}"], "settings": {"seed": number}} | more)


def record(folder: Path, status: str) -> None:
    folder.mkdir(exist_ok=True)
    write_record(folder, Record(run_id=folder.name, arm_id="a", label="l", seed=0, status=status, error=None))


def state_of(folder: Path) -> tuple[State, str | None]:
    return state_of_run(folder, folder.name, {})


def test_the_state_of_a_run_is_what_its_record_and_its_lock_say(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert state_of(folder)[0] == "pending"
    record(folder, "running")
    assert state_of(folder) == ("interrupted", "its process was killed")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\nfrom wrnexp.runs.locks import exclusive_run\n"
            "with exclusive_run(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()",
            str(folder),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    assert is_locked(folder)
    assert state_of(folder) == ("running", None)
    with pytest.raises(UserError, match="another process is training"), exclusive_run(folder):
        pass
    holder.kill()  # a lock whose owner is dead is nobody's
    holder.communicate()
    assert not is_locked(folder)
    with exclusive_run(folder):
        record(folder, "completed")
    assert state_of(folder) == ("completed", None)
    (folder / "record.json").write_text("{")
    assert state_of(folder)[0] == "failed"


def test_jobs_of_earlier_commands_stay_and_the_same_overrides_take_their_place(tmp_path: Path) -> None:
    first = Sweep(name="s", axes={"seed": ["0", "1"]}, config={"lr": 1, "depth": 10}, jobs=[job(0), job(1)])
    with update_sweep(tmp_path, first) as stored:
        stored.take(first)
    changed = job(1, run_id="other", folder="other")
    second = Sweep(name="s", axes={"seed": ["1", "2"]}, config={"lr": 2, "depth": 10}, jobs=[changed, job(2)])
    with update_sweep(tmp_path, second) as stored:
        stored.take(second)
    sweep = read_sweep(tmp_path)
    assert [one.folder for one in sweep.jobs] == ["run0", "other", "run2"]
    assert sweep.config == {"depth": 10}
    assert [sweep.settings_of(one)["lr"] for one in sweep.jobs] == [1, 2, 2]
    assert sweep.axes == {"seed": ["0", "1", "2"]}


def test_a_sweep_is_read_with_the_states_of_its_records(tmp_path: Path) -> None:
    sweep = Sweep(name="s", jobs=[job(0), job(1), job(2, state="failed", error="no record")])
    with update_sweep(tmp_path, sweep):
        pass
    record(tmp_path / "run1", "completed")
    found = read_sweep(tmp_path)
    assert [one.state for one in found.jobs] == ["pending", "completed", "failed"]
    assert totals(found.jobs) == "1 of 3 jobs completed, 1 failed, 1 pending"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"), ('{"schema_version": 99}', "newer"), ("[]", "cannot"),
        (f'{{"name": "x", "more": {"9" * 5000}}}', "cannot be read"), (r'{"name": "\ud800"}', "surrogates"),
        (f'{{"name": "x", "more": {"[" * 200 + "]" * 200}}}', "nested"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_sweep(tmp_path)


def test_jobs_with_impossible_folders_and_settings_have_a_state(tmp_path: Path) -> None:
    folders = ["a\0b", "x" * 3000, "a/" * 3000, "/dev/null", ""]
    jobs = [
        JobEntry(run_id="r", arm_id="a", label="x", seed=0, folder=folder, settings={"a": 1, "a.b": 2, "": 3, "..": 4})
        for folder in folders
    ]
    (tmp_path / "sweep.json").write_text(Sweep(name="x", jobs=jobs).model_dump_json())
    states = [job.state for job in read_sweep(tmp_path).jobs]
    assert states == ["failed", "pending", "pending", "pending", "pending"]


_KEYS = st.text("abc_", min_size=1, max_size=3)
_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))


@given(st.dictionaries(_KEYS, st.recursive(_VALUES, lambda inner: st.dictionaries(_KEYS, inner, max_size=3))))
def test_flat_settings_make_their_config_again(config: dict[str, object]) -> None:
    assert nested(flat(config)) == config


def test_a_sweep_shows_no_figures_of_a_run_that_is_not_its_jobs(tmp_path: Path) -> None:
    sweep = Sweep(name="s", jobs=[job(0), job(1, folder="run0")])
    with update_sweep(tmp_path, sweep):
        pass
    record(tmp_path / "run0", "completed")
    found = read_sweep(tmp_path)
    assert [one.state for one in found.jobs] == ["completed", "failed"]
    assert (found.jobs[1].error or "").startswith("UserError: ")


def test_a_job_takes_the_place_of_one_that_never_began_in_its_folder(tmp_path: Path) -> None:
    old = Sweep(name="s", jobs=[job(0, state="failed"), job(1, state="completed"), job(2, state="interrupted")])
    new = [job(number, folder=f"run{number - 10}", state="failed") for number in (10, 11, 12)]
    old.take(Sweep(name="s", jobs=new))
    assert [one.run_id for one in old.jobs] == ["run1", "run2", "run10", "run11", "run12"]


@pytest.mark.parametrize("of_a_search", [False, True])
def test_a_diverged_job_is_shown_as_diverged(tmp_path: Path, of_a_search: bool) -> None:
    if of_a_search:
        (tmp_path / "study.journal").touch()
    entry = job(0, state="failed", error="DivergedError: loss nan at step 3")
    console = Console(width=200, file=io.StringIO(), markup=False)
    console.print(jobs_table([entry], tmp_path))
    console.print(sweeps_table([(tmp_path, Sweep(name="s", jobs=[entry, job(1, state="failed")]), "")]))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "loss nan at step 3" in shown
    assert ("loss nan at step 3 (sweep.retry_diverged=true trains it again)" in shown) != of_a_search
    assert " 1, 1 diverged " in shown
    assert totals([entry, job(1)]) == "0 of 2 jobs completed, 1 diverged, 1 pending"
