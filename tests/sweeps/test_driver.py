"""Sweeps are about runs, not folders: shared folders, folders of other runs, damage, changed data, divergence."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from tests.sweeps.in_process import Launcher, Perform, complete, failing, record_of, sweep
from tests.sweeps.sweeping import ROOT, errors, run, states
from wrnexp.errors import DivergedError, UserError
from wrnexp.runs.digests import bytes_digest
from wrnexp.runs.record import read_record, write_record
from wrnexp.sweeps.describe import data_may_change
from wrnexp.sweeps.jobs import Job
from wrnexp.sweeps.sweep_json import read_sweep

NUMBERED = "hydra.sweep.subdir=${hydra.job.num}"
FOLDER = ["data=folder", "data.root=/images"]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def loader() -> Iterator[ConfigLoader]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra.config_loader


Command = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def command(loader: ConfigLoader) -> Command:
    """Return a function that runs the sweep `lr` and returns its exit code and the folders of launched jobs."""

    def make(*arguments: str, perform: Perform = complete, **search: Any) -> tuple[int, list[str]]:
        launcher = Launcher(perform)
        try:
            sweep(loader, launcher, *arguments, "name=lr", **search)
        except SystemExit as stop:
            return int(str(stop.code)), launcher.launched
        return 0, launcher.launched

    return make


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith("lock")}


@pytest.mark.parametrize(
    ("subdir", "words"),
    [
        ("x", r"4 runs would share the folder multirun/lr/x \(seed=0, 1; optim\.lr=0\.1, 0\.2\)"),
        pytest.param("lr_${optim.lr}", r"2 runs .* \(seed=0, 1\), and 1 more folders", marks=pytest.mark.slow),
        pytest.param("./${hydra.job.name}/../y", r"would share the folder multirun/lr/y", marks=pytest.mark.slow),
    ],
)
def test_runs_that_would_share_a_folder_are_refused_before_anything_is_written(
    command: Command, tmp_path: Path, subdir: str, words: str
) -> None:
    for more in ("sweep.dry_run=true", "sweep.dry_run=false"):
        with pytest.raises(UserError, match=words + r".*leave hydra\.sweep\.subdir out, or .*\$\{hydra\.job\.num\}"):
            command("optim.lr=0.1,0.2", "seed=0,1", f"hydra.sweep.subdir={subdir}", more)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "subdir", ["job.num", *(pytest.param(name, marks=pytest.mark.slow) for name in ("job.id", "job.override_dirname"))]
)
def test_layouts_of_hydra_give_each_run_a_folder(command: Command, tmp_path: Path, subdir: str) -> None:
    arguments = ["optim.lr=0.1,0.2,0.3", f"hydra.sweep.subdir=${{hydra.{subdir}}}"]
    code, launched = command(*arguments)
    assert (code, len(launched)) == (0, 3)
    records = [read_record(tmp_path / "multirun" / "lr" / name) for name in launched]
    assert [record.config["optim"]["lr"] for record in records] == [0.1, 0.2, 0.3]
    assert subdir == "job.override_dirname" or launched == ["0", "1", "2"]
    assert command(*arguments) == (0, [])


def test_a_rerun_does_not_take_a_completed_job_for_its_own(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("seed=0,1", NUMBERED) == (0, ["0", "1"])
    before = contents(tmp_path / "multirun" / "lr" / "0")
    for more in (["sweep.dry_run=true"], []):
        capsys.readouterr()
        assert command("seed=0,1", NUMBERED, "rerun=true", *more) == (2, [])
        assert "rerun=true trains in a new folder" in capsys.readouterr().out
    assert contents(tmp_path / "multirun" / "lr" / "0") == before
    code, launched = command("seed=0,1", "rerun=true")
    assert (code, len(launched)) == (0, 2)


def test_a_folder_that_holds_another_run_is_an_error_of_the_job(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("optim.lr=0.1,0.2,0.3", NUMBERED) == (0, ["0", "1", "2"])
    folder = tmp_path / "multirun" / "lr"
    before = contents(folder / "0")
    capsys.readouterr()
    for more in (["sweep.dry_run=true"], []):
        assert command("optim.lr=0.3,0.2", NUMBERED, *more) == (2, [])
        output = capsys.readouterr().out
        assert "1 of 2 jobs completed, 1 failed" in output
        assert (
            f"holds run {read_record(folder / '0').run_id}, this is run {read_record(folder / '2').run_id}: " in output
        )
        assert "they differ in optim.lr (0.1 there, 0.3 here)" in output
        assert "completed           50.00%  0" not in output
    assert contents(folder / "0") == before
    assert sorted((job.settings["optim.lr"], job.state) for job in read_sweep(folder).jobs) == [
        (0.1, "completed"), (0.2, "completed"), (0.3, "failed"),
    ]  # fmt: skip
    assert command("optim.lr=0.1,0.2,0.3", NUMBERED) == (0, [])
    assert {state for _, state in states(folder)} == {"completed"}


def test_a_folder_of_a_run_that_trained_nothing_is_used(command: Command, tmp_path: Path) -> None:
    assert command("optim.lr=-1", NUMBERED, perform=failing(UserError("optim.lr=-1 is not allowed"))) == (2, ["0"])
    assert command("optim.lr=0.1", NUMBERED) == (0, ["0"])
    assert states(tmp_path / "multirun" / "lr") == [("base", "completed")]


def test_another_runs_interrupted_folder_is_neither_resumed_nor_written(command: Command, tmp_path: Path) -> None:
    def interrupted(folder: Path, config: dict[str, Any]) -> None:
        write_record(folder, record_of(config, "interrupted", error="Stopped: x", cost={"steps": 7}))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command("optim.lr=0.1", NUMBERED, perform=interrupted)
    before = contents(tmp_path / "multirun" / "lr" / "0")
    assert command("optim.lr=0.2", NUMBERED) == (2, [])
    assert contents(tmp_path / "multirun" / "lr" / "0") == before


def test_a_record_of_a_newer_schema_is_left_as_it_is(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("seed=0", NUMBERED) == (0, ["0"])
    path = tmp_path / "multirun" / "lr" / "0" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2, "future": 1}))
    before = path.read_bytes()
    capsys.readouterr()
    assert command("seed=0,1", NUMBERED) == (2, ["1"])
    assert path.read_bytes() == before
    (line,) = [line for line in errors(tmp_path / "multirun" / "lr") if line]
    assert "schema version 2 is newer than this program's 1; update wrnexp" in line
    assert capsys.readouterr().out.count("update wrnexp") == 1


def test_a_damaged_record_is_left_to_the_run(command: Command, tmp_path: Path) -> None:
    assert command("seed=0", NUMBERED) == (0, ["0"])
    path = tmp_path / "multirun" / "lr" / "0" / "record.json"
    path.write_text("{")

    def refuse(folder: Path, config: dict[str, Any]) -> None:
        assert path.read_text() == "{"
        raise UserError("damaged")

    assert command("seed=0", NUMBERED, perform=refuse) == (1, ["0"])
    assert path.read_text() == "{"
    assert command("seed=0", NUMBERED) == (0, ["0"])


@pytest.mark.parametrize("text", ['{"schema_version": 2, "name": "lr"}', "[" * 100_000, '{"name": 3}', ""])
def test_a_sweep_json_that_cannot_be_used_is_left_as_it_is(command: Command, tmp_path: Path, text: str) -> None:
    path = tmp_path / "multirun" / "lr" / "sweep.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match=r"sweep\.json (is of schema 2, newer|cannot be read \()") as raised:
        command("seed=0", perform=failing(AssertionError()))
    assert "\n" not in str(raised.value)
    assert path.read_text() == text


def test_completed_jobs_are_launched_once_where_their_images_may_have_changed(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*FOLDER, "seed=0,1"]
    code, folders = command(*arguments)
    assert code == 0
    assert command(*arguments) == (0, folders)
    assert command(*arguments, "sweep.dry_run=true") == (0, [])
    before = contents(tmp_path / "multirun" / "lr" / folders[0])

    def compare(folder: Path, config: dict[str, Any]) -> float | None:
        if config["seed"] == 0:
            raise UserError("the images are not those that this run began with")
        return 0.5

    capsys.readouterr()
    assert command(*arguments, perform=compare) == (2, folders)
    output = capsys.readouterr().out
    assert "1 of 2 jobs completed, 1 failed" in output
    assert "UserError: the images are not those that this run began with" in output
    assert [state for _, state in states(tmp_path / "multirun" / "lr")] == ["failed", "completed"]
    assert contents(tmp_path / "multirun" / "lr" / folders[0]) == before
    assert command(*arguments, "sweep.on_error=stop", perform=compare) == (2, folders[:1])


def test_completed_jobs_with_damaged_results_are_launched_again(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_weights(folder: Path, config: dict[str, Any]) -> float | None:
        accuracy = complete(folder, config)
        (folder / "model.safetensors").write_bytes(b"weights")
        record = read_record(folder)
        record.files = {"model.safetensors": bytes_digest(b"weights")}
        write_record(folder, record)
        return accuracy

    code, folders = command("seed=0,1", perform=write_weights)
    assert (code, command("seed=0,1")) == (0, (0, []))
    weights = tmp_path / "multirun" / "lr" / folders[1] / "model.safetensors"
    weights.write_bytes(b"weightz")
    assert command("seed=0,1", perform=write_weights) == (0, folders[1:])
    assert (weights.read_bytes(), command("seed=0,1")) == (b"weights", (0, []))
    weights.unlink()  # without a checkpoint it was deleted to save room
    assert command("seed=0,1") == (0, [])
    weights.write_bytes(b"")
    capsys.readouterr()

    def refuse(folder: Path, config: dict[str, Any]) -> None:
        raise UserError(f"there is no checkpoint in {folder} to write its damaged files from")

    assert command("seed=0,1", perform=refuse) == (2, folders[1:])
    assert "1 of 2 jobs completed, 1 failed" in capsys.readouterr().out
    assert read_record(weights.parent).status == "completed"


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        ({"_target_": "wrnexp.data.load", "name": "cifar100"}, False),
        ({"_target_": "wrnexp.data.load", "name": "folder"}, True),
        ({"_target_": "mine.data", "name": "cifar100"}, True),
        ({"_target_": "mine.data"}, True),
    ],
)
def test_whether_the_images_of_a_completed_job_may_change(data: dict[str, Any], changes: bool) -> None:
    assert data_may_change(Job((), (), (), OmegaConf.create(), {"data": data})) is changes


@pytest.mark.parametrize(
    "diverged",
    [
        failing(DivergedError("loss nan at step 3")),
        pytest.param(
            failing(RuntimeError("x"), divergence={"step": 3, "lr": 0.1, "grad_norm": None, "loss": None}),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["error", "record"],
)
def test_diverged_jobs_are_trained_again_only_where_that_is_asked_for(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], diverged: Perform
) -> None:
    def high_rate_diverges(folder: Path, config: dict[str, Any]) -> float | None:
        return diverged(folder, config) if config["optim"]["lr"] > 1 else complete(folder, config)

    arguments = ["optim.lr=1e4,0.1", NUMBERED]
    assert command(*arguments, perform=high_rate_diverges) == (1, ["0", "1"])
    output = capsys.readouterr().out
    assert "1 of 2 jobs completed, 1 diverged" in output
    assert "(sweep.retry_diverged=true trains it again)" in output
    assert all("\n" not in line for line in errors(tmp_path / "multirun" / "lr"))
    assert [state for _, state in states(tmp_path / "multirun" / "lr")] == ["failed", "completed"]
    assert command("optim.lr=1e4,0.1,0.2", NUMBERED) == (1, ["2"])
    assert "note: 1 diverged job is not trained again; sweep.retry_diverged=true" in capsys.readouterr().out
    assert command("optim.lr=1e4,0.1,0.2,0.3", NUMBERED, "sweep.on_error=stop") == (1, ["3"])
    assert command(*arguments, "sweep.retry_diverged=true", "sweep.retry_failed=false") == (0, ["0"])
    assert command(*arguments) == (0, [])


@pytest.mark.slow
def test_other_failures_are_tried_again_as_before(command: Command) -> None:
    assert command("seed=0", NUMBERED, perform=failing(RuntimeError("x"))) == (1, ["0"])
    assert command("seed=0", NUMBERED, "sweep.retry_failed=false") == (1, [])
    assert command("seed=0", NUMBERED, "sweep.retry_diverged=false") == (0, ["0"])


def test_a_dry_run_checks_each_config(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("optim.epochs=2,ten", "sweep.dry_run=true") == (2, [])
    output = capsys.readouterr().out
    assert "1 failed, 1 pending" in output
    assert "optim.epochs=ten is not allowed" in output
    assert list(tmp_path.iterdir()) == []


def test_a_label_with_markup_is_printed_as_it_is(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("label='x[/y] :smile:'", "seed=0,1")[0] == 0
    assert capsys.readouterr().out.count("x[/y] :smile:") == 4


@pytest.mark.parametrize(
    "subdir",
    ["${optim.lr}-${model.dropout}", *(pytest.param(one, marks=pytest.mark.slow) for one in ("x", "${model.dropout}"))],
)
def test_a_search_whose_trials_would_share_a_folder_is_refused(command: Command, tmp_path: Path, subdir: str) -> None:
    pytest.importorskip("optuna")
    space = ["optim.lr=interval(0.1, 0.9)", "model.dropout=0,0.1", "seed=0,1", "data.val_size=100"]
    for more in (["sweep.dry_run=true"], []):
        with pytest.raises(UserError, match="would share the folder"):
            command(*space, f"hydra.sweep.subdir={subdir}", *more, n_trials=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_runs_of_a_search_are_numbered_by_trial_and_seed(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    space = ["model.dropout=0,0.1", "seed=0,1", "data.val_size=100", NUMBERED]
    code, launched = command(*space, n_trials=4)
    assert code == 0
    assert all(read_record(tmp_path / "multirun" / "lr" / name).seed == int(name) % 2 for name in launched)
    assert len(launched) == 4  # of two settings
    assert "note: 4 trials are 2 runs per seed: 2 repeat earlier settings" in capsys.readouterr().out
    assert command(*space, n_trials=4) == (0, [])


@pytest.mark.slow
def test_a_search_does_not_compare_trials_on_other_images(command: Command) -> None:
    pytest.importorskip("optuna")
    space = [*FOLDER, "model.dropout=interval(0, 0.5)", "seed=0", "data.val_size=100"]
    code, launched = command(*space, n_trials=2)
    assert (code, len(launched)) == (0, 2)
    assert command(*space, n_trials=3)[1][:2] == launched
    changed: list[Path] = []

    def compare(folder: Path, config: dict[str, Any]) -> None:
        changed.append(folder)
        raise UserError("the images are not those that this run began with")

    with pytest.raises(UserError, match=r"^the images are not those .*; or give this search a name=... of its own"):
        command(*space, n_trials=4, perform=compare)
    assert len(changed) == 3


@pytest.mark.slow
def test_hydras_default_layout_in_processes_of_its_own(tmp_path: Path, tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, "label='x[/y]'", NUMBERED, "name=s"]
    first = run(tmp_path, *arguments, "optim.lr=0.1,0.2,0.3", COLUMNS="400")
    assert first.returncode == 0, first.stderr
    assert "3 of 3 jobs completed" in first.stdout
    other = run(tmp_path, *arguments, "optim.lr=0.3", COLUMNS="400")
    assert other.returncode == 2
    assert "they differ in optim.lr (0.1 there, 0.3 here)" in other.stdout
    assert "Traceback" not in other.stderr
