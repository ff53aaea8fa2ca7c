"""Hydra writes nothing into a folder that belongs to another run."""

import os
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from wrnexp.hydra_app.folder_guard import FolderGuard
from wrnexp.runs.locks import exclusive_run
from wrnexp.runs.record import Record, read_record, write_record

ROOT = Path(__file__).parents[2]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", overrides=["data=shapes", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


def test_another_runs_folder_ends_the_command_in_one_line(
    copied_run: Path, tiny_overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"hydra.run.dir={copied_run}"
    FolderGuard().on_run_start(composed(*tiny_overrides, own))
    with pytest.raises(SystemExit) as stop:
        FolderGuard().on_run_start(composed(*tiny_overrides, own, "optim.lr=0.7"))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {copied_run} holds run ")
    assert "optim.lr (0.1 there, 0.7 here)" in line


def test_a_run_that_has_trained_no_epoch_yet_keeps_its_folder(
    copied_run: Path, tiny_overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_record(copied_run)
    for path in copied_run.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_record(copied_run, Record.model_validate(record.model_dump() | {"status": "running", "cost": {}}))
    other = composed(*tiny_overrides, f"hydra.run.dir={copied_run}", "optim.lr=0.7")
    FolderGuard().on_run_start(other)
    with exclusive_run(copied_run), pytest.raises(SystemExit):
        FolderGuard().on_run_start(other)
    assert "optim.lr (0.1 there, 0.7 here)" in capsys.readouterr().err


def test_a_wrong_config_is_said_before_whose_the_folder_is(
    copied_run: Path, tiny_overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        FolderGuard().on_run_start(composed(*tiny_overrides, f"hydra.run.dir={copied_run}", "model.depth=11"))
    assert "model.depth=11 is not allowed" in capsys.readouterr().err


@pytest.mark.parametrize("overrides", [[], ["hydra.run.dir=elsewhere"], ["hydra.run.dir=${oc.env:NOT_SET}"]])
def test_new_folders_and_errors_of_composition_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_overrides: list[str], overrides: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FolderGuard().on_run_start(composed(*tiny_overrides, *overrides))
    assert list(tmp_path.iterdir()) == []


def test_the_config_has_the_guard() -> None:
    assert composed().hydra.callbacks.guard._target_ == f"{FolderGuard.__module__}.{FolderGuard.__name__}"


def test_pipes_and_folders_in_the_place_of_logs_are_set_aside(
    copied_run: Path, tiny_overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (copied_run / ".hydra").mkdir(exist_ok=True)
    for name in ("run.log", ".hydra/config.yaml"):
        (copied_run / name).unlink(missing_ok=True)
        os.mkfifo(copied_run / name)
    (copied_run / "console.log").mkdir()
    (copied_run / "quiet.log").symlink_to(os.devnull)
    own = composed(*tiny_overrides, f"hydra.run.dir={copied_run}")
    FolderGuard().on_run_start(own)
    assert sorted(path.name for path in copied_run.rglob("*.damaged")) == [
        "config.yaml.damaged", "console.log.damaged", "run.log.damaged",
    ]  # fmt: skip
    assert len(capsys.readouterr().err.splitlines()) == 3
    shutil.rmtree(copied_run / ".hydra")
    (copied_run / ".hydra").touch()
    FolderGuard().on_run_start(own)
    assert (copied_run / ".hydra.damaged").is_file()
